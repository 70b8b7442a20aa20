import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function OffersPage(): ReactNode {
  return <PageHead title="Offers" />;
}

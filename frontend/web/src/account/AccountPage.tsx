import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function AccountPage(): ReactNode {
  return <PageHead title="Account" />;
}

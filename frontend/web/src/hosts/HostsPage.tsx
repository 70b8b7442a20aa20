import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function HostsPage(): ReactNode {
  return <PageHead title="Hosts" />;
}

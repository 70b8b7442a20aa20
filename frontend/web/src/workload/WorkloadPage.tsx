import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function WorkloadPage(): ReactNode {
  return <PageHead title="Workload" />;
}

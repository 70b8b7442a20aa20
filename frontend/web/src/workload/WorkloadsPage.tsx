import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function WorkloadsPage(): ReactNode {
  return <PageHead title="Workloads" />;
}

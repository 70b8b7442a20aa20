import type { ReactNode } from "react";
import { PageHead } from "@/design/Layout";

export function LaunchPage(): ReactNode {
  return <PageHead title="Launch" />;
}

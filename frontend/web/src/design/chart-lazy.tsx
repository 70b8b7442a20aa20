/** The chart, fetched when the first one is shown. */

import { lazy, Suspense, type ReactNode } from "react";
import type { ChartProps } from "./Chart";

const Drawn = lazy(() => import("./Chart"));

export function Chart(props: ChartProps): ReactNode {
  const room = <div style={{ minHeight: (props.height ?? 220) + 28 }} aria-busy="true" />;
  return (
    <Suspense fallback={room}>
      <Drawn {...props} />
    </Suspense>
  );
}

/** The code, fetched when one is shown. */

import { lazy, Suspense, type ReactNode } from "react";
import type { QrProps } from "./Qr";

const Drawn = lazy(() => import("./Qr"));

export function Qr(props: QrProps): ReactNode {
  return (
    <Suspense fallback={<div className="size-48" aria-busy="true" />}>
      <Drawn {...props} />
    </Suspense>
  );
}

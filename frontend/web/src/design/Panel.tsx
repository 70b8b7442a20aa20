/** What opens over the page: a dialog in the middle, a drawer from the side. */

import { Suspense, useState, type ReactNode } from "react";
import { later } from "./later";
import type { OpenProps, OverlayProps } from "./Overlay";

const { Drawn } = later<OverlayProps>(() => import("./Overlay"));

export function Modal(props: OpenProps): ReactNode {
  return <Opened {...props} />;
}

/** Beside the page, which stays readable: for looking closer at what was chosen. */
export function Drawer({ wide = false, ...props }: OpenProps & { wide?: boolean }): ReactNode {
  return <Opened {...props} side={wide ? "wide" : "narrow"} />;
}

/** Nothing before it is opened once; from then on it knows where the focus came from. */
function Opened(props: OverlayProps): ReactNode {
  const [opened, setOpened] = useState(false);
  if (props.open && !opened) setOpened(true);
  return (
    opened && (
      <Suspense fallback={null}>
        <Drawn {...props} />
      </Suspense>
    )
  );
}

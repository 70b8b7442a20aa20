/** What a browser does for a new page and a page that only changes does not: say its name, and begin at its top. */

import { useRouterState } from "@tanstack/react-router";
import { useEffect, useRef, useState, type ReactNode } from "react";

/** Filters and tabs change the address too, and leave one where one is. */
export function Arrival(): ReactNode {
  const path = useRouterState({ select: (state) => state.resolvedLocation?.pathname });
  const before = useRef(path);
  const [said, setSaid] = useState("");

  useEffect(() => {
    const first = before.current === undefined || before.current === path;
    before.current = path;
    if (first) return;
    setSaid(document.title);
    const main = document.getElementById("main");
    // A page that put the cursor somewhere knows better.
    if (!main?.contains(document.activeElement)) main?.focus({ preventScroll: true });
  }, [path]);

  return (
    <p role="status" className="sr-only">
      {said}
    </p>
  );
}

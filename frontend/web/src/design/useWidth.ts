/** How wide a box is, for what cannot be laid out by CSS alone. */

import { useCallback, useState } from "react";

/** [a ref for the box, its width in CSS pixels; 0 before it is there]. */
export function useWidth(): [(element: Element | null) => (() => void) | undefined, number] {
  const [width, setWidth] = useState(0);
  const ref = useCallback((element: Element | null) => {
    if (!element) return undefined;
    const watch = new ResizeObserver(([box]) => box && setWidth(Math.round(box.contentRect.width)));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

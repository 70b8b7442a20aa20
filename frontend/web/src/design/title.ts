/** What the tab, the history and a screen reader call the page. */

import { useEffect } from "react";

/** "train.py - running - GPUYard": what is special comes first, since tabs are narrow. */
export const titleOf = (parts: readonly string[]): string => [...parts, "GPUYard"].filter(Boolean).join(" - ");

export function useTitle(...parts: string[]): void {
  const title = titleOf(parts);
  useEffect(() => {
    document.title = title;
  }, [title]);
}

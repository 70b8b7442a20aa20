/** Code that nobody needs to see a page: it comes a moment after, or when it is asked for before that. */

import { lazy, type ComponentType, type LazyExoticComponent } from "react";

const MOMENT_MS = 3000;

interface Later<Props> {
  /** To be drawn inside a Suspense. */
  Drawn: LazyExoticComponent<ComponentType<Props>>;
  /** Fetch it now: who comes near may press. */
  fetch: () => void;
}

export function later<Props>(load: () => Promise<{ default: ComponentType<Props> }>): Later<Props> {
  // The browser keeps what it has loaded; what failed is asked for again.
  const fetch = () => void load().catch(() => undefined);
  setTimeout(fetch, MOMENT_MS);
  return { Drawn: lazy(load), fetch };
}

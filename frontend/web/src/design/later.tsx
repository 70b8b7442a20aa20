/** Code that nobody needs to see a page: it comes a moment after, or when it is asked for before that. */

import {
  cloneElement,
  lazy,
  Suspense,
  useState,
  type ButtonHTMLAttributes,
  type ComponentType,
  type LazyExoticComponent,
  type ReactElement,
  type ReactNode,
} from "react";

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

/** How a button was used: by a key, which goes on to the first item of a menu, or by a pointer. */
export type Pressed = "key" | "pointer";

export type Trigger = ReactElement<ButtonHTMLAttributes<HTMLButtonElement>>;

interface PressableProps {
  trigger: Trigger;
  popup: "menu" | "dialog";
  fetch: () => void;
  /** What opens, with the trigger in it. */
  children: (pressed: Pressed) => ReactNode;
}

/** A button by itself, until it is pressed. */
export function Pressable({ trigger, popup, fetch, children }: PressableProps): ReactNode {
  const [pressed, setPressed] = useState<Pressed | null>(null);
  const alone = cloneElement(trigger, {
    "aria-haspopup": popup,
    "aria-expanded": false,
    onPointerEnter: fetch,
    onFocus: fetch,
    onClick: (event) => setPressed(event.detail === 0 ? "key" : "pointer"),
    onKeyDown: (event) => popup === "menu" && event.key === "ArrowDown" && setPressed("key"),
  });
  return pressed ? <Suspense fallback={alone}>{children(pressed)}</Suspense> : alone;
}

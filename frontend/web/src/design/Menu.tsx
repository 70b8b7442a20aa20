/** A menu where it was asked for. */

import { DropdownMenu } from "radix-ui";
import { useRef, type ReactNode } from "react";
import type { Pressed } from "./later";

interface MenuProps {
  trigger: ReactNode;
  align?: "start" | "end";
  /** It was used before this menu was there: it opens at once. */
  pressed?: Pressed;
  children: ReactNode;
}

export function Menu({ trigger, align = "end", pressed, children }: MenuProps): ReactNode {
  const entered = useRef(pressed !== "key");
  const enter = (content: HTMLElement | null) => {
    if (!content || entered.current) return;
    entered.current = true;
    requestAnimationFrame(() => content.querySelector<HTMLElement>('[role^="menuitem"]')?.focus());
  };
  return (
    // The page around it stays to be read and pressed.
    <DropdownMenu.Root modal={false} defaultOpen={pressed !== undefined}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          ref={enter}
          align={align}
          sideOffset={6}
          collisionPadding={8}
          className="raised min-w-44 p-1"
        >
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

export const MENU_ITEM =
  "flex min-h-8 w-full cursor-pointer items-center gap-2 rounded-md px-2 text-left text-sm text-ink no-underline outline-none data-highlighted:bg-hover";

export function MenuItem({ children, onSelect }: { children: ReactNode; onSelect?: () => void }): ReactNode {
  return (
    <DropdownMenu.Item onSelect={onSelect} className={MENU_ITEM}>
      {children}
    </DropdownMenu.Item>
  );
}

export { DropdownMenu };

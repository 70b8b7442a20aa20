/** A few things more, where they were asked for. */

import { Popover } from "radix-ui";
import type { ReactNode } from "react";

export function Pop({
  trigger,
  label,
  className = "",
  children,
}: {
  trigger: ReactNode;
  label: string;
  className?: string;
  children: ReactNode;
}): ReactNode {
  return (
    <Popover.Root>
      <Popover.Trigger asChild>{trigger}</Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          aria-label={label}
          align="start"
          sideOffset={6}
          collisionPadding={8}
          className={`raised p-3 ${className}`}
        >
          {children}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

/** How a popover is drawn; Pop.tsx fetches it. */

import { Popover } from "radix-ui";
import type { ReactNode } from "react";
import type { Trigger } from "./later";

export interface PopProps {
  trigger: Trigger;
  label: string;
  className?: string;
  children: ReactNode;
}

/** Open at once: it comes when its button was pressed. */
export default function Popup({ trigger, label, className = "", children }: PopProps): ReactNode {
  return (
    <Popover.Root defaultOpen>
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

/** How a dialog and a drawer are drawn; Panel.tsx fetches it. */

import { Dialog } from "radix-ui";
import { useInsertionEffect, useRef, type ReactNode } from "react";
import { IconButton } from "./Button";

export interface OpenProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  about?: ReactNode;
  children: ReactNode;
}

export interface OverlayProps extends OpenProps {
  side?: "narrow" | "wide";
}

/** The focus goes back to where it was. Radix knows only triggers of its own, and these open by state. */
function useReturn(open: boolean): { onCloseAutoFocus: (event: Event) => void } {
  const from = useRef<Element | null>(null);
  // Before a field of what opens can take the focus.
  useInsertionEffect(() => {
    if (open) from.current = document.activeElement;
  }, [open]);
  return {
    onCloseAutoFocus: (event) => {
      event.preventDefault();
      const back = from.current?.isConnected ? from.current : document.getElementById("main");
      if (back instanceof HTMLElement) back.focus({ preventScroll: true });
    },
  };
}

const MIDDLE =
  "fade-in top-[12vh] left-1/2 max-h-[80vh] w-[min(34rem,calc(100vw-2rem))] -translate-x-1/2 overflow-y-auto rounded-lg border";
const SIDE = "slide-in inset-y-0 right-0 flex w-full flex-col border-l";

/** With `side` as a drawer, else in the middle. */
export default function Overlay({ open, onOpenChange, title, about, side, children }: OverlayProps): ReactNode {
  const back = useReturn(open);
  const where = side ? `${SIDE} ${side === "wide" ? "max-w-4xl" : "max-w-lg"}` : MIDDLE;
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className={`fade-in fixed inset-0 z-40 ${side ? "bg-black/20" : "bg-black/40"}`} />
        <Dialog.Content {...back} className={`fixed z-50 border-line bg-raised shadow-pop ${where}`}>
          <Head title={title} about={about} />
          <div className={side ? "min-h-0 grow overflow-y-auto px-5 pb-6" : "px-5 pb-5"}>{children}</div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Head({ title, about }: { title: string; about?: ReactNode }): ReactNode {
  return (
    <div className="flex items-start justify-between gap-4 px-5 pt-4 pb-3">
      <div className="min-w-0">
        <Dialog.Title className="text-lg font-semibold">{title}</Dialog.Title>
        <Dialog.Description className={about ? "text-sm text-soft" : "sr-only"}>{about ?? title}</Dialog.Description>
      </div>
      <Dialog.Close asChild>
        <IconButton label="Close" icon="close" />
      </Dialog.Close>
    </div>
  );
}

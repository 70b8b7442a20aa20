/** What opens over the page: a dialog in the middle, a drawer from the side, a menu and a popover where it was asked for. */

import { Dialog, DropdownMenu, Popover } from "radix-ui";
import { useInsertionEffect, useRef, type ReactNode } from "react";
import { IconButton } from "./Button";

interface OpenProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  about?: ReactNode;
  children: ReactNode;
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

const VEIL = "fade-in fixed inset-0 z-40 bg-black/40";

export function Modal({ open, onOpenChange, title, about, children }: OpenProps): ReactNode {
  const back = useReturn(open);
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className={VEIL} />
        <Dialog.Content
          {...back}
          className="fade-in fixed top-[12vh] left-1/2 z-50 max-h-[80vh] w-[min(34rem,calc(100vw-2rem))] -translate-x-1/2 overflow-y-auto rounded-lg border border-line bg-raised shadow-pop"
        >
          <Head title={title} about={about} />
          <div className="px-5 pb-5">{children}</div>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** Beside the page, which stays readable: for looking closer at what was chosen. */
export function Drawer({
  open,
  onOpenChange,
  title,
  about,
  wide,
  children,
}: OpenProps & { wide?: boolean }): ReactNode {
  const back = useReturn(open);
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Portal>
        <Dialog.Overlay className={`${VEIL} bg-black/20`} />
        <Dialog.Content
          {...back}
          className={`slide-in fixed inset-y-0 right-0 z-50 flex w-full flex-col border-l border-line bg-raised shadow-pop ${wide ? "max-w-4xl" : "max-w-lg"}`}
        >
          <Head title={title} about={about} />
          <div className="min-h-0 grow overflow-y-auto px-5 pb-6">{children}</div>
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

const POP = "fade-in z-50 rounded-lg border border-line bg-raised shadow-pop";

export function Menu({
  trigger,
  align = "end",
  children,
}: {
  trigger: ReactNode;
  align?: "start" | "end";
  children: ReactNode;
}): ReactNode {
  return (
    // The page around it stays to be read and pressed.
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content align={align} sideOffset={6} collisionPadding={8} className={`${POP} min-w-44 p-1`}>
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
          className={`${POP} p-3 ${className}`}
        >
          {children}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

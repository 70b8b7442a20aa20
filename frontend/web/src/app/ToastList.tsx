/** How toasts are drawn; toasts.tsx fetches it. */

import { Toast } from "radix-ui";
import type { ReactNode } from "react";
import { IconButton } from "@/design/Button";
import { Icon } from "@/design/icons";
import type { Said } from "./toasts";

export interface ToastListProps {
  said: readonly Said[];
  away: (one: Said) => void;
}

export default function ToastList({ said, away }: ToastListProps): ReactNode {
  return (
    <Toast.Provider duration={6000} label="Notice">
      {said.map((one) => (
        <Toast.Root
          key={one.id}
          type={one.bad ? "foreground" : "background"}
          duration={one.bad ? 12_000 : 5000}
          onOpenChange={(open) => !open && away(one)}
          className="raised flex items-start gap-2 px-3 py-2.5 text-sm"
        >
          <Icon name={one.bad ? "wrong" : "check"} className={`mt-0.5 ${one.bad ? "text-bad" : "text-good"}`} />
          <div className="grow">
            <Toast.Title className="font-medium">{one.text}</Toast.Title>
            {one.hint && <Toast.Description className="text-soft">{one.hint}</Toast.Description>}
          </div>
          <Toast.Close asChild>
            <IconButton label="Dismiss" icon="close" />
          </Toast.Close>
        </Toast.Root>
      ))}
      <Toast.Viewport className="fixed right-0 bottom-0 z-60 m-4 flex w-[min(24rem,calc(100vw-2rem))] flex-col gap-2 outline-none" />
    </Toast.Provider>
  );
}

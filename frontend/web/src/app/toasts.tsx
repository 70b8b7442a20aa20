/** What just happened, said once: at the foot of the page, read aloud, gone after a while. */

import { Toast } from "radix-ui";
import { useSyncExternalStore, type ReactNode } from "react";
import { Problem } from "@/api/client";
import { IconButton } from "@/design/Button";
import { Icon } from "@/design/icons";

interface Said {
  id: number;
  text: string;
  hint: string;
  bad: boolean;
}

let said: readonly Said[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(now: readonly Said[]): void {
  said = now;
  for (const one of listeners) one();
}

export function say(text: string): void {
  set([...said, { id: next++, text, hint: "", bad: false }]);
}

export function complain(error: unknown): void {
  const text = error instanceof Error ? error.message : "Something went wrong.";
  set([...said, { id: next++, text, hint: error instanceof Problem ? error.hint : "", bad: true }]);
}

export function Toasts(): ReactNode {
  const all = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => said,
  );
  return (
    <Toast.Provider duration={6000} label="Notice">
      {all.map((one) => (
        <Toast.Root
          key={one.id}
          type={one.bad ? "foreground" : "background"}
          duration={one.bad ? 12_000 : 5000}
          onOpenChange={(open) => !open && set(said.filter((other) => other.id !== one.id))}
          className="fade-in flex items-start gap-2 rounded-lg border border-line bg-raised px-3 py-2.5 text-sm shadow-pop"
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

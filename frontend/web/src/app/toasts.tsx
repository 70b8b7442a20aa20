/** What just happened, said once: at the foot of the page, read aloud, gone after a while. */

import { Suspense, useSyncExternalStore, type ReactNode } from "react";
import { Problem } from "@/api/client";
import { later } from "@/design/later";
import type { ToastListProps } from "./ToastList";

export interface Said {
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

const { Drawn: ToastList } = later<ToastListProps>(() => import("./ToastList"));

function away(gone: Said): void {
  set(said.filter((one) => one.id !== gone.id));
}

/** Nothing before something is said; from then on it stays, for the focus that was in a toast. */
export function Toasts(): ReactNode {
  const all = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => said,
  );
  return (
    next > 1 && (
      <Suspense fallback={null}>
        <ToastList said={all} away={away} />
      </Suspense>
    )
  );
}

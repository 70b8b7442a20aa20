/** The program that was taken, for as long as the page lives: going to the offers and back loses nothing. */

import { useSyncExternalStore } from "react";
import type { Archive } from "./archive";
import { pack } from "./packing";
import type { Program } from "./program";

export interface Taken {
  program: Program | null;
  /** Its bytes and their name; null while it is packed. */
  packed: Archive | null;
  failed: Error | null;
  args: string;
  name: string;
}

const NONE: Taken = { program: null, packed: null, failed: null, args: "", name: "" };

let taken = NONE;
const listeners = new Set<() => void>();

function set(now: Partial<Taken>): void {
  taken = { ...taken, ...now };
  for (const one of listeners) one();
}

export function take(program: Program, args = ""): void {
  set({ ...NONE, program, args });
  const mine = () => taken.program?.files === program.files;
  pack(program).then(
    (packed) => mine() && set({ packed }),
    (error: unknown) => mine() && set({ failed: error instanceof Error ? error : new Error(String(error)) }),
  );
}

/** Another script of the same files, other arguments, another name. */
export function change(now: { script?: string; args?: string; name?: string }): void {
  const { script, ...others } = now;
  set({ ...others, ...(script !== undefined && taken.program ? { program: { ...taken.program, script } } : {}) });
}

export const drop = () => set(NONE);

export function useTaken(): Taken {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => taken,
  );
}

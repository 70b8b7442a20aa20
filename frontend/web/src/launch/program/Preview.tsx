/** The first lines of the script, so that one sees what was taken. */

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Icon } from "@/design/icons";
import { Unfit } from "./collect";
import { textOf, usesSession, type Program } from "./program";

const LINES_MAX = 400;
export function Preview({ program }: { program: Program }): ReactNode {
  const text = useQuery({
    queryKey: ["script", program.id, program.script],
    queryFn: () => textOf(program),
    staleTime: Infinity,
    retry: false,
  });
  const session = useQuery({
    queryKey: ["session", program.id],
    queryFn: () => usesSession(program),
    staleTime: Infinity,
    retry: false,
  });
  const lines = (text.data ?? "").split("\n");
  return (
    <>
      {text.error ? (
        <Note bad>
          {text.error.message} {text.error instanceof Unfit && text.error.hint}
        </Note>
      ) : (
        <pre
          // It scrolls, so it can be reached by keyboard.

          tabIndex={0}
          role="region"
          aria-label={`${program.script}, its first lines`}
          className="h-52 overflow-auto rounded-md bg-sunk py-2 font-mono text-xs leading-5"
        >
          {lines.slice(0, LINES_MAX).map((line, at) => (
            <span key={at} className="block px-3">
              <span aria-hidden="true" className="mr-3 inline-block w-6 text-right text-soft select-none">
                {at + 1}
              </span>
              {line}
              {"\n"}
            </span>
          ))}
          {lines.length > LINES_MAX && (
            <span className="block px-3 text-soft">{lines.length - LINES_MAX} more lines</span>
          )}
        </pre>
      )}
      {session.data === false && (
        <Note>
          Nothing in it imports <code>gpuyard.train</code>. A script that never enters{" "}
          <code>gpuyard.train.session()</code> ends without training, and is paid for.
        </Note>
      )}
    </>
  );
}

function Note({ bad, children }: { bad?: boolean; children: ReactNode }): ReactNode {
  return (
    <p
      role="note"
      className={`flex gap-2 rounded-md px-3 py-2 text-sm ${bad ? "bg-bad-wash text-bad" : "bg-warn-wash text-warn"}`}
    >
      <Icon name={bad ? "wrong" : "warn"} className="mt-0.5" /> <span className="min-w-0">{children}</span>
    </p>
  );
}

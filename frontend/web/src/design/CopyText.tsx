/** A text to take along: shown as it is, or in short, with a button that copies it. */

import { useEffect, useState, type ReactNode } from "react";
import { IconButton } from "./Button";

export function CopyIcon({ text, label }: { text: string; label: string }): ReactNode {
  const [done, setDone] = useState(false);

  useEffect(() => {
    if (!done) return;
    const timer = window.setTimeout(() => setDone(false), 2000);
    return () => window.clearTimeout(timer);
  }, [done]);

  async function copy() {
    // Not there on a page without HTTPS, and not always allowed.
    await navigator.clipboard?.writeText(text).then(
      () => setDone(true),
      () => undefined,
    );
  }

  return (
    <>
      <IconButton label={label} icon={done ? "check" : "copy"} onClick={() => void copy()} />
      <span role="status" className="sr-only">
        {done ? "Copied" : ""}
      </span>
    </>
  );
}

/** A command or a hash, to be copied. */
export function CopyText({ text, shown = text, label }: { text: string; shown?: string; label: string }): ReactNode {
  return (
    <span className="inline-flex max-w-full items-center gap-0.5">
      <code className="min-w-0 truncate rounded-sm bg-sunk px-1.5 py-0.5 font-mono text-xs" title={text}>
        {shown}
      </code>
      <CopyIcon text={text} label={label} />
    </span>
  );
}

/** What is there to be taken elsewhere: a secret, a link, lines for a terminal. */

import { useEffect, useState, type ReactNode } from "react";
import { Button } from "./Button";

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }): ReactNode {
  const [told, setTold] = useState("");
  useEffect(() => {
    if (!told) return;
    const timer = window.setTimeout(() => setTold(""), 2500);
    return () => window.clearTimeout(timer);
  }, [told]);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setTold("Copied");
    } catch {
      setTold("Not copied: select it by hand"); // Without https browsers keep the clipboard to themselves.
    }
  }

  return (
    <>
      <Button size="sm" icon={told === "Copied" ? "check" : "copy"} onClick={() => void copy()}>
        {told || label}
      </Button>
      <span role="status" className="sr-only">
        {told}
      </span>
    </>
  );
}

/** Lines to paste, with the button that takes all of them. One press selects them where the clipboard is closed. */
export function CopyBox({ text, label, children }: { text: string; label: string; children?: ReactNode }): ReactNode {
  return (
    <div className="rounded-md border border-line bg-sunk">
      <div className="flex flex-wrap items-center justify-between gap-2 border-b border-line px-3 py-1.5">
        <span className="label-caps">{label}</span>
        <span className="flex flex-wrap gap-2">
          {children}
          <CopyButton text={text} />
        </span>
      </div>
      <pre className="px-3 py-2 font-mono text-sm break-all whitespace-pre-wrap select-all">{text}</pre>
    </div>
  );
}

/** A long text with its name above it; it scrolls. */
export function CopyBlock({ label, text, wrap }: { label: string; text: string; wrap?: boolean }): ReactNode {
  return (
    <figure className="min-w-0">
      <div className="mb-1 flex items-center justify-between gap-2">
        <figcaption className="text-sm font-medium">{label}</figcaption>
        <CopyButton text={text} />
      </div>
      <pre
        // It scrolls, so it can be reached by keyboard.

        tabIndex={0}
        aria-label={label}
        role="region"
        className={`max-h-64 overflow-auto rounded-md bg-sunk p-3 font-mono text-xs ${wrap ? "whitespace-pre-wrap" : ""}`}
      >
        {text}
      </pre>
    </figure>
  );
}

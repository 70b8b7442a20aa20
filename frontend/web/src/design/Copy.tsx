/** Text to take along: shown as it is, copied with one press. */

import { useState, type ReactNode } from "react";
import { Button } from "./Button";

const SHOWN_MS = 2000;

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }): ReactNode {
  const [state, setState] = useState<"" | "Copied" | "Select and copy it">("");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setState("Copied");
    } catch {
      setState("Select and copy it"); // Not a secure context, or not allowed.
    }
    window.setTimeout(() => setState(""), SHOWN_MS);
  }
  return (
    <Button size="sm" icon={state === "Copied" ? "check" : "copy"} onClick={() => void copy()}>
      <span aria-live="polite">{state || label}</span>
    </Button>
  );
}

export function CopyBlock({ label, text, wrap }: { label: string; text: string; wrap?: boolean }): ReactNode {
  return (
    <figure className="min-w-0">
      <div className="mb-1 flex items-center justify-between gap-2">
        <figcaption className="text-sm font-medium">{label}</figcaption>
        <CopyButton text={text} />
      </div>
      <pre
        // It scrolls, so it can be reached by keyboard.
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0} aria-label={label} role="region"
        className={`max-h-64 overflow-auto rounded-md bg-sunk p-3 font-mono text-xs ${wrap ? "whitespace-pre-wrap" : ""}`}
      >
        {text}
      </pre>
    </figure>
  );
}

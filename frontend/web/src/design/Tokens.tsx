/** Several words in one field: typed or taken from a list, each taken away by itself. */

import { useId, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { Icon } from "./icons";

export interface Known {
  value: string;
  /** Said beside it: 120 offers. */
  about?: string;
}

interface TokensProps {
  label: string;
  hint?: ReactNode;
  error?: string | null;
  values: readonly string[];
  onChange: (values: string[]) => void;
  known?: readonly Known[];
  /** Shown while nothing is chosen. */
  placeholder?: string;
  /** How a typed word is written: countries in capitals. */
  write?: (word: string) => string;
}

export function Tokens({
  label,
  hint,
  error,
  values,
  onChange,
  known = [],
  placeholder,
  write = (word) => word,
}: TokensProps): ReactNode {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");

  function add(words: string): void {
    const fresh = words
      .split(",")
      .map((one) => write(one.trim()))
      .filter(Boolean);
    setText("");
    if (fresh.length) onChange([...new Set([...values, ...fresh])]);
  }

  function typed(now: string): void {
    // A choice of the list comes as one change, whole.
    if (now.includes(",") || (known.some((one) => one.value === now) && Math.abs(now.length - text.length) > 1))
      add(now);
    else setText(now);
  }

  function pressed(event: KeyboardEvent<HTMLInputElement>): void {
    if (event.key === "Enter" && text.trim()) {
      event.preventDefault();
      add(text);
    } else if (event.key === "Backspace" && text === "" && values.length) onChange(values.slice(0, -1));
  }

  function remove(value: string): void {
    onChange(values.filter((one) => one !== value));
    input.current?.focus();
  }

  const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
  return (
    <div className="min-w-0">
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      <div
        className={`flex min-h-9 flex-wrap items-center gap-1 rounded-md border bg-card px-1.5 py-1 focus-within:outline-2 focus-within:outline-accent hover:border-edge ${error ? "border-bad" : "border-edge/70"}`}
      >
        {values.map((value) => (
          <button
            key={value}
            type="button"
            onClick={() => remove(value)}
            aria-label={`Remove ${value}`}
            className="inline-flex h-6 items-center gap-1 rounded-sm bg-calm-wash px-1.5 text-sm hover:bg-hover"
          >
            {value}
            <Icon name="close" size={10} />
          </button>
        ))}
        <input
          ref={input}
          id={id}
          value={text}
          list={`${id}-known`}
          autoComplete="off"
          spellCheck={false}
          placeholder={values.length ? "" : placeholder}
          aria-describedby={about}
          aria-invalid={error ? true : undefined}
          onChange={(event) => typed(event.target.value)}
          onKeyDown={pressed}
          onBlur={() => add(text)}
          className="h-6 min-w-12 grow basis-12 bg-transparent px-1 text-sm outline-none"
        />
      </div>
      <datalist id={`${id}-known`}>
        {known
          .filter((one) => !values.includes(one.value))
          .map((one) => (
            <option key={one.value} value={one.value}>
              {one.about}
            </option>
          ))}
      </datalist>
      {error ? (
        <p id={`${id}-error`} className="mt-1 flex items-start gap-1 text-sm text-bad">
          <Icon name="wrong" size={14} className="mt-0.75" /> <span>{error}</span>
        </p>
      ) : hint ? (
        <p id={`${id}-hint`} className="mt-1 text-xs text-soft">
          {hint}
        </p>
      ) : null}
    </div>
  );
}

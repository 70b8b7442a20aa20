/** What can be filled in: each with its label, its hint and what is wrong with it. */

import { useId, type InputHTMLAttributes, type ReactNode, type SelectHTMLAttributes } from "react";
import { Icon } from "./icons";

const BOX =
  "h-9 w-full rounded-md border border-edge/70 bg-card px-2.5 text-sm text-ink hover:border-edge " +
  "focus-within:outline-2 focus-within:outline-offset-0 focus-within:outline-accent aria-invalid:border-bad disabled:opacity-60";

interface Around {
  label: string;
  hint?: ReactNode;
  error?: string | null;
  /** The label is read aloud, not shown. */
  hidden?: boolean;
}

function Frame({ id, label, hint, error, hidden, children }: Around & { id: string; children: ReactNode }): ReactNode {
  return (
    <div className="min-w-0">
      <label htmlFor={id} className={hidden ? "sr-only" : "mb-1 block text-sm font-medium"}>
        {label}
      </label>
      {children}
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

function described(id: string, { hint, error }: Pick<Around, "hint" | "error">) {
  return {
    "aria-describedby": error ? `${id}-error` : hint ? `${id}-hint` : undefined,
    "aria-invalid": error ? true : undefined,
  };
}

type InputProps = Around & Omit<InputHTMLAttributes<HTMLInputElement>, "hidden"> & { unit?: string };

export function Input({ label, hint, error, hidden, unit, className = "", ...rest }: InputProps): ReactNode {
  const own = useId();
  const id = rest.id ?? own;
  return (
    <Frame id={id} {...{ label, hint, error, hidden }}>
      <div className="relative">
        <input
          {...rest}
          id={id}
          {...described(id, { hint, error })}
          className={`${BOX} ${unit ? "pr-14" : ""} ${className}`}
        />
        {unit && (
          <span className="pointer-events-none absolute inset-y-0 right-2.5 flex items-center text-xs text-soft">
            {unit}
          </span>
        )}
      </div>
    </Frame>
  );
}

type SelectProps = Around &
  Omit<SelectHTMLAttributes<HTMLSelectElement>, "hidden"> & { options: readonly (readonly [string, string])[] };

export function Select({ label, hint, error, hidden, options, className = "", ...rest }: SelectProps): ReactNode {
  const own = useId();
  const id = rest.id ?? own;
  return (
    <Frame id={id} {...{ label, hint, error, hidden }}>
      <div className="relative">
        <select
          {...rest}
          id={id}
          {...described(id, { hint, error })}
          className={`${BOX} appearance-none pr-8 ${className}`}
        >
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
        <Icon name="open" className="pointer-events-none absolute top-2.5 right-2 text-soft" />
      </div>
    </Frame>
  );
}

interface CheckProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "type"> {
  label: string;
  /** The label is read aloud, not shown. */
  bare?: boolean;
}

export function Check({ label, bare, className = "", ...rest }: CheckProps): ReactNode {
  return (
    <label className={`inline-flex min-h-6 cursor-pointer items-center gap-2 text-sm ${className}`}>
      <input type="checkbox" {...rest} className="size-4 accent-accent" />
      <span className={bare ? "sr-only" : ""}>{label}</span>
    </label>
  );
}

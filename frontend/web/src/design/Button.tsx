/** What can be pressed. */

import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import { Icon, type IconName } from "./icons";

const BASE =
  "inline-flex items-center justify-center gap-1.5 rounded-md font-medium whitespace-nowrap select-none transition-colors duration-100 " +
  "disabled:opacity-55 disabled:cursor-not-allowed";

const KINDS = {
  primary: "bg-accent text-on-accent hover:bg-accent-strong border border-transparent",
  plain: "bg-card text-ink border border-line hover:bg-hover",
  quiet: "text-ink hover:bg-hover border border-transparent",
  danger: "bg-card text-bad border border-line hover:bg-bad-wash",
} as const;

const SIZES = { sm: "h-7 px-2 text-sm", md: "h-9 px-3 text-sm", lg: "h-11 px-5 text-base" } as const;

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: keyof typeof KINDS;
  size?: keyof typeof SIZES;
  icon?: IconName;
  /** It was pressed and works on it: it cannot be pressed again. */
  busy?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

export function buttonClass(kind: keyof typeof KINDS = "plain", size: keyof typeof SIZES = "md"): string {
  return `${BASE} ${KINDS[kind]} ${SIZES[size]}`;
}

export function Button({
  kind = "plain",
  size = "md",
  icon,
  busy,
  className = "",
  children,
  ...rest
}: ButtonProps): ReactNode {
  return (
    <button
      type="button"
      {...rest}
      disabled={rest.disabled || busy}
      aria-busy={busy || undefined}
      className={`${buttonClass(kind, size)} ${className}`}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button that is only an icon; its name is read aloud and shown on hover. */
export function IconButton({
  label,
  icon,
  size = "sm",
  className = "",
  ...rest
}: ButtonProps & { label: string; icon: IconName }): ReactNode {
  const box = size === "sm" ? "size-7" : "size-9";
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      {...rest}
      className={`inline-flex items-center justify-center rounded-md text-soft hover:bg-hover hover:text-ink disabled:opacity-50 ${box} ${className}`}
    >
      <Icon name={icon} />
    </button>
  );
}

/** Fields of people's secrets: passwords that can be looked at, codes that can be pasted. */

import { useState, type InputHTMLAttributes, type ReactNode } from "react";
import { Input } from "@/design/Field";

/** The validators of the broker (AUTH_PASSWORD_VALIDATORS), told before they are needed. */
export const PASSWORD_RULES =
  "At least 10 characters, not one that many people use, not much like your e-mail address.";

interface SecretProps extends InputHTMLAttributes<HTMLInputElement> {
  label: string;
  name: string;
  hint?: ReactNode;
  error?: string;
  autoComplete: "current-password" | "new-password";
  /** It appears because it was asked for: the cursor is in it. */
  now?: boolean;
}

export function Secret({ label, now, ...rest }: SecretProps): ReactNode {
  const [shown, setShown] = useState(false);
  return (
    <div className="relative">
      <Input
        {...rest}
        label={label}
        type={shown ? "text" : "password"}
        autoCapitalize="off"
        spellCheck={false}
        className="pr-16"
        hidden={false}
        // eslint-disable-next-line jsx-a11y/no-autofocus -- a step that was asked for begins at its field
        autoFocus={now}
      />
      <button
        type="button"
        onClick={() => setShown(!shown)}
        aria-pressed={shown}
        aria-label={`Show ${label.toLowerCase()}`}
        className="absolute top-7 right-1 h-7 rounded-sm px-2 text-xs font-medium text-soft hover:bg-hover hover:text-ink"
      >
        {shown ? "Hide" : "Show"}
      </button>
    </div>
  );
}

interface CodeProps {
  error?: string;
  /** A recovery code instead of one of the app's. */
  recovery?: boolean;
  now?: boolean;
}

export function CodeField({ error, recovery, now }: CodeProps): ReactNode {
  const about = recovery
    ? ({
        label: "Recovery code",
        hint: "One of those that you kept when you set the second factor up. Each works once.",
      } as const)
    : ({
        label: "Code",
        hint: "The six digits that your authenticator app shows now.",
        inputMode: "numeric",
        autoComplete: "one-time-code",
      } as const);
  return (
    <Input
      key={about.label}
      name="code"
      {...about}
      error={error}
      autoCapitalize="off"
      spellCheck={false}
      className="font-mono tracking-widest"
      // eslint-disable-next-line jsx-a11y/no-autofocus -- a step that was asked for begins at its field
      autoFocus={now}
    />
  );
}

/** A mail with a link is on its way. */

import { useState, type ReactNode } from "react";
import { useNow } from "@/app/clock";
import { Button } from "@/design/Button";
import { duration } from "@/design/format";
import { Fault } from "@/design/Layout";
import { Door } from "./Door";

/** The broker sends no second mail within three minutes (allauth's rate limit "confirm_email"). */
const AGAIN_AFTER_MS = 180_000;

export function MailSent({
  to,
  again,
  back,
}: {
  to: string;
  again: () => Promise<unknown>;
  back: () => void;
}): ReactNode {
  const now = useNow();
  const [sentAt, setSentAt] = useState(() => Date.now());
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const wait = Math.ceil((sentAt + AGAIN_AFTER_MS - now) / 1000);

  async function send() {
    setBusy(true);
    setError(null);
    try {
      await again();
      setSentAt(Date.now());
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  }

  return (
    <Door
      title="Look into your mail"
      foot={
        <Button kind="quiet" size="sm" icon="left" onClick={back}>
          Use another address
        </Button>
      }
      about={
        <p aria-live="polite">
          A mail went to <strong className="text-ink">{to}</strong>. Its link confirms that the address is yours; then
          sign in.
        </p>
      }
    >
      <div className="space-y-3">
        {error !== null && <Fault error={error} />}
        <p className="text-sm text-soft">Nothing there? Look among the unwanted mails, or have it sent again.</p>
        <Button busy={busy} disabled={wait > 0} onClick={() => void send()} className="w-full">
          {wait > 0 ? `Send it again in ${duration(wait)}` : "Send it again"}
        </Button>
      </div>
    </Door>
  );
}

/** The second factor: an app that shows codes, and codes on paper for the day on which the app is gone. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { factors, newRecoveryCodes, newTotp, recoveryCodes, turnOffTotp, turnOnTotp, type Factor } from "@/api/auth";
import { complain, say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { Confirm } from "@/design/Confirm";
import { CopyBox } from "@/design/Copy";
import { moment, plural, zone } from "@/design/format";
import { Card, Fault, Loading } from "@/design/Layout";
import { Badge } from "@/design/Status";
import { useForm } from "@/design/form";
import { Qr } from "@/design/qr-lazy";
import { GivenUp, useAgain, type Again } from "./again";
import { CodeField } from "./fields";
import { bareCode, grouped } from "./flow";

const FACTORS = ["factors"];

export function FactorSection(): ReactNode {
  const again = useAgain();
  const found = useQuery({ queryKey: FACTORS, queryFn: factors });
  const [codes, setCodes] = useState<string[] | null>(null);
  const totp = found.data?.find(({ type }) => type === "totp");
  const spare = found.data?.find(({ type }) => type === "recovery_codes");

  return (
    <div className="max-w-2xl space-y-4">
      {codes && <Codes codes={codes} onDone={() => setCodes(null)} />}
      <Card
        title="Authenticator app"
        aside={
          found.data &&
          (totp ? (
            <Badge tone="good" icon="check">
              On
            </Badge>
          ) : (
            <Badge icon="minus">Off</Badge>
          ))
        }
      >
        <div className="px-4 py-3 text-sm">
          {found.isPending ? (
            <Loading lines={3} />
          ) : found.isError ? (
            <Fault error={found.error} retry={() => void found.refetch()} />
          ) : totp ? (
            <On totp={totp} spare={spare} again={again} onCodes={setCodes} />
          ) : (
            <Off again={again} onCodes={setCodes} />
          )}
        </div>
      </Card>
      {again.dialog}
    </div>
  );
}

interface OffProps {
  again: Again;
  onCodes: (codes: string[] | null) => void;
}

function Off({ again, onCodes }: OffProps): ReactNode {
  const client = useQueryClient();
  const [totp, setTotp] = useState<{ secret: string; url: string } | null>(null);
  const [busy, setBusy] = useState(false);
  const form = useForm(["code"], async ({ code }) => {
    await again.guarded(() => turnOnTotp(bareCode(code)));
    const codes = (await again.guarded(recoveryCodes)) ?? (await again.guarded(newRecoveryCodes));
    onCodes(codes);
    await client.invalidateQueries({ queryKey: FACTORS });
    say("The second factor is on.");
  });
  const rest = form.faults.rest instanceof GivenUp ? null : form.faults.rest;

  async function begin() {
    setBusy(true);
    try {
      setTotp(await again.guarded(newTotp));
    } catch (error) {
      if (!(error instanceof GivenUp)) complain(error);
    } finally {
      setBusy(false);
    }
  }

  if (totp === null) {
    return (
      <div className="space-y-3">
        <p>
          After your password, signing in asks for a code that an app on your phone shows. Who has only your password
          does not get in.
        </p>
        <Button kind="primary" icon="shield" busy={busy} onClick={() => void begin()}>
          Set it up
        </Button>
      </div>
    );
  }
  return (
    <div className="space-y-4">
      <p>
        Point an authenticator app at this code, type its secret in as a time-based code, or open the link on the device
        that has the app.
      </p>
      {totp.url && <Qr text={totp.url} label="QR code of the secret below, for an authenticator app" />}
      <CopyBox label="Secret" text={grouped(totp.secret)} />
      <p>
        <a href={totp.url} className="inline-flex min-h-6 items-center">
          Open it in the app on this device
        </a>
      </p>
      <form onSubmit={form.onSubmit} noValidate className="max-w-xs space-y-3">
        {rest !== null && <Fault error={rest} />}
        <CodeField error={form.faults.at.code} now />
        <div className="flex gap-2">
          <Button kind="primary" type="submit" busy={form.busy}>
            Turn it on
          </Button>
          <Button onClick={() => setTotp(null)}>Cancel</Button>
        </div>
      </form>
    </div>
  );
}

interface OnProps {
  totp: Factor;
  spare: Factor | undefined;
  again: Again;
  onCodes: (codes: string[] | null) => void;
}

const when = (seconds: number | null) => (seconds === null ? "never" : moment(new Date(seconds * 1000)));

function On({ totp, spare, again, onCodes }: OnProps): ReactNode {
  const client = useQueryClient();
  const [asked, setAsked] = useState<"off" | "new" | null>(null);

  async function show(get: () => Promise<string[] | null>) {
    onCodes(await again.guarded(get));
    await client.invalidateQueries({ queryKey: FACTORS });
  }

  async function off() {
    await again.guarded(turnOffTotp);
    onCodes(null);
    await client.invalidateQueries({ queryKey: FACTORS });
    say("The second factor is off.");
  }

  const closing = (act: () => Promise<void>) => () =>
    act().catch((error) => {
      if (!(error instanceof GivenUp)) throw error;
    });
  return (
    <div className="space-y-3">
      <p>
        Signing in asks for a code. Set up {when(totp.created_at)}, last used {when(totp.last_used_at)}{" "}
        <span className="text-soft">({zone()})</span>.
      </p>
      <p>
        {spare
          ? `${plural(spare.unused_code_count ?? 0, "recovery code")} of ${spare.total_code_count ?? 0} are unused.`
          : "There are no recovery codes: without the app you would not get in."}
      </p>
      <div className="flex flex-wrap gap-2">
        {spare && (
          <Button onClick={() => void closing(() => show(recoveryCodes))().catch(complain)}>
            Show the recovery codes
          </Button>
        )}
        <Button onClick={() => setAsked("new")}>{spare ? "Make new ones" : "Make recovery codes"}</Button>
        <Button kind="danger" onClick={() => setAsked("off")}>
          Turn it off
        </Button>
      </div>
      {asked === "new" && (
        <Confirm
          title="New recovery codes"
          verb="Make them"
          onClose={() => setAsked(null)}
          act={closing(() => show(newRecoveryCodes))}
        >
          <p>{spare ? "Those that you have stop working." : "Each lets you in once, in place of the app's code."}</p>
        </Confirm>
      )}
      {asked === "off" && (
        <Confirm
          title="Turn the second factor off"
          verb="Turn it off"
          danger
          onClose={() => setAsked(null)}
          act={closing(off)}
        >
          <p>From then on your password alone lets you in, and the recovery codes stop working.</p>
        </Confirm>
      )}
    </div>
  );
}

function Codes({ codes, onDone }: { codes: readonly string[]; onDone: () => void }): ReactNode {
  const text = codes.join("\n");
  const ref = useRef<HTMLParagraphElement>(null);
  useEffect(() => ref.current?.focus(), []);

  function keep() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(
      new Blob([`GPUYard recovery codes, each works once\n\n${text}\n`], { type: "text/plain" }),
    );
    link.download = "gpuyard-recovery-codes.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  return (
    <Card title="Recovery codes">
      <div className="space-y-3 px-4 py-3 text-sm">
        <p ref={ref} tabIndex={-1} className="outline-none">
          Keep them where you keep passwords. Each lets you in once when the app is out of reach.
        </p>
        <CopyBox label={plural(codes.length, "code")} text={text}>
          <Button size="sm" icon="download" onClick={keep}>
            Download
          </Button>
        </CopyBox>
        <Button kind="primary" onClick={onDone}>
          I have kept them
        </Button>
      </div>
    </Card>
  );
}

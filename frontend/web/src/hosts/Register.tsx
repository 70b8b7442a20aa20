/** Lend a machine: say what it is called and costs, paste a command there, see that it is heard. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { wheel } from "@/account/people";
import { Problem } from "@/api/client";
import { useNow } from "@/app/clock";
import { Button } from "@/design/Button";
import { CopyBox } from "@/design/Copy";
import { Input, Select } from "@/design/Field";
import { ago, plural, price } from "@/design/format";
import { Icon } from "@/design/icons";
import { Fault, Loading } from "@/design/Layout";
import { Drawer } from "@/design/Panel";
import { Badge } from "@/design/Status";
import { useForm } from "@/design/form";
import { addHost, chipPrices, hosts, type Host } from "./api";
import { agentLine, installLine } from "./commands";
import { freshOf, TOKEN_MS, type Fresh } from "./fresh";
import { wished, wrongIn } from "./wish";
import { chips, left, pricesByChip } from "./states";

interface RegisterProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  rows: readonly Host[];
  /** Registered already: only the command is shown. */
  fresh: Fresh | undefined;
  onMade: (made: Fresh) => void;
}

export function Register({ open, onOpenChange, rows, fresh, onMade }: RegisterProps): ReactNode {
  const host = fresh && rows.find(({ id }) => id === fresh.id);
  return (
    <Drawer
      open={open}
      onOpenChange={onOpenChange}
      title={host ? host.name : "Register a machine"}
      about={
        host
          ? host.state === "new"
            ? "Paste the two lines there, and wait until it is heard."
            : "It came."
          : "It needs Python 3.11 and a way out to this broker; nothing is opened on your network."
      }
    >
      {!fresh ? (
        <NewHost onMade={onMade} />
      ) : !host ? (
        <Loading lines={4} />
      ) : (
        <Command key={fresh.id} fresh={fresh} host={host} onClose={() => onOpenChange(false)} />
      )}
    </Drawer>
  );
}

function NewHost({ onMade }: { onMade: (made: Fresh) => void }): ReactNode {
  const client = useQueryClient();
  const form = useForm(["name", "region", "country", "usd_per_hour"], async (values) => {
    const wish = wished(values);
    const wrong = wrongIn(wish);
    if (Object.keys(wrong).length > 0) throw new Problem(422, "invalid", "Some fields need another look.", "", wrong);
    const host = await addHost(wish);
    const made = freshOf(host);
    await client.invalidateQueries({ queryKey: hosts.queryKey });
    onMade(made);
  });
  const { at, rest } = form.faults;
  return (
    <form onSubmit={form.onSubmit} noValidate className="space-y-4">
      {rest !== null && <Fault error={rest} />}
      <Input
        label="Name"
        name="name"
        placeholder="attic-1"
        hint="Letters, digits, dots and dashes. Yours alone: customers see its place and hardware."
        maxLength={64}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        error={at.name}
        // eslint-disable-next-line jsx-a11y/no-autofocus -- the drawer was opened to fill this in
        autoFocus
      />
      <div className="grid gap-4 sm:grid-cols-[1fr_8rem]">
        <Input
          label="Place"
          name="region"
          placeholder="home/berlin"
          hint="Whose room it is and where: machines of one place train as one site."
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          error={at.region}
        />
        <Input
          label="Country"
          name="country"
          placeholder="DE"
          hint="Two letters."
          maxLength={2}
          autoComplete="country"
          autoCapitalize="characters"
          error={at.country}
        />
      </div>
      <Input
        label="Price of the machine"
        name="usd_per_hour"
        unit="USD/h"
        inputMode="decimal"
        placeholder="0.40"
        autoComplete="off"
        error={at.usd_per_hour}
      />
      <MarketPrice />
      <Button kind="primary" type="submit" busy={form.busy}>
        Register it
      </Button>
    </form>
  );
}

/** What others take for the chip in it, to find a price. */
function MarketPrice(): ReactNode {
  const found = useQuery(chipPrices);
  const [gpu, setGpu] = useState("");
  if (!found.data) return null;
  const prices = pricesByChip(found.data);
  if (prices.size === 0) return null;
  const row = prices.get(gpu);
  return (
    <div className="rounded-md bg-sunk px-3 py-2.5">
      <Select
        label="What others take for"
        options={[["", "Choose a chip"], ...[...prices.keys()].map((one) => [one, one] as const)]}
        value={gpu}
        onChange={(event) => setGpu(event.target.value)}
      />
      <p aria-live="polite" className="mt-2 min-h-10 text-sm text-soft">
        {row ? (
          <>
            Half of {plural(row.offers, `${row.market === "spot" ? "spot" : "on-demand"} offer`)} of {gpu} ask less than{" "}
            <strong className="text-ink">{price(row.median_usd_per_gpu_hour)}</strong> for a chip and hour, the cheapest{" "}
            {price(row.min_usd_per_gpu_hour)}.
          </>
        ) : (
          "From the offers that this broker knows now."
        )}
      </p>
    </div>
  );
}

function Command({ fresh, host, onClose }: { fresh: Fresh; host: Host; onClose: () => void }): ReactNode {
  const now = useNow();
  const found = useQuery(wheel);
  const url = window.location.origin;
  const agent = agentLine(url, host.id, fresh.token);
  const over = fresh.until <= now;
  const lines = found.data ? [installLine(url, found.data, "[node]"), agent].join("\n") : agent;
  return (
    <div className="space-y-4 text-sm">
      {host.state === "new" && (
        <>
          {found.isPending ? <Loading lines={3} /> : <CopyBox label={`On ${host.name}`} text={lines} />}
          {found.isError && <Fault error={found.error} />}
          <p className={over ? "text-bad" : "text-soft"}>
            {over ? (
              "The token in there is too old now: ask for a new command in the list of machines."
            ) : (
              <>
                The token in there is shown now only. It lets one machine in, and is good for{" "}
                <span className="tabular-nums">{left(fresh.until, now)}</span>.
              </>
            )}
          </p>
        </>
      )}
      <Heard host={host} now={now} waited={TOKEN_MS - (fresh.until - now)} />
      {host.state !== "new" && (
        <Button kind="primary" onClick={onClose}>
          Done
        </Button>
      )}
    </div>
  );
}

function Heard({ host, now, waited }: { host: Host; now: number; waited: number }): ReactNode {
  if (host.state === "new") {
    return (
      <div className="space-y-3 rounded-md bg-sunk px-3 py-2.5">
        <p role="status" className="flex items-center gap-2 font-medium">
          <Icon name="clock" className="animate-pulse text-accent" /> Waiting for {host.name}
        </p>
        {waited > 60_000 && (
          <ul className="list-disc space-y-1 pl-5 text-soft">
            <li>Did both lines end without an error? The first takes some minutes where PyTorch is not there yet.</li>
            <li>
              Is <span className="font-mono break-all">{window.location.origin}</span> reached from there? Try it with
              curl.
            </li>
            <li>The agent writes why it cannot come: look at its last line.</li>
          </ul>
        )}
      </div>
    );
  }
  if (host.state === "barred") {
    return (
      <Fault
        error={
          new Problem(
            422,
            "barred",
            `${host.name} came, but is not offered: it ${host.why}.`,
            "Mend that and start the agent again: it reports anew.",
          )
        }
      />
    );
  }
  return (
    <div role="status" className="space-y-2 rounded-md bg-good-wash px-3 py-2.5">
      <Badge tone="good" icon="check">
        Heard {ago(host.seen_at, now)}
      </Badge>
      <p className="font-medium">{chips(host) ?? "Its hardware is not known yet."}</p>
      <p>It is offered for {price(host.usd_per_hour)} an hour. Leave the agent running: you earn while it is rented.</p>
    </div>
  );
}

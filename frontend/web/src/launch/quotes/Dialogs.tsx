/** What would be ordered, without ordering; and a price that moved while one decided. */

import type { ReactNode } from "react";
import { Button } from "@/design/Button";
import { CopyBlock } from "@/design/Copy";
import { duration, usd } from "@/design/format";
import { Fault, Loading } from "@/design/Layout";
import { Modal } from "@/design/Panel";
import { sameMachines } from "../scale";
import type { Need, Order, Quote } from "../shapes";
import type { Moved } from "./useOrder";

interface DryRunProps {
  open: boolean;
  quote: Quote | null;
  /** Null while the program is packed, or where there is none. */
  body: Order | null;
  need: Need;
  command: string | null;
  hold: number | null;
  failed: Error | null;
  packing: boolean;
  onClose: () => void;
}

export function DryRun({ open, quote, body, need, command, hold, failed, packing, onClose }: DryRunProps): ReactNode {
  return (
    <Modal
      open={open}
      onOpenChange={(now) => !now && onClose()}
      title="Dry run"
      about="Nothing is uploaded and nothing is ordered."
    >
      <div className="space-y-4">
        {quote && (
          <p className="text-sm">
            Quote {quote.rank}:{" "}
            {quote.sites.map((one) => `${one.accelerators} × ${one.accelerator} at ${one.site}`).join(", ")}.
            {quote.outcome && (
              <>
                {" "}
                About {usd(quote.outcome.cost_usd.p50)} and {duration(quote.outcome.finish_s.p50)}.
              </>
            )}
            {hold !== null && <> {usd(hold)} of your credit would be set aside; what is not used comes back.</>}
          </p>
        )}
        {failed ? (
          <Fault error={failed} />
        ) : packing ? (
          <Loading lines={3} label="The program is packed" />
        ) : body ? (
          <CopyBlock label="POST /v1/workloads" text={JSON.stringify(body, null, 2)} />
        ) : (
          <p className="text-sm text-soft">
            {quote ? "Add a program to see the order that would be sent." : "There is no quote that could be ordered."}
          </p>
        )}
        <CopyBlock label="POST /v1/quotes" text={JSON.stringify(need, null, 2)} />
        {command !== null && <CopyBlock label="The same from the command line" text={command} wrap />}
      </div>
    </Modal>
  );
}

interface MovedProps {
  moved: Moved | null;
  onOrder: (quote: Quote) => void;
  onClose: () => void;
}

export function PriceMoved({ moved, onOrder, onClose }: MovedProps): ReactNode {
  const fresh = moved?.fresh ?? null;
  return (
    <Modal
      open={moved !== null}
      onOpenChange={(open) => !open && onClose()}
      title="The quote was over"
      about={
        fresh
          ? "Its price no longer held, so it was asked anew. Nothing was ordered yet."
          : "It was asked anew, and there is no longer a quote like it. Nothing was ordered."
      }
    >
      {moved && fresh && <Difference old={moved.old} fresh={fresh} />}
      <div className="mt-4 flex justify-end gap-2">
        <Button onClick={onClose}>Back to the quotes</Button>
        {fresh && (
          <Button kind="primary" onClick={() => onOrder(fresh)}>
            Order at {shown(fresh)}
          </Button>
        )}
      </div>
    </Modal>
  );
}

const amount = (quote: Quote) => Number(quote.cost_usd ?? quote.usd_per_hour);
const shown = (quote: Quote) => `${usd(amount(quote))}${quote.cost_usd === null ? "/h" : ""}`;

function Difference({ old, fresh }: { old: Quote; fresh: Quote }): ReactNode {
  const apart = (old.cost_usd === null) === (fresh.cost_usd === null) ? amount(fresh) - amount(old) : null;
  const machines = sameMachines(old) === sameMachines(fresh);
  return (
    <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1 text-sm">
      <dt className="text-soft">It was</dt>
      <dd className="tabular-nums">{shown(old)}</dd>
      <dt className="text-soft">It is now</dt>
      <dd className="font-semibold tabular-nums">
        {shown(fresh)}{" "}
        {apart !== null && (
          <span className="font-normal text-soft">
            ({apart === 0 ? "the same" : `${usd(Math.abs(apart))} ${apart > 0 ? "more" : "less"}`})
          </span>
        )}
      </dd>
      <dt className="text-soft">Machines</dt>
      <dd>
        {machines ? (
          "the same"
        ) : (
          <>others: {fresh.sites.map((one) => `${one.accelerators} × ${one.accelerator} at ${one.site}`).join(", ")}</>
        )}
      </dd>
    </dl>
  );
}

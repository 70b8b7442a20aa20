/** Quotes for the need, in every state: not yet a need, on their way, side by side, none, too dear. */

import type { ReactNode } from "react";
import { Problem } from "@/api/client";
import { useNow } from "@/app/clock";
import { Button } from "@/design/Button";
import { clock, count, duration, plural, price, usd, zone } from "@/design/format";
import { Icon } from "@/design/icons";
import { Card, Empty, Fault, Loading } from "@/design/Layout";
import { useWidth } from "@/design/useWidth";
import type { Form } from "../form";
import { expiry, numbered } from "../scale";
import type { Quote, Quotes } from "../shapes";
import { readable, sentence } from "../words";
import { CostCurve } from "./CostCurve";
import type { Orders } from "./OrderButton";
import { QuoteCards } from "./QuoteCards";
import { COLUMN_PX, HEAD_PX, mostPx, QuoteTable } from "./QuoteTable";
import { SitesMap } from "./SitesMap";
import { TooDear, Unmet } from "./Unmet";
import type { useQuotes } from "./useQuotes";

interface CardProps {
  asked: ReturnType<typeof useQuotes>;
  form: Form;
  onChange: (form: Form) => void;
  orders: Orders;
  allowed: boolean;
  deadlineHours: number | undefined;
  chosen: Quote | null;
  onChoose: (rank: number) => void;
  onDryRun: () => void;
}

export function QuotesCard(props: CardProps): ReactNode {
  const { asked, allowed, orders } = props;
  const quotes = asked.data?.quotes;
  return (
    <Card
      title="Quotes"
      aside={
        allowed &&
        quotes &&
        !asked.isError && <Held quotes={quotes} fetching={asked.isFetching} onAsk={() => void asked.refetch()} />
      }
    >
      {allowed && orders.blocked && (
        <p id="launch-blocked" className="flex items-center gap-2 border-b border-line px-4 py-2 text-sm text-soft">
          <Icon name="info" /> {orders.blocked}
        </p>
      )}
      {!allowed ? (
        <Empty
          icon="shield"
          title="You may look, not order"
          about="You are a viewer of this team. A member or an owner may ask for quotes and order; the command of the dry run can be handed to them."
        />
      ) : !asked.fits && !quotes ? (
        <Empty
          icon="filter"
          title="The need is not complete"
          about="Some fields are marked: quotes are asked for as soon as they make sense."
        />
      ) : asked.isError && !(asked.data && away(asked.error)) ? (
        <Refused {...props} />
      ) : !asked.data ? (
        <Loading lines={8} label="Quotes are on their way" />
      ) : (
        <>
          {asked.isError && <Fault error={asked.error} retry={() => void asked.refetch()} className="m-4" />}
          <Shown {...props} answer={asked.data} />
        </>
      )}
    </Card>
  );
}

/** Where there is so much room beside the table, what it says of the chosen one stands there. */
const WHY_PX = 280;

/** The broker did not answer: what it said before is better than nothing. */
const away = (error: unknown) => !(error instanceof Problem) || error.status === 0 || error.status >= 500;

function Refused({ asked, form, onChange }: CardProps): ReactNode {
  const problem = asked.error instanceof Problem ? asked.error : null;
  if (problem?.code === "need_unmet") return <Unmet problem={problem} form={form} onChange={onChange} />;
  if (problem?.code === "budget_below_cheapest") return <TooDear problem={problem} form={form} onChange={onChange} />;
  return (
    <div className="p-4">
      <Fault error={asked.error} retry={() => void asked.refetch()} />
    </div>
  );
}

function Shown(props: CardProps & { answer: Quotes }): ReactNode {
  const { asked, answer, form, onChange, orders, deadlineHours, chosen, onChoose, onDryRun } = props;
  const [box, width] = useWidth();
  const { quotes } = answer;
  if (!chosen) return <Empty icon="search" title="No quotes" about="Ask for something else." />;
  const numbers = numbered(quotes);
  const columns = width >= HEAD_PX + COLUMN_PX * quotes.length;
  const beside = columns && width - mostPx(quotes.length) >= WHY_PX;
  const shown = { quotes, numbers, chosen: chosen.rank, onChoose, orders, askedAt: asked.dataUpdatedAt };
  return (
    <div aria-busy={asked.old} className={`transition-opacity duration-100 ${asked.old ? "opacity-55" : ""}`}>
      <p role="status" className="sr-only">
        {asked.old ? "" : `${plural(quotes.length, "quote")}. ${said(chosen)}`}
      </p>
      {chosen.outcome === null && (
        <p className="flex items-start gap-2 border-b border-line bg-warn-wash px-4 py-2 text-sm text-warn">
          <Icon name="info" className="mt-0.5" />
          <span>
            {form.samples ? "Nobody knows yet how fast this program is" : "How much there is to train is not known"}:
            prices per hour are compared, not what it costs to finish.
            {form.samples ? " State the speed of one GPU, or let " : " State the samples. "}
            {form.samples && (
              <>
                <code>yard probe</code> measure it.
              </>
            )}
          </span>
        </p>
      )}
      <div ref={box} className={beside ? "flex" : ""}>
        <div className={beside ? "shrink-0" : ""} style={beside ? { width: mostPx(quotes.length) } : undefined}>
          {columns ? <QuoteTable {...shown} width={width} /> : <QuoteCards {...shown} />}
        </div>
        <Why quote={chosen} excluded={answer} onDryRun={onDryRun} beside={beside} />
      </div>
      <SitesMap quotes={quotes} numbers={numbers} chosen={chosen.rank} />
      {answer.curve.length > 0 && (
        <section className="border-t border-line">
          <h3 className="px-4 pt-3 text-sm font-semibold">Cost against deadline</h3>
          <CostCurve
            curve={answer.curve}
            quotes={quotes}
            chosen={chosen.rank}
            deadlineHours={deadlineHours}
            onDeadline={(deadlineHours) => onChange({ ...form, deadlineHours, deadlineAt: "" })}
          />
        </section>
      )}
    </div>
  );
}

const said = (quote: Quote) =>
  quote.outcome
    ? `Quote ${quote.rank} costs ${usd(quote.outcome.cost_usd.p50)} and takes ${duration(quote.outcome.finish_s.p50)}.`
    : `Quote ${quote.rank} costs ${price(quote.usd_per_hour)} an hour.`;

interface WhyProps {
  quote: Quote;
  excluded: Quotes;
  onDryRun: () => void;
  beside: boolean;
}

function Why({ quote, excluded, onDryRun, beside }: WhyProps): ReactNode {
  return (
    <section className={`min-w-0 grow px-4 py-3 text-sm ${beside ? "" : "border-t border-line"}`}>
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h3 className="font-semibold">Why quote {quote.rank}</h3>
        <Button size="sm" onClick={onDryRun}>
          Dry run
        </Button>
      </div>
      <p className="max-w-prose">{sentence(readable(quote.why))}</p>
      {quote.why_not && (
        <p className="max-w-prose text-soft">Why not the next: {readable(quote.why_not.replace(/^next best: /, ""))}</p>
      )}
      <p className="mt-1 text-xs text-soft">
        {plural(excluded.offers_considered, "offer")} considered
        {excluded.excluded
          .map((one) => `; without ${count(one.offers)} (${one.constraint.replaceAll("_", " ")})`)
          .join("")}
        .
      </p>
    </section>
  );
}

/** How long the prices hold. */
function Held({
  quotes,
  fetching,
  onAsk,
}: {
  quotes: readonly Quote[];
  fetching: boolean;
  onAsk: () => void;
}): ReactNode {
  const now = useNow();
  const until = expiry(quotes);
  const left = (until - now) / 1000;
  return (
    <>
      <span className="text-xs tabular-nums" title={`Until ${clock(new Date(until))} ${zone()}`}>
        {fetching
          ? "Asking"
          : left > 0
            ? `Prices hold for ${duration(Math.max(1, Math.floor(left)))}`
            : "Prices held until now"}
      </span>
      <Button size="sm" busy={fetching} onClick={onAsk}>
        Ask again
      </Button>
    </>
  );
}

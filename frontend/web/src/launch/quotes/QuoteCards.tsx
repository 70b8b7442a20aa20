/** Quotes one below the other, where there is no room for columns; their bars still share a scale. */

import type { ReactNode } from "react";
import { duration, price, usd } from "@/design/format";
import type { Quote } from "../shapes";
import { costOf, FACTS, Labels, scalesOf, Sites, type Fact } from "./facts";
import { OrderButton } from "./OrderButton";
import type { QuotesProps } from "./QuoteTable";
import { Lying } from "./RangeBar";

const PAIRS = "grid grid-cols-[auto_1fr] gap-x-4 gap-y-0.5";

export function QuoteCards({ quotes, numbers, chosen, onChoose, orders, askedAt }: QuotesProps): ReactNode {
  const scales = scalesOf(quotes);
  return (
    <ol className="grid gap-3 p-4 [grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))]">
      {quotes.map((quote) => (
        <li
          key={quote.id}
          className={`flex flex-col gap-3 rounded-md border p-3 text-sm ${quote.rank === chosen ? "border-accent" : "border-line"}`}
        >
          <div className="flex flex-wrap items-center justify-between gap-2">
            <button
              type="button"
              aria-pressed={quote.rank === chosen}
              onClick={() => onChoose(quote.rank)}
              className="min-h-6 rounded-sm font-semibold hover:text-accent aria-pressed:text-accent-strong"
            >
              Quote {quote.rank}
            </button>
            <Labels quote={quote} />
          </div>
          {quote.outcome && (
            <Lying label="Cost to finish, USD" range={costOf(quote.outcome)} scale={scales.cost} format={usd} />
          )}
          {quote.outcome && (
            <Lying label="Finish" range={quote.outcome.finish_s} scale={scales.finish} format={duration} />
          )}
          <dl className={PAIRS}>
            <Facts quote={quote} facts={FACTS.filter((fact) => fact.first)} askedAt={askedAt} />
            <dt className="text-xs leading-5 text-soft">Price</dt>
            <dd className="text-right tabular-nums">{price(quote.usd_per_hour)}/h</dd>
          </dl>
          <Sites sites={quote.sites} numbers={numbers} />
          {quote.outcome && (
            <details>
              <summary className="min-h-6 text-xs text-soft">Losses, energy, egress</summary>
              <dl className={PAIRS}>
                <Facts quote={quote} facts={FACTS.filter((fact) => !fact.first)} askedAt={askedAt} />
              </dl>
            </details>
          )}
          <div className="mt-auto">
            <OrderButton quote={quote} chosen={quote.rank === chosen} orders={orders} />
          </div>
        </li>
      ))}
    </ol>
  );
}

function Facts({
  quote: { outcome },
  facts,
  askedAt,
}: {
  quote: Quote;
  facts: readonly Fact[];
  askedAt: number;
}): ReactNode {
  if (!outcome) return null;
  return facts
    .filter((fact) => fact.has?.(outcome) ?? true)
    .map((fact) => (
      <div key={fact.label} className="contents">
        <dt className="text-xs leading-5 text-soft">{fact.label}</dt>
        <dd className="text-right tabular-nums">{fact.show(outcome, askedAt)}</dd>
      </div>
    ));
}

/** Quotes one below the other, where there is no room for columns; their bars still share a scale. */

import type { ReactNode } from "react";
import { duration, price, usd } from "@/design/format";
import { costOf, FACTS, Labels, scalesOf, Sites } from "./facts";
import { OrderButton } from "./OrderButton";
import type { QuotesProps } from "./QuoteTable";
import { Lying } from "./RangeBar";

export function QuoteCards({ quotes, numbers, chosen, onChoose, orders, askedAt }: QuotesProps): ReactNode {
  const scales = scalesOf(quotes);
  return (
    <ol className="grid gap-3 p-4 [grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))]">
      {quotes.map((quote) => (
        <li key={quote.id} className={`flex flex-col gap-3 rounded-md border p-3 text-sm ${quote.rank === chosen ? "border-accent" : "border-line"}`}>
          <div className="flex flex-wrap items-center justify-between gap-2">
            <button
              type="button" aria-pressed={quote.rank === chosen} onClick={() => onChoose(quote.rank)}
              className="min-h-6 rounded-sm font-semibold hover:text-accent aria-pressed:text-accent-strong"
            >
              Quote {quote.rank}
            </button>
            <Labels quote={quote} />
          </div>
          {quote.outcome && <Lying label="Cost to finish, USD" range={costOf(quote.outcome)} scale={scales.cost} format={usd} />}
          {quote.outcome && <Lying label="Finish" range={quote.outcome.finish_s} scale={scales.finish} format={duration} />}
          <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-0.5">
            {quote.outcome && FACTS.map((fact) => quote.outcome && (fact.has?.(quote.outcome) ?? true) && (
              <div key={fact.label} className="contents">
                <dt className="text-xs leading-5 text-soft">{fact.label}</dt>
                <dd className="text-right tabular-nums">{fact.show(quote.outcome, askedAt)}</dd>
              </div>
            ))}
            <dt className="text-xs leading-5 text-soft">Price</dt>
            <dd className="text-right tabular-nums">{price(quote.usd_per_hour)}/h</dd>
          </dl>
          <Sites sites={quote.sites} numbers={numbers} />
          <div className="mt-auto"><OrderButton quote={quote} chosen={quote.rank === chosen} orders={orders} /></div>
        </li>
      ))}
    </ol>
  );
}

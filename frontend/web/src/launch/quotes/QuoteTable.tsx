/** Quotes side by side, a column each. */

import type { ReactNode } from "react";
import { duration, price, usd } from "@/design/format";
import type { Quote } from "../shapes";
import { costOf, FACTS, Labels, scalesOf, Sites } from "./facts";
import { OrderButton, type Orders } from "./OrderButton";
import { Upright } from "./RangeBar";

export const HEAD_PX = 108;
export const COLUMN_PX = 124;
const COLUMN_MOST_PX = 210;
const HEAD_ROOMY_PX = 156;
/** Wider a table of so many is never. */
export const mostPx = (quotes: number) => HEAD_ROOMY_PX + COLUMN_MOST_PX * quotes;

export interface QuotesProps {
  quotes: readonly Quote[];
  numbers: ReadonlyMap<string, number>;
  chosen: number;
  onChoose: (rank: number) => void;
  orders: Orders;
  askedAt: number;
}

export function QuoteTable({
  quotes,
  numbers,
  chosen,
  onChoose,
  orders,
  askedAt,
  width,
}: QuotesProps & { width: number }): ReactNode {
  const head = width >= HEAD_ROOMY_PX + COLUMN_PX * quotes.length ? HEAD_ROOMY_PX : HEAD_PX;
  const scales = scalesOf(quotes);
  const known = quotes.some((one) => one.outcome);
  const facts = FACTS.filter((fact) => quotes.some((one) => one.outcome && (fact.has?.(one.outcome) ?? true)));
  const cell = (quote: Quote) => `px-2.5 py-1.5 align-top ${quote.rank === chosen ? "bg-accent-wash/45" : ""}`;
  const row = (label: string, about: string | undefined, show: (quote: Quote) => ReactNode) => (
    <tr key={label} className="border-t border-line">
      <th scope="row" className="py-1.5 pr-2 pl-4 text-left align-top text-xs font-medium text-soft">
        {label}
        {about && <span className="block font-normal">{about}</span>}
      </th>
      {quotes.map((quote) => (
        <td key={quote.id} className={cell(quote)}>
          {show(quote)}
        </td>
      ))}
    </tr>
  );
  return (
    <table className="w-full table-fixed text-sm" style={{ maxWidth: head + COLUMN_MOST_PX * quotes.length }}>
      <caption className="sr-only">Quotes side by side</caption>
      <colgroup>
        <col style={{ width: head }} />
        {quotes.map((quote) => (
          <col key={quote.id} />
        ))}
      </colgroup>
      <thead>
        <tr>
          <td className="pl-4 text-xs text-soft" />
          {quotes.map((quote) => (
            <th key={quote.id} scope="col" className={`${cell(quote)} text-left font-normal`}>
              <button
                type="button"
                aria-pressed={quote.rank === chosen}
                onClick={() => onChoose(quote.rank)}
                className="mb-1 flex min-h-6 w-full items-center gap-1 rounded-sm text-left font-semibold hover:text-accent aria-pressed:text-accent-strong"
              >
                Quote {quote.rank}
              </button>
              <Labels quote={quote} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        <tr>
          <td />
          {quotes.map((quote) => (
            <td key={quote.id} className={cell(quote)}>
              <OrderButton quote={quote} chosen={quote.rank === chosen} orders={orders} />
            </td>
          ))}
        </tr>
        {known &&
          row(
            "Cost to finish",
            "USD: p90, p50, p10",
            ({ outcome }) => outcome && <Upright range={costOf(outcome)} scale={scales.cost} format={usd} />,
          )}
        {known &&
          row(
            "Finish",
            "p90, p50, p10",
            ({ outcome }) => outcome && <Upright range={outcome.finish_s} scale={scales.finish} format={duration} />,
          )}
        {facts.map((fact) =>
          row(
            fact.label,
            fact.about,
            ({ outcome }) => outcome && <span className="tabular-nums">{fact.show(outcome, askedAt)}</span>,
          ),
        )}
        {row("Price", "of an hour", (quote) => (
          <span className="tabular-nums">{price(quote.usd_per_hour)}/h</span>
        ))}
        {row("Sites", undefined, (quote) => (
          <Sites sites={quote.sites} numbers={numbers} />
        ))}
      </tbody>
    </table>
  );
}

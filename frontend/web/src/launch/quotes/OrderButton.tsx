/** One click to order; while it works it says at what, and an upload can be called off. */

import type { ReactNode } from "react";
import { Button } from "@/design/Button";
import { percent, usd } from "@/design/format";
import type { Quote } from "../shapes";
import type { Working } from "./useOrder";

export interface Orders {
  working: Working | null;
  /** Why nothing can be ordered now. */
  blocked: string | null;
  onOrder: (quote: Quote) => void;
  onCancel: () => void;
  holdOf: (quote: Quote) => number | null;
}

const PHASES = { packing: "Packing", uploading: "Uploading", ordering: "Ordering", asking: "Asking anew" } as const;

export function OrderButton({ quote, chosen, orders }: { quote: Quote; chosen: boolean; orders: Orders }): ReactNode {
  const { working, blocked, onOrder, onCancel } = orders;
  const mine = working?.quote === quote.id ? working : null;
  const hold = orders.holdOf(quote);
  return (
    <div>
      <Button
        kind={chosen ? "primary" : "plain"}
        size="sm"
        className="w-full"
        busy={!!mine}
        disabled={!!working || !!blocked || hold === null}
        aria-describedby={blocked ? "launch-blocked" : undefined}
        onClick={() => onOrder(quote)}
      >
        {mine ? (
          `${PHASES[mine.phase]}${mine.phase === "uploading" ? ` ${percent(mine.share)}` : ""}`
        ) : (
          <>
            Order <span className="sr-only">quote {quote.rank}</span>
          </>
        )}
      </Button>
      {mine?.phase === "uploading" ? (
        <Button kind="quiet" size="sm" className="w-full" onClick={onCancel}>
          Call it off
        </Button>
      ) : (
        <p className="mt-1 text-xs text-soft">{hold === null ? "Needs a budget" : `Sets ${usd(hold)} aside`}</p>
      )}
    </div>
  );
}

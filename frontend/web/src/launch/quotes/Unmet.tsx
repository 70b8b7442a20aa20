/** No quote: what stands in the way, and what would help, at a press. */

import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Problem } from "@/api/client";
import { Button } from "@/design/Button";
import { count, duration, usd } from "@/design/format";
import { Icon } from "@/design/icons";
import { relaxed } from "../relax";
import { numberOf, type Form } from "../form";
import type { Refusal } from "../shapes";

interface UnmetProps {
  problem: Problem;
  form: Form;
  onChange: (form: Form) => void;
}

export function Unmet({ problem, form, onChange }: UnmetProps): ReactNode {
  const { excluded = [], relaxations = [], offers_considered: considered = 0 } = problem.fields as Refusal;
  const apply = applying(onChange);
  return (
    <div role="alert" className="space-y-4 p-4">
      <div className="flex gap-2">
        <Icon name="warn" className="mt-0.5 text-warn" />
        <div>
          <p className="font-medium">{considered ? "No offer meets this need" : "No offer is open"}</p>
          <p className="text-sm text-soft">
            {considered ? (
              `${count(considered)} were looked at.`
            ) : (
              <>
                Nothing was read yet, or all prices are stale.{" "}
                <Link to="/offers" className="underline">
                  See the offers and where they come from
                </Link>
              </>
            )}
          </p>
        </div>
      </div>
      {relaxations.length > 0 && (
        <div>
          <h3 className="label-caps mb-1.5">What would help</h3>
          <ul className="space-y-1.5">
            {relaxations.map((one) => (
              <li
                key={one.field}
                className="flex flex-wrap items-center justify-between gap-2 rounded-md border border-line px-3 py-1.5 text-sm"
              >
                <span>
                  {one.change.charAt(0).toUpperCase() + one.change.slice(1)} it would cost{" "}
                  <strong className="font-semibold">{usd(one.usd)}</strong>
                  {one.finish_s === null ? " an hour" : <> and take {duration(one.finish_s)}</>}
                </span>
                <Button size="sm" aria-label={`Apply: ${one.change}`} onClick={() => apply(relaxed(form, one))}>
                  Apply
                </Button>
              </li>
            ))}
          </ul>
        </div>
      )}
      {excluded.length > 0 && (
        <div>
          <h3 className="label-caps mb-1.5">What excludes how many offers</h3>
          <ul className="space-y-1 text-sm">
            {excluded.map((one) => (
              <li key={one.constraint} className="grid grid-cols-[1fr_6rem_4rem] items-center gap-3">
                <span className="min-w-0">{one.constraint.replaceAll("_", " ")}</span>
                <span aria-hidden="true" className="h-2 rounded-sm bg-calm-wash">
                  <span
                    className="block h-full rounded-sm bg-soft"
                    style={{ width: `${Math.min(100, (100 * one.offers) / Math.max(1, considered))}%` }}
                  />
                </span>
                <span className="num">{count(one.offers)}</span>
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

/** The button goes away with what it mended: the focus goes on to what comes in its place. */
function applying(onChange: (form: Form) => void): (form: Form) => void {
  return (form) => {
    onChange(form);
    document.getElementById("launch-quotes")?.focus({ preventScroll: true });
  };
}

export function TooDear({ problem, form, onChange }: UnmetProps): ReactNode {
  const cheapest = Number((problem.fields as Refusal).cheapest_usd);
  const budget = (Math.ceil(cheapest * 100) / 100).toFixed(2);
  return (
    <div role="alert" className="flex flex-wrap items-center gap-3 p-4">
      <Icon name="warn" className="text-warn" />
      <p className="min-w-0 grow basis-60 text-sm">
        <span className="block font-medium">The budget is too small</span>
        <span className="text-soft">
          The cheapest way to finish is expected to cost {usd(cheapest)}; the budget is{" "}
          {usd(numberOf(form.budget.replace(/^\$/, "")))}.
        </span>
      </p>
      {Number.isFinite(cheapest) && (
        <Button onClick={() => applying(onChange)({ ...form, budget })}>Raise the budget to ${budget}</Button>
      )}
    </div>
  );
}

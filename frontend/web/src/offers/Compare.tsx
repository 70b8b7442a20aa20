/** The picked offers side by side, with what a run of yours would take and cost to finish on each. */

import { useQueries } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, data, Problem } from "@/api/client";
import { Button, buttonClass, IconButton } from "@/design/Button";
import { Input } from "@/design/Field";
import { count, decimal, duration, kilograms, NOTHING, percent, price, usd, words } from "@/design/format";
import { Drawer } from "@/design/Panel";
import type { Offer } from "./live";
import { estimated, keepRun, readRun, type Run } from "./run";

interface Props {
  open: boolean;
  offers: readonly Offer[];
  onOpenChange: (open: boolean) => void;
  onDrop: (id: number) => void;
}

/** What a run would come to on one offer: as quoted, or worked out where nothing can be quoted. */
interface Finish {
  finish_s: number | null;
  cost_usd: string | number | null;
  p90_usd: string | null;
  p90_s: number | null;
  losses: number | null;
  carbon_kg: number | null;
  note: string;
}

export function Compare({ open, offers, onOpenChange, onDrop }: Props): ReactNode {
  const [run, setRun] = useState<Run>(readRun);
  const change = (part: Partial<Run>) => {
    const now = { ...run, ...part };
    setRun(now);
    keepRun(now);
  };
  const finishes = useQueries({
    queries: offers.map((offer) => ({
      queryKey: ["finish", offer.id, offer.usd_per_hour, run],
      queryFn: () => finish(offer, run),
      enabled: open && run.samples > 0,
      staleTime: 60_000,
      retry: false,
    })),
  });
  const costs = finishes.map((one) => (one.data?.cost_usd == null ? Infinity : Number(one.data.cost_usd)));
  const cheapest = costs.indexOf(Math.min(...costs));
  const times = finishes.map((one) => one.data?.finish_s ?? Infinity);
  const fastest = times.indexOf(Math.min(...times));
  return (
    <Drawer
      open={open}
      onOpenChange={onOpenChange}
      wide
      title="Compare offers"
      about="What your run would take and cost to finish on each, alone. Several together are quoted on the launch page."
    >
      <form className="mb-4 grid max-w-xl gap-3 sm:grid-cols-2" onSubmit={(event) => event.preventDefault()}>
        <Input
          label="Samples to train on, in all"
          inputMode="numeric"
          value={run.samples || ""}
          onChange={(event) => change({ samples: whole(event.target.value) })}
          hint="Your dataset times the epochs."
          placeholder="200000"
        />
        <Input
          label="Samples a second on one such GPU"
          inputMode="decimal"
          value={run.speed || ""}
          onChange={(event) => change({ speed: positive(event.target.value) })}
          hint="As you measured; left empty: prices an hour alone."
          placeholder="350"
        />
      </form>
      <div className={offers.length > 0 ? "overflow-x-auto" : "hidden"}>
        <table className="text-sm tabular-nums">
          <thead>
            <tr>
              <td className="sticky left-0 min-w-26 bg-raised sm:min-w-36" />
              {offers.map((offer) => (
                <th key={offer.id} scope="col" className="min-w-36 px-3 sm:min-w-44 pb-2 text-left align-top">
                  <div className="flex items-start justify-between gap-1">
                    <span>
                      {offer.accelerators} × {offer.accelerator}
                    </span>
                    <IconButton
                      label={`Drop ${offer.accelerator} at ${offer.provider}`}
                      icon="close"
                      onClick={() => onDrop(offer.id)}
                    />
                  </div>
                  <span className="block text-xs font-normal text-soft">
                    {offer.provider} {offer.region}
                  </span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Line
              name="Cost to finish"
              values={finishes.map((one, index) => (
                <Best
                  key={index}
                  best={index === cheapest && costs.length > 1 && costs[index] !== Infinity}
                  word="cheapest"
                >
                  {one.isFetching ? "…" : usd(one.data?.cost_usd)}
                </Best>
              ))}
              strong
            />
            <Line name="9 times of 10, at most" values={finishes.map((one) => usd(one.data?.p90_usd))} />
            <Line
              name="Time to finish"
              values={finishes.map((one, index) => (
                <Best
                  key={index}
                  best={index === fastest && times.length > 1 && times[index] !== Infinity}
                  word="fastest"
                >
                  {one.isFetching ? "…" : duration(one.data?.finish_s)}
                </Best>
              ))}
              strong
            />
            <Line name="9 times of 10, at most" values={finishes.map((one) => duration(one.data?.p90_s))} />
            <Line name="Machines lost on the way" values={finishes.map((one) => decimal(one.data?.losses))} />
            <Line name="CO₂e" values={finishes.map((one) => kilograms(one.data?.carbon_kg))} />
            <Line
              name="How we know"
              values={finishes.map((one) =>
                one.isError ? one.error.message : (one.data?.note ?? (run.samples ? "" : "state the samples above")),
              )}
            />
            <Line name="Each GPU, an hour" values={offers.map((one) => price(one.usd_per_gpu_hour))} />
            <Line name="Machine, an hour" values={offers.map((one) => price(one.usd_per_hour))} />
            <Line name="Market" values={offers.map((one) => words(one.market))} />
            <Line
              name="GPU memory"
              values={offers.map((one) => (one.memory_gib === null ? NOTHING : `${one.memory_gib} GiB`))}
            />
            <Line name="Egress, per GiB" values={offers.map((one) => usd(one.egress_usd_per_gib))} />
            <Line name="Reliability" values={offers.map((one) => percent(one.reliability, 1))} />
            <Line
              name="Carbon"
              values={offers.map((one) =>
                one.gco2_per_kwh === null ? NOTHING : `${count(Math.round(one.gco2_per_kwh))} g/kWh`,
              )}
            />
            <tr>
              <td />
              {offers.map((offer) => (
                <td key={offer.id} className="px-3 pt-3">
                  {offer.leasable ? (
                    <Link
                      to="/launch"
                      search={{ offers: String(offer.id) }}
                      className={`${buttonClass("plain", "sm")} no-underline`}
                    >
                      Train with this
                    </Link>
                  ) : (
                    <span className="text-xs text-soft">Price only</span>
                  )}
                </td>
              ))}
            </tr>
          </tbody>
        </table>
      </div>
      {offers.filter((one) => one.leasable).length > 1 && (
        <div className="mt-5">
          <Link
            to="/launch"
            search={{
              offers: offers
                .filter((one) => one.leasable)
                .map((one) => one.id)
                .join(","),
            }}
            className={`${buttonClass("primary")} no-underline`}
          >
            Train with these together
          </Link>
        </div>
      )}
      {offers.length === 0 && (
        <p className="text-sm text-soft">
          There is nothing to compare.{" "}
          <Button kind="quiet" size="sm" onClick={() => onOpenChange(false)}>
            Back to the table
          </Button>
        </p>
      )}
    </Drawer>
  );
}

async function finish(offer: Offer, run: Run): Promise<Finish> {
  const guess = estimated(offer, run);
  const nothing = { p90_usd: null, p90_s: null, losses: null, carbon_kg: null };
  if (!offer.leasable || run.speed === 0)
    return {
      ...guess,
      ...nothing,
      note: run.speed === 0 ? "state a speed above" : "worked out: it cannot be rented here",
    };
  try {
    const need = {
      offers: [offer.id],
      sites: 1,
      accelerators_per_site: offer.accelerators,
      samples: run.samples,
      samples_per_s: run.speed,
    };
    const quote = (await data(api.POST("/v1/quotes", { body: need }))).quotes[0];
    if (!quote) return { ...guess, ...nothing, note: "worked out" };
    const { outcome } = quote;
    return {
      finish_s: outcome?.finish_s.p50 ?? quote.finish_s,
      cost_usd: outcome?.cost_usd.p50 ?? quote.cost_usd,
      p90_usd: outcome?.cost_usd.p90 ?? null,
      p90_s: outcome?.finish_s.p90 ?? null,
      losses: outcome?.losses ?? null,
      carbon_kg: outcome?.carbon_kg ?? null,
      note: "quoted now",
    };
  } catch (error) {
    if (error instanceof Problem && error.status === 422)
      return { ...guess, ...nothing, note: `worked out; ${error.message}` };
    throw error;
  }
}

function Line({ name, values, strong }: { name: string; values: readonly ReactNode[]; strong?: boolean }): ReactNode {
  return (
    <tr className="border-t border-line/60">
      <th scope="row" className="sticky left-0 bg-raised py-1.5 pr-3 text-left text-xs font-normal text-soft">
        {name}
      </th>
      {values.map((value, index) => (
        <td key={index} className={`max-w-64 px-3 py-1.5 ${strong ? "font-semibold" : ""}`}>
          {value}
        </td>
      ))}
    </tr>
  );
}

function Best({ best, word, children }: { best: boolean; word: string; children: ReactNode }): ReactNode {
  return (
    <>
      {children}
      {best && <span className="ml-2 rounded-full bg-good-wash px-1.5 text-xs font-medium text-good">{word}</span>}
    </>
  );
}

function whole(text: string): number {
  const found = Number(text.replaceAll(/[\s,]/g, ""));
  return Number.isSafeInteger(found) && found > 0 ? found : 0;
}

function positive(text: string): number {
  const found = Number(text);
  return Number.isFinite(found) && found > 0 ? found : 0;
}

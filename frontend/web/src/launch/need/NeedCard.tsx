/** The need: GPUs, work, deadline, budget, places. The usual fields in sight, the others under More. */

import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import type { Schemas } from "@/api/client";
import { Button, IconButton } from "@/design/Button";
import { Input, Select } from "@/design/Field";
import { count, decimal, plural, price } from "@/design/format";
import { Icon } from "@/design/icons";
import { Card } from "@/design/Layout";
import { Tokens, type Known } from "@/design/Tokens";
import { facets } from "../broker";
import { EMPTY, isSet, MORE, needOf, numberOf, refused, type Form } from "../form";
import type { Quote, Speed } from "../shapes";
import { DeadlineField } from "./DeadlineField";
import { MoreFields } from "./MoreFields";

export interface NeedProps {
  form: Form;
  onChange: (form: Form) => void;
  quotes: readonly Quote[];
  /** Why the broker refused the need, if it did. */
  error: unknown;
}

export const capitals = (word: string) => word.toUpperCase();
const RESIDENCIES = [
  ["", "Anywhere"],
  ["EU", "EU"],
  ["EEA", "EEA"],
  ["GDPR", "GDPR: adequate protection"],
] as const;

export function NeedCard({ form, onChange, quotes, error }: NeedProps): ReactNode {
  const [open, setOpen] = useState(false);
  const known = useKnown();
  // Whether a moment is over is told by its field, which looks at the clock.
  const wrong = { ...refused(error), ...needOf(form, 0).wrong };
  const set = (changed: Partial<Form>) => onChange({ ...form, ...changed });
  const more = MORE.filter((name) => isSet(form, name)).length;
  const wrongBelow = MORE.some((name) => wrong[name]);
  return (
    <Card
      title="Need"
      aside={
        Object.keys(EMPTY).some((name) => isSet(form, name as keyof Form)) && (
          <Button kind="quiet" size="sm" onClick={() => onChange(EMPTY)}>
            Clear
          </Button>
        )
      }
    >
      <div className="grid gap-x-3 gap-y-4 p-4 sm:max-lg:grid-cols-2">
        {form.offers.length > 0 && <Picked form={form} quotes={quotes} set={set} />}
        <Tokens
          label="GPUs"
          values={form.gpu}
          known={withCpu(known("gpu"))}
          placeholder="any"
          hint="H100 is every variant of it; several will do as well."
          onChange={(gpu) => set({ gpu: gpu.some((one) => one.toLowerCase() === "any") ? [] : gpu })}
        />
        <div className="grid grid-cols-[6.5rem_1fr] gap-2">
          <Input
            label="How many"
            value={form.count}
            inputMode="numeric"
            autoComplete="off"
            error={wrong.count}
            onChange={(event) => set({ count: event.target.value })}
          />
          <Select
            label="Counted"
            value={form.per}
            onChange={(event) => set({ per: event.target.value as Form["per"] })}
            options={[
              ["site", "at each site"],
              ["all", "in all"],
            ]}
          />
        </div>
        <div className={form.sites === "compare" ? "" : "grid grid-cols-[1fr_5rem] gap-2"}>
          <Select
            label="Sites"
            value={form.sites}
            onChange={(event) => set({ sites: event.target.value as Form["sites"] })}
            options={[
              ["compare", "Compare one and several"],
              ["exactly", "Exactly"],
              ["most", "At most"],
            ]}
          />
          {form.sites !== "compare" && (
            <Input
              label="Number"
              value={form.siteCount}
              inputMode="numeric"
              autoComplete="off"
              error={wrong.siteCount}
              onChange={(event) => set({ siteCount: event.target.value })}
            />
          )}
        </div>
        <Input
          label="Samples to train on"
          value={form.samples}
          inputMode="numeric"
          autoComplete="off"
          placeholder="not known"
          error={wrong.samples}
          hint={said(form.samples) ?? "In all epochs together: 200,000 or 1.5M."}
          onChange={(event) => set({ samples: event.target.value })}
        />
        <Input
          label="Speed of one GPU"
          value={form.speed}
          unit="samples/s"
          inputMode="decimal"
          autoComplete="off"
          placeholder="as measured"
          error={wrong.speed}
          className="pr-20!"
          hint={speedTold(form, quotes[0]?.speed)}
          onChange={(event) => set({ speed: event.target.value })}
        />
        <DeadlineField form={form} wrong={wrong} set={set} />
        <Input
          label="Budget"
          value={form.budget}
          unit="USD"
          inputMode="decimal"
          autoComplete="off"
          placeholder="none"
          error={wrong.budget}
          id="launch-budget"
          hint="The run is stopped before it costs more."
          onChange={(event) => set({ budget: event.target.value })}
        />
        <Tokens
          label="Countries allowed"
          values={form.countries}
          known={known("country")}
          placeholder="all"
          write={capitals}
          onChange={(countries) => set({ countries })}
        />
        <Tokens
          label="Countries excluded"
          values={form.notCountries}
          known={known("country")}
          placeholder="none"
          write={capitals}
          onChange={(notCountries) => set({ notCountries })}
        />
        <Select
          label="Data must stay in"
          value={form.residency}
          onChange={(event) => set({ residency: event.target.value })}
          options={RESIDENCIES}
        />
      </div>
      <div className="border-t border-line">
        <button
          type="button"
          aria-expanded={open}
          aria-controls="launch-more"
          onClick={() => setOpen(!open)}
          className="flex min-h-10 w-full items-center gap-2 px-4 text-left text-sm font-medium hover:bg-hover"
        >
          <Icon name={open ? "open" : "right"} /> More
          {more > 0 && (
            <span className="rounded-full bg-accent-wash px-1.5 text-xs text-accent-strong">{more} set</span>
          )}
          {wrongBelow && !open && (
            <span className="flex items-center gap-1 text-xs text-bad">
              <Icon name="wrong" size={12} /> look here
            </span>
          )}
        </button>
        <div id="launch-more" hidden={!open}>
          {open && <MoreFields form={form} wrong={wrong} set={set} known={known} />}
        </div>
      </div>
    </Card>
  );
}

const withCpu = (known: Known[]) => (known.some((one) => one.value === "CPU") ? known : [{ value: "CPU" }, ...known]);

export type KnownOf = (facet: keyof Schemas["Facets"]) => Known[];

function useKnown(): KnownOf {
  // Only suggestions: without them everything can be typed.
  const found = useQuery({ queryKey: ["facets"], queryFn: facets, staleTime: 60_000, retry: false });
  return (facet) =>
    (found.data?.[facet] ?? [])
      .filter((one) => one.value)
      .map((one) => ({ value: one.value, about: plural(one.offers, "offer") }));
}

/** A number that was typed in short, written out. */
function said(text: string): string | null {
  const value = numberOf(text);
  return /[kmge]/i.test(text) && Number.isFinite(value) ? `${count(value)} samples` : null;
}

const SOURCES: Partial<Record<Speed["source"], string>> = {
  measured: "Measured in an earlier run of this program",
  probed: "From a probe of this program",
  predicted: "Predicted from a probe of this program",
};

function speedTold(form: Form, speed: Speed | undefined): string {
  if (form.speed) return "As you say, for each GPU.";
  const source = speed && SOURCES[speed.source];
  const [chip, rate] = Object.entries(speed?.per_accelerator ?? {}).find(([, each]) => each !== null) ?? [];
  if (source) return `${source}${chip && rate ? `: ${decimal(rate)} samples/s on ${chip}` : ""}.`;
  return "Not known yet: without it quotes compare prices per hour.";
}

function Picked({
  form,
  quotes,
  set,
}: {
  form: Form;
  quotes: readonly Quote[];
  set: (changed: Partial<Form>) => void;
}): ReactNode {
  const sites = new Map(quotes.flatMap((quote) => quote.sites).map((site) => [site.offer, site]));
  return (
    <div className="sm:max-lg:col-span-2">
      <div className="mb-1 text-sm font-medium">Only these offers</div>
      <ul className="flex flex-wrap gap-1.5">
        {form.offers.map((id) => {
          const site = sites.get(id);
          return (
            <li key={id} className="flex min-h-7 items-center rounded-md bg-calm-wash pl-2 text-xs">
              <span>
                Offer {id}
                {site && (
                  <span className="text-soft">
                    : {site.site}, {price(Number(site.usd_per_hour) / site.nodes)}/h
                  </span>
                )}
              </span>
              <IconButton
                label={`Remove offer ${id}`}
                icon="close"
                className="size-6!"
                onClick={() => set({ offers: form.offers.filter((one) => one !== id) })}
              />
            </li>
          );
        })}
        {form.offers.length > 1 && (
          <li>
            <Button kind="quiet" size="sm" onClick={() => set({ offers: [] })}>
              All offers
            </Button>
          </li>
        )}
      </ul>
    </div>
  );
}

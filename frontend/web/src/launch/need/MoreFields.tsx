/** The rest of what a need can say. */

import type { ReactNode } from "react";
import { Check, Input, Select } from "@/design/Field";
import { Tokens } from "@/design/Tokens";
import type { Form, Wrong } from "../form";
import type { KnownOf } from "./NeedCard";

interface MoreProps {
  form: Form;
  wrong: Wrong;
  set: (changed: Partial<Form>) => void;
  known: KnownOf;
}

const MARKETS = [
  ["on_demand", "On demand"],
  ["spot", "Spot"],
  ["reserved", "Reserved"],
] as const;
const TIERS = [
  ["own", "Own"],
  ["secure", "Secure"],
  ["community", "Community"],
] as const;

export function MoreFields({ form, wrong, set, known }: MoreProps): ReactNode {
  return (
    <div className="space-y-5 px-4 pt-1 pb-4">
      <Group title="Machines">
        <Text name="least" label="At each site, at least" unit="GPUs" {...{ form, wrong, set }} />
        <Text name="memory" label="GPU memory, at least" unit="GiB" {...{ form, wrong, set }} />
        <Select
          label="Between machines"
          value={form.interconnect}
          onChange={(event) => set({ interconnect: event.target.value })}
          options={[
            ["", "Anything"],
            ["nvlink", "NVLink"],
            ["infiniband", "InfiniBand"],
            ["efa", "EFA"],
          ]}
        />
        <Text name="data" label="Data each site reads" unit="GiB" {...{ form, wrong, set }} />
        <Text
          name="checkpoint"
          label="Checkpoint"
          unit="GiB"
          hint="What leaves a site when it hands in its state."
          {...{ form, wrong, set }}
        />
      </Group>
      <Group title="Limits">
        <Text
          name="chance"
          label="Chance of the deadline"
          unit="%"
          placeholder="90"
          hint={form.deadlineAt || form.deadlineHours ? undefined : "Counts once there is a deadline."}
          {...{ form, wrong, set }}
        />
        <Text name="perHour" label="An hour, at most" unit="USD" {...{ form, wrong, set }} />
        <Text name="egress" label="Egress, at most" unit="USD" {...{ form, wrong, set }} />
        <Text name="spotShare" label="Spot GPUs, at most" unit="%" placeholder="100" {...{ form, wrong, set }} />
      </Group>
      <Group title="Places">
        <Tokens
          label="Providers allowed"
          values={form.providers}
          known={known("provider")}
          placeholder="all"
          onChange={(providers) => set({ providers })}
        />
        <Tokens
          label="Providers excluded"
          values={form.notProviders}
          known={known("provider")}
          placeholder="none"
          onChange={(notProviders) => set({ notProviders })}
        />
        <Tokens
          label="Regions allowed"
          values={form.regions}
          known={known("region")}
          placeholder="all"
          onChange={(regions) => set({ regions })}
        />
        <Tokens
          label="Regions excluded"
          values={form.notRegions}
          known={known("region")}
          placeholder="none"
          onChange={(notRegions) => set({ notRegions })}
        />
        <Select
          label="Sites must differ in"
          value={form.spread}
          onChange={(event) => set({ spread: event.target.value })}
          options={[
            ["", "Nothing more"],
            ["provider", "Provider"],
            ["region", "Region"],
            ["country", "Country"],
          ]}
        />
      </Group>
      <Group title="Terms">
        <Several legend="Markets" all={MARKETS} values={form.markets} onChange={(markets) => set({ markets })} />
        <Several
          legend="Owners"
          all={TIERS}
          values={form.tiers}
          onChange={(tiers) => set({ tiers })}
          error={wrong.tiers}
        />
        <div className="flex flex-col">
          <Check
            label="Own machines first"
            checked={form.preferOwn}
            onChange={(event) => set({ preferOwn: event.target.checked })}
          />
          <Check
            label="May wait for machines that are busy"
            checked={form.queue}
            onChange={(event) => set({ queue: event.target.checked })}
          />
        </div>
      </Group>
    </div>
  );
}

function Group({ title, children }: { title: string; children: ReactNode }): ReactNode {
  return (
    <fieldset>
      <legend className="label-caps mb-2">{title}</legend>
      <div className="grid gap-x-3 gap-y-3 sm:grid-cols-2 xl:grid-cols-1 2xl:grid-cols-2">{children}</div>
    </fieldset>
  );
}

interface TextProps extends Omit<MoreProps, "known"> {
  name: "least" | "memory" | "data" | "checkpoint" | "chance" | "perHour" | "egress" | "spotShare";
  label: string;
  unit: string;
  hint?: string;
  placeholder?: string;
}

function Text({ name, form, wrong, set, ...rest }: TextProps): ReactNode {
  return (
    <Input
      {...rest}
      value={form[name]}
      inputMode="decimal"
      autoComplete="off"
      error={wrong[name]}
      onChange={(event) => set({ [name]: event.target.value })}
    />
  );
}

interface SeveralProps {
  legend: string;
  all: readonly (readonly [string, string])[];
  values: readonly string[];
  onChange: (values: string[]) => void;
  error?: string;
}

/** None chosen means all of them. */
function Several({ legend, all, values, onChange, error }: SeveralProps): ReactNode {
  return (
    <fieldset>
      <legend className="mb-1 text-sm font-medium">
        {legend} <span className="font-normal text-soft">{values.length ? "" : "(any)"}</span>
      </legend>
      <div className="flex flex-wrap gap-x-4">
        {all.map(([value, label]) => (
          <Check
            key={value}
            label={label}
            checked={values.includes(value)}
            onChange={(event) =>
              onChange(event.target.checked ? [...values, value] : values.filter((one) => one !== value))
            }
          />
        ))}
      </div>
      {error && <p className="text-sm text-bad">{error}</p>}
    </fieldset>
  );
}

/** The filters: the usual ones in sight, all others a press away, those that are on as chips. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState, type FormEvent, type ReactNode } from "react";
import { api, data } from "@/api/client";
import { Button, IconButton } from "@/design/Button";
import { Input, Select } from "@/design/Field";
import { count } from "@/design/format";
import { Icon } from "@/design/icons";
import { Drawer } from "@/design/Panel";
import { BY_NAME, FILTERS, type Filter } from "./filters";
import { filtersOf, changed, type OfferSearch } from "./search";

const IN_SIGHT = ["gpu", "provider", "market", "max_usd_per_gpu_hour", "leasable"] as const;
const ALWAYS_SEEN = ["q", ...IN_SIGHT] as const;
const SETTLES_MS = 250;
const HEADINGS = ["GPU", "Price", "Terms", "Place", "Trust", "Machine", "Network", "Freshness"] as const;

interface FilterProps {
  search: OfferSearch;
  onChange: (search: OfferSearch) => void;
}

export function Filters({ search, onChange }: FilterProps): ReactNode {
  const [open, setOpen] = useState(false);
  const set = (name: string, value: string) => onChange(changed(search, name, value));
  const on = Object.keys(filtersOf(search)).filter(
    (name) => name !== "q" && !(IN_SIGHT as readonly string[]).includes(name),
  );
  return (
    <search className="mb-3 space-y-2">
      <div className="flex flex-wrap items-end gap-2">
        <div className="relative min-w-48 grow basis-56">
          <Icon name="search" className="pointer-events-none absolute top-2.5 left-2.5 z-10 text-soft" />
          <Typed
            filter={BY_NAME.get("q") as Filter}
            value={search.q ?? ""}
            onChange={(value) => set("q", value)}
            hidden
            className="pl-8"
            placeholder="Search GPU, provider, region, machine"
          />
        </div>
        {IN_SIGHT.map((name) => {
          const filter = BY_NAME.get(name) as Filter;
          return (
            <div key={name} className="w-36 max-sm:hidden">
              <OneFilter filter={filter} value={search[name] ?? ""} onChange={(value) => set(name, value)} hidden />
            </div>
          );
        })}
        <Button icon="filter" onClick={() => setOpen(true)} aria-haspopup="dialog">
          All filters
          {on.length > 0 && (
            <span className="rounded-full bg-accent-wash px-1.5 text-xs text-accent-strong">{on.length}</span>
          )}
        </Button>
      </div>
      {Object.keys(filtersOf(search)).length > 0 && <Chips search={search} onChange={onChange} />}
      <Drawer
        open={open}
        onOpenChange={setOpen}
        title="All filters"
        about="What you fill in applies at once; the address of the page holds it."
      >
        {HEADINGS.map((heading) => (
          <fieldset key={heading} className="mb-5">
            <legend className="mb-2 text-sm font-semibold">{heading}</legend>
            <div className="grid gap-3 sm:grid-cols-2">
              {FILTERS.filter((one) => one.group === heading).map((one) => (
                <OneFilter
                  key={one.name}
                  filter={one}
                  value={search[one.name] ?? ""}
                  onChange={(value) => set(one.name, value)}
                />
              ))}
            </div>
          </fieldset>
        ))}
      </Drawer>
    </search>
  );
}

function Chips({ search, onChange }: FilterProps): ReactNode {
  const on = Object.entries(filtersOf(search));
  return (
    <ul aria-label="Filters that are on" className="flex flex-wrap items-center gap-1.5">
      {on.map(([name, value]) => (
        <li
          key={name}
          className={`flex h-7 items-center rounded-full border border-line bg-card pl-2.5 text-xs ${(ALWAYS_SEEN as readonly string[]).includes(name) ? "sm:hidden" : ""}`}
        >
          <span className="text-soft">{BY_NAME.get(name)?.label}</span>
          <span className="ml-1 font-medium">{shown(name, value)}</span>
          <IconButton
            label={`Remove ${BY_NAME.get(name)?.label}`}
            icon="close"
            className="size-6!"
            onClick={() => onChange(changed(search, name, ""))}
          />
        </li>
      ))}
      {on.length > 1 && (
        <li>
          <Button
            kind="quiet"
            size="sm"
            onClick={() => onChange(on.reduce((now, [name]) => changed(now, name, ""), search))}
          >
            Remove all
          </Button>
        </li>
      )}
    </ul>
  );
}

function shown(name: string, value: string): string {
  const filter = BY_NAME.get(name);
  const option = filter?.options?.find(([one]) => one === value)?.[1];
  return option ?? (filter?.unit ? `${value} ${filter.unit}` : value);
}

interface OneProps {
  filter: Filter;
  value: string;
  onChange: (value: string) => void;
  hidden?: boolean;
  className?: string;
  placeholder?: string;
}

function OneFilter(props: OneProps): ReactNode {
  const { filter, value, onChange, hidden } = props;
  if (!filter.options) return <Typed {...props} />;
  const options = hidden
    ? filter.options.map(([one, text]) => [one, one === "" ? `${filter.short ?? filter.label}: any` : text] as const)
    : filter.options;
  return (
    <Select
      label={filter.label}
      hidden={hidden}
      hint={hidden ? undefined : filter.hint}
      value={value}
      onChange={(event) => onChange(event.target.value)}
      options={options}
    />
  );
}

/** Takes effect when one stops typing, leaves the field or presses Enter. */
function Typed({ filter, value, onChange, hidden, className, placeholder }: OneProps): ReactNode {
  const [text, setText] = useState(value);
  const [before, setBefore] = useState(value);
  const timer = useRef(0);
  const list = useId();
  if (value !== before) {
    // The address changed under us: by a chip, by going back.
    setBefore(value);
    setText(value);
  }
  useEffect(() => () => window.clearTimeout(timer.current), []);

  function typed(event: FormEvent<HTMLInputElement>) {
    const now = event.currentTarget.value;
    setText(now);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => settle(now), SETTLES_MS);
  }

  function settle(now: string) {
    window.clearTimeout(timer.current);
    if (now.trim() === value) return;
    if (filter.kind === "number" && now.trim() !== "" && !Number.isFinite(Number(now))) return;
    setBefore(now.trim());
    onChange(now.trim());
  }

  const wrong = filter.kind === "number" && text.trim() !== "" && !Number.isFinite(Number(text));
  return (
    <>
      <Input
        label={filter.label}
        hidden={hidden}
        hint={hidden ? undefined : filter.hint}
        unit={filter.unit === "USD" ? "$" : filter.unit}
        value={text}
        onChange={typed}
        error={wrong ? "A number, such as 1.5" : null}
        inputMode={filter.kind === "number" ? "decimal" : undefined}
        className={className}
        placeholder={placeholder ?? (hidden ? (filter.short ?? filter.label) : undefined)}
        list={filter.facet ? list : undefined}
        autoComplete="off"
        spellCheck={false}
        onBlur={() => settle(text)}
        onKeyDown={(event) => event.key === "Enter" && settle(text)}
        type={filter.name === "q" ? "search" : "text"}
      />
      {filter.facet && <Known id={list} facet={filter.facet} />}
    </>
  );
}

function Known({ id, facet }: { id: string; facet: string }): ReactNode {
  const facets = useQuery({
    queryKey: ["facets"],
    queryFn: () => data(api.GET("/v1/offers/facets")),
    staleTime: 60_000,
  });
  const values = facets.data?.[facet as keyof typeof facets.data] ?? [];
  return (
    <datalist id={id}>
      {values.map((one) => (
        <option key={one.value} value={one.value}>{`${count(one.offers)} offers`}</option>
      ))}
    </datalist>
  );
}

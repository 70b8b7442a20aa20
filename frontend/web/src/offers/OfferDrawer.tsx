/** One offer, looked at closely: its price over time, and all that is known of it. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, data } from "@/api/client";
import { Button, buttonClass } from "@/design/Button";
import { Chart } from "@/design/chart-lazy";
import { bytes, count, decimal, duration, instant, NOTHING, percent, price, usd, words, zone } from "@/design/format";
import { Empty, Fault, Figure } from "@/design/Layout";
import { Drawer } from "@/design/Panel";
import { Stock } from "./columns";
import { useLive, type LiveOffers, type Offer } from "./live";

interface Props {
  offer: Offer | null;
  live: LiveOffers;
  picked: boolean;
  onPick: (id: number) => void;
  onClose: () => void;
}

export function OfferDrawer({ offer, live, picked, onPick, onClose }: Props): ReactNode {
  const told = useLive(live, offer?.id ?? 0);
  const now = offer && (told?.offer ?? offer);
  return (
    <Drawer
      open={now !== null}
      onOpenChange={(open) => !open && onClose()}
      wide
      title={now ? `${now.accelerators} × ${now.accelerator}` : ""}
      about={
        now
          ? `${now.provider}, ${now.region}${now.country ? `, ${now.country}` : ""} · ${words(now.market)} · ${now.instance_type}`
          : undefined
      }
    >
      {now && (
        <>
          {told?.gone && (
            <p role="status" className="mb-3 rounded-md bg-warn-wash px-3 py-2 text-sm text-warn">
              Its provider no longer offers it.
            </p>
          )}
          <dl className="mb-4 flex flex-wrap gap-x-8 gap-y-3">
            <Figure label="Each GPU, an hour" value={price(now.usd_per_gpu_hour)} unit="USD" />
            <Figure label="The machine, an hour" value={price(now.usd_per_hour)} unit="USD" />
            <Figure label="Stock" value={<Stock offer={now} />} />
          </dl>
          <div className="mb-5 flex flex-wrap gap-2">
            {now.leasable && !told?.gone && (
              <Link
                to="/launch"
                search={{ offers: String(now.id) }}
                className={`${buttonClass("primary")} no-underline`}
              >
                Train with this
              </Link>
            )}
            <Button icon={picked ? "check" : "plus"} aria-pressed={picked} onClick={() => onPick(now.id)}>
              {picked ? "Picked" : "Pick to compare"}
            </Button>
          </div>
          <PriceHistory offer={now} />
          <Facts offer={now} />
        </>
      )}
    </Drawer>
  );
}

const SPANS = [
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "A year"],
] as const;

function PriceHistory({ offer }: { offer: Offer }): ReactNode {
  const [days, setDays] = useState("30");
  const { accelerator: gpu, provider, region, market } = offer;
  const history = useQuery({
    queryKey: ["history", gpu, provider, region, market, days],
    queryFn: () =>
      data(api.GET("/v1/offers/history", { params: { query: { gpu, provider, region, market, days: Number(days) } } })),
  });
  const points = history.data?.results[0]?.points ?? [];
  const numbers = (key: "min" | "median" | "max") => points.map((one) => Number(one[key]));
  return (
    <section className="mb-6">
      <div className="mb-1 flex flex-wrap items-center justify-between gap-2">
        <h3 className="text-sm font-semibold">
          {gpu} at {provider} {region}, USD per GPU-hour
        </h3>
        <div role="group" aria-label="Time" className="flex">
          {SPANS.map(([value, text]) => (
            <Button
              key={value}
              kind="quiet"
              size="sm"
              aria-pressed={days === value}
              className="aria-pressed:bg-accent-wash aria-pressed:text-accent-strong"
              onClick={() => setDays(value)}
            >
              {text}
            </Button>
          ))}
        </div>
      </div>
      {history.isError ? (
        <Fault error={history.error} retry={() => void history.refetch()} />
      ) : history.isSuccess && points.length < 2 ? (
        <Empty
          icon="clock"
          title="No history yet"
          about="Prices are written down from the first time an offer is seen, whenever they change."
        />
      ) : (
        <Chart
          label={`Price of ${gpu}`}
          height={200}
          format={(usd) => price(usd)}
          xs={points.map((one) => Date.parse(one.at) / 1000)}
          lines={[
            { label: "Median", values: numbers("median"), low: numbers("min"), high: numbers("max"), stepped: true },
          ]}
        />
      )}
      <p className="text-xs text-soft">
        All machines with this GPU there: the median, with the cheapest and the dearest around it. Times in {zone()}.
      </p>
    </section>
  );
}

function Facts({ offer }: { offer: Offer }): ReactNode {
  const all: [string, ReactNode][] = [
    ["Memory of each GPU", offer.memory_gib === null ? NOTHING : `${decimal(offer.memory_gib, 0)} GiB`],
    ["Maker", offer.vendor || NOTHING],
    ["Link between GPUs", offer.interconnect || NOTHING],
    ["vCPUs", offer.vcpus === null ? NOTHING : decimal(offer.vcpus, 0)],
    ["Main memory", offer.ram_gib === null ? NOTHING : bytes(offer.ram_gib * 2 ** 30)],
    ["Disk in the price", offer.disk_gib === null ? NOTHING : bytes(offer.disk_gib * 2 ** 30)],
    ["Internet upload", offer.internet_mbit_per_s === null ? NOTHING : `${count(offer.internet_mbit_per_s)} Mbit/s`],
    ["Egress", offer.egress_usd_per_gib === null ? NOTHING : `${usd(offer.egress_usd_per_gib)} USD per GiB`],
    ["Time to boot", duration(offer.boot_s)],
    ["Share of time that it is up", percent(offer.reliability, 1)],
    ["Chance to lose it in an hour", percent(offer.interruptions_per_hour, 1)],
    ["Chance of a launch", percent(offer.placement_score)],
    [
      "Carbon of the grid",
      offer.gco2_per_kwh === null ? (
        NOTHING
      ) : (
        <>
          {count(Math.round(offer.gco2_per_kwh))} gCO₂e/kWh <span className="text-soft">{offer.carbon_source}</span>
        </>
      ),
    ],
    ["Zone", offer.zone || NOTHING],
    ["Until", offer.ends_at ? instant(offer.ends_at) : "no end is known"],
    ["Price in force since", instant(offer.changed_at)],
    [
      "Last seen",
      <>
        {instant(offer.seen_at)}
        {offer.stale && <span className="text-warn"> (stale)</span>}
      </>,
    ],
    ["Can be rented here", offer.leasable ? "yes" : "no: the broker knows its price, but has no account there"],
  ];
  const rows = all.filter(([, value]) => value !== NOTHING);
  const unknown = all
    .filter(([, value]) => value === NOTHING)
    .map(([name]) => name.charAt(0).toLowerCase() + name.slice(1));
  return (
    <>
      <dl className="grid grid-cols-[minmax(9rem,auto)_1fr] gap-x-6 text-sm">
        {rows.map(([name, value]) => (
          <div key={name} className="col-span-2 grid grid-cols-subgrid border-b border-line/60 py-1.5">
            <dt className="text-soft">{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {unknown.length > 0 && <p className="mt-3 text-xs text-soft">Not told by its provider: {unknown.join(", ")}.</p>}
    </>
  );
}

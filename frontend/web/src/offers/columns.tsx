/** The columns of the offers' table: what stands in each, how wide it is, and whether it can be sorted by. */

import type { ReactNode } from "react";
import { useNow } from "@/app/clock";
import { ago, count, decimal, instant, NOTHING, percent, price, usd, words } from "@/design/format";
import { Icon } from "@/design/icons";
import { Spark } from "@/design/Spark";
import type { Offer } from "./live";
import { useSpark } from "./sparks";

export interface Column {
  id: string;
  head: string;
  /** What the head means, read aloud and on hover. */
  about?: string;
  /** A name of the API's orders. */
  sort?: string;
  /** Of the grid. */
  width: string;
  right?: boolean;
  /** Shown from this width of the table on, px; always if left out. */
  from?: number;
  cell: (offer: Offer, changes: number) => ReactNode;
}

export const COLUMNS: readonly Column[] = [
  {
    id: "gpu",
    head: "GPU",
    sort: "memory_gib",
    about: "Sorted by memory of each GPU",
    width: "minmax(9.5rem,1.3fr)",
    cell: (offer) => (
      <span className="min-w-0 truncate">
        <span className="font-medium">
          {offer.accelerators > 1 && <span className="text-soft">{offer.accelerators} × </span>}
          {offer.accelerator}
        </span>
        {offer.memory_gib !== null && (
          <span className="ml-1.5 text-xs text-soft">{decimal(offer.memory_gib, 0)} GiB</span>
        )}
      </span>
    ),
  },
  {
    id: "place",
    head: "Provider and region",
    width: "minmax(11rem,1.5fr)",
    cell: (offer) => (
      <span className="min-w-0 truncate">
        {offer.provider}{" "}
        <span className="text-soft">
          {offer.region}
          {offer.zone && offer.zone !== offer.region ? ` ${offer.zone}` : ""}
          {offer.country ? ` · ${offer.country}` : ""}
        </span>
      </span>
    ),
  },
  { id: "market", head: "Market", width: "6.5rem", from: 620, cell: (offer) => <Market offer={offer} /> },
  {
    id: "price",
    head: "$ / GPU-h",
    about: "USD for each GPU and hour",
    sort: "usd_per_gpu_hour",
    width: "6rem",
    right: true,
    cell: (offer, changes) => (
      <span key={changes} className={`rounded-sm px-1 font-semibold ${changes > 0 ? "changed" : ""}`}>
        {price(offer.usd_per_gpu_hour)}
      </span>
    ),
  },
  {
    id: "spark",
    head: "7 days",
    about: "Its price over the last seven days",
    width: "5.25rem",
    from: 860,
    cell: (offer) => <PriceLine id={offer.id} />,
  },
  {
    id: "machine",
    head: "$ / h",
    about: "USD for the whole machine and hour",
    sort: "usd_per_hour",
    width: "5rem",
    right: true,
    from: 760,
    cell: (offer) => usd(offer.usd_per_hour),
  },
  {
    id: "size",
    head: "vCPU, RAM",
    sort: "vcpus",
    about: "Sorted by vCPUs",
    width: "7.5rem",
    right: true,
    from: 1180,
    cell: (offer) => (
      <span className="text-soft">
        {offer.vcpus === null ? NOTHING : decimal(offer.vcpus, 0)},{" "}
        {offer.ram_gib === null ? NOTHING : `${decimal(offer.ram_gib, 0)} GiB`}
      </span>
    ),
  },
  {
    id: "stock",
    head: "Stock",
    sort: "available",
    about: "Machines free, or what the provider says of them",
    width: "5.5rem",
    from: 960,
    cell: (offer) => <Stock offer={offer} />,
  },
  {
    id: "reliability",
    head: "Reliable",
    sort: "reliability",
    about: "Share of time it was up; for spot, the chance to lose it in an hour",
    width: "5.5rem",
    right: true,
    from: 1060,
    cell: (offer) =>
      offer.reliability !== null ? (
        percent(offer.reliability, 1)
      ) : offer.interruptions_per_hour !== null ? (
        <span title="Chance of losing it in an hour">{percent(offer.interruptions_per_hour, 1)} lost/h</span>
      ) : (
        NOTHING
      ),
  },
  {
    id: "carbon",
    head: "gCO₂/kWh",
    about: "Of the grid where it stands",
    sort: "gco2_per_kwh",
    width: "5.75rem",
    right: true,
    from: 1280,
    cell: (offer) => (
      <span title={offer.carbon_source || undefined}>
        {offer.gco2_per_kwh === null ? NOTHING : count(Math.round(offer.gco2_per_kwh))}
      </span>
    ),
  },
  {
    id: "seen",
    head: "Seen",
    about: "When its provider last said so",
    width: "5.75rem",
    right: true,
    from: 700,
    cell: (offer) => <Seen offer={offer} />,
  },
];

function PriceLine({ id }: { id: number }): ReactNode {
  const prices = useSpark(id);
  return prices ? <Spark values={prices} label="Price over seven days" /> : <span className="block h-4.5 w-18" />;
}

const MARKETS = { on_demand: "dot", spot: "bolt", reserved: "clock" } as const;

function Market({ offer }: { offer: Offer }): ReactNode {
  return (
    <span className="inline-flex items-center gap-1.5 whitespace-nowrap">
      <Icon name={MARKETS[offer.market]} size={13} className={offer.market === "spot" ? "text-warn" : "text-soft"} />
      {words(offer.market)}
      {offer.term && <span className="text-xs text-soft">{offer.term}</span>}
    </span>
  );
}

export function Stock({ offer }: { offer: Offer }): ReactNode {
  if (!offer.leasable)
    return (
      <span className="text-soft" title="This broker knows its price, but has no account there">
        Price only
      </span>
    );
  if (offer.available === 0 || offer.stock === "none") return <span className="text-bad">None free</span>;
  if (offer.available !== null) return <>{count(offer.available)} free</>;
  return offer.stock ? <>{words(offer.stock)}</> : <span className="text-soft">Unknown</span>;
}

export function Seen({ offer }: { offer: Offer }): ReactNode {
  const now = useNow();
  return (
    <time
      dateTime={offer.seen_at ?? undefined}
      title={instant(offer.seen_at)}
      className={`whitespace-nowrap ${offer.stale ? "text-warn" : "text-soft"}`}
    >
      {offer.stale && "stale, "}
      {ago(offer.seen_at, now)}
    </time>
  );
}

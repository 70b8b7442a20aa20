/** The columns of the offers' table: what stands in each, how wide it is, and whether it can be sorted by. */

import type { ReactNode } from "react";
import { useNow } from "@/app/clock";
import { ago, count, decimal, instant, NOTHING, percent, price, words } from "@/design/format";
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
  /** px, at least; `grow` shares what is left over. */
  width: number;
  grow?: boolean;
  right?: boolean;
  /** Who has to go where it is narrow: the highest first; 0 always stays. */
  rank: number;
  cell: (offer: Offer, changes: number) => ReactNode;
}

export const COLUMNS: readonly Column[] = [
  {
    id: "gpu",
    head: "GPU",
    sort: "memory_gib",
    about: "Sorted by memory of each GPU",
    width: 150,
    grow: true,
    rank: 0,
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
    width: 160,
    grow: true,
    rank: 0,
    cell: (offer) => (
      <span className="min-w-0 truncate">
        {offer.provider}{" "}
        <span className="text-soft">
          {placeOf(offer)}
          {offer.country ? ` · ${offer.country}` : ""}
        </span>
      </span>
    ),
  },
  { id: "market", head: "Market", width: 92, rank: 3, cell: (offer) => <Market offer={offer} /> },
  {
    id: "price",
    head: "$ / GPU-h",
    about: "USD for each GPU and hour",
    sort: "usd_per_gpu_hour",
    width: 84,
    rank: 0,
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
    width: 80,
    rank: 6,
    cell: (offer) => <PriceLine id={offer.id} />,
  },
  {
    id: "machine",
    head: "$ / h",
    about: "USD for the whole machine and hour",
    sort: "usd_per_hour",
    width: 76,
    rank: 5,
    right: true,
    cell: (offer) => price(offer.usd_per_hour),
  },
  {
    id: "size",
    head: "vCPU, RAM",
    sort: "vcpus",
    about: "Sorted by vCPUs",
    width: 120,
    rank: 10,
    right: true,
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
    width: 84,
    rank: 4,
    cell: (offer) => <Stock offer={offer} />,
  },
  {
    id: "reliability",
    head: "Reliable",
    sort: "reliability",
    about: "Share of time it was up; for spot, the chance to lose it in an hour",
    width: 76,
    rank: 8,
    right: true,
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
    width: 80,
    rank: 9,
    right: true,
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
    width: 86,
    rank: 7,
    right: true,
    cell: (offer) => <Seen offer={offer} />,
  },
];

/** Where there is no room for columns: two lines, and the price. */
const NARROW: readonly Column[] = [
  {
    id: "both",
    head: "GPU, provider and region",
    width: 120,
    grow: true,
    rank: 0,
    cell: (offer, changes) => (
      <span className="min-w-0">
        <span className="block truncate">{cellOf("gpu", offer, changes)}</span>
        <span className="block truncate text-xs">
          {cellOf("place", offer, changes)}
          <span className="text-soft"> · {words(offer.market)}</span>
        </span>
      </span>
    ),
  },
  COLUMNS.find((one) => one.id === "price") as Column,
];
export const NARROW_PX = 520;

function cellOf(id: string, offer: Offer, changes: number): ReactNode {
  return COLUMNS.find((one) => one.id === id)?.cell(offer, changes);
}

export const GAP_PX = 10;
const AROUND_PX = 24 + 32;

/** The columns that fit into this width, in their order. */
export function fitting(width: number, hidden: ReadonlySet<string>): readonly Column[] {
  if (width < NARROW_PX) return NARROW;
  const wanted = COLUMNS.filter((one) => !hidden.has(one.id));
  const room = () => kept.reduce((sum, one) => sum + one.width + GAP_PX, AROUND_PX);
  let kept = wanted;
  while (room() > width) {
    const last = Math.max(...kept.map((one) => one.rank));
    if (last === 0) break;
    kept = kept.filter((one) => one.rank !== last);
  }
  return kept;
}

/** The region, and the zone where there is one: most zones begin with their region's name. */
function placeOf({ region, zone }: Offer): string {
  return !zone || zone.startsWith(region) ? zone || region : `${region} ${zone}`;
}

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

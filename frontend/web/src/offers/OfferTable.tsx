/** The book as a table that draws only what is on the screen. */

import { useVirtualizer } from "@tanstack/react-virtual";
import {
  memo,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
  type ReactNode,
} from "react";
import { Check } from "@/design/Field";
import { price } from "@/design/format";
import { Icon } from "@/design/icons";
import { fitting, GAP_PX, NARROW_PX, type Column } from "./columns";
import { useLive, type LiveOffers, type Offer } from "./live";

const ROW_PX = 38;
const NARROW_ROW_PX = 52;

export interface OfferTableProps {
  offers: readonly Offer[];
  /** How many there are in all; null while nobody knows. */
  total: number | null;
  live: LiveOffers;
  sort: string;
  onSort: (column: string) => void;
  picks: ReadonlySet<number>;
  onPick: (id: number) => void;
  onOpen: (offer: Offer) => void;
  /** Called when the end of what is here comes near. */
  onMore: () => void;
  hidden: ReadonlySet<string>;
}

export function OfferTable(props: OfferTableProps): ReactNode {
  const { offers, total, hidden, onMore } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [active, setActive] = useState(0);
  const columns = useMemo(() => fitting(width, hidden), [width, hidden]);
  const height = width < NARROW_PX ? NARROW_ROW_PX : ROW_PX;
  const rows = useVirtualizer({
    count: offers.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 12,
  });
  useEffect(() => rows.measure(), [rows, height]);
  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const look = () => setWidth(element.clientWidth);
    look();
    const watch = new ResizeObserver(look);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    if (last >= offers.length - 60) onMore();
  }, [last, offers.length, onMore]);

  const focusRow = useCallback(
    (index: number) => {
      setActive(index);
      rows.scrollToIndex(index);
      requestAnimationFrame(() =>
        scroller.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)?.focus({ preventScroll: true }),
      );
    },
    [rows],
  );

  function onKeyDown(event: KeyboardEvent) {
    const row = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
    if (!row) return;
    const index = Number(row.dataset.index);
    const screenful = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / height) - 2);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: screenful,
      PageUp: -screenful,
      Home: -offers.length,
      End: offers.length,
    };
    const offer = offers[index];
    if (event.key in steps) focusRow(Math.min(offers.length - 1, Math.max(0, index + (steps[event.key] as number))));
    else if (event.key === "Enter" && offer && event.target === row) props.onOpen(offer);
    else if (event.key === " " && offer && event.target === row) props.onPick(offer.id);
    else return;
    event.preventDefault();
  }

  const grid = `2rem ${columns.map((one) => (one.grow ? `minmax(${one.width}px,1fr)` : `${one.width}px`)).join(" ")}`;
  return (
    <div
      ref={scroller}
      role="grid"
      aria-label="Offers"
      aria-rowcount={total ?? offers.length}
      aria-colcount={columns.length + 1}
      onKeyDown={onKeyDown}
      tabIndex={-1}
      className="relative min-h-0 grow overflow-auto rounded-lg border border-line bg-card"
    >
      <div
        role="row"
        className="sticky top-0 z-10 grid items-center  border-b border-line bg-card px-3 text-xs text-soft"
        style={{ gridTemplateColumns: grid, columnGap: GAP_PX, height: 34 }}
      >
        <span role="columnheader">
          <span className="sr-only">Picked</span>
        </span>
        {columns.map((one) => (
          <Head key={one.id} column={one} sort={props.sort} onSort={props.onSort} />
        ))}
      </div>
      <div style={{ height: rows.getTotalSize() }} className="relative">
        {items.map((item) => {
          const offer = offers[item.index] as Offer;
          return (
            <Row
              key={offer.id}
              offer={offer}
              index={item.index}
              start={item.start}
              grid={grid}
              columns={columns}
              height={height}
              live={props.live}
              picked={props.picks.has(offer.id)}
              active={item.index === active}
              onPick={props.onPick}
              onOpen={props.onOpen}
              onActive={setActive}
            />
          );
        })}
      </div>
    </div>
  );
}

function Head({ column, sort, onSort }: { column: Column; sort: string; onSort: (name: string) => void }): ReactNode {
  const name = column.sort;
  const direction = name && sort === name ? "ascending" : name && sort === `-${name}` ? "descending" : undefined;
  const align = column.right ? "justify-end text-right" : "";
  return (
    <span
      role="columnheader"
      aria-sort={direction}
      title={column.about}
      className={`flex min-w-0 font-medium ${align}`}
    >
      {name ? (
        <button
          type="button"
          onClick={() => onSort(name)}
          className={`flex min-h-6 items-center gap-1 rounded-sm whitespace-nowrap hover:text-ink ${direction ? "text-ink" : ""}`}
        >
          {column.head}
          {direction && <Icon name={direction === "ascending" ? "up" : "down"} size={11} />}
        </button>
      ) : (
        <span className="whitespace-nowrap">{column.head}</span>
      )}
    </span>
  );
}

interface RowProps {
  offer: Offer;
  index: number;
  start: number;
  grid: string;
  columns: readonly Column[];
  height: number;
  live: LiveOffers;
  picked: boolean;
  active: boolean;
  onPick: (id: number) => void;
  onOpen: (offer: Offer) => void;
  onActive: (index: number) => void;
}

const Row = memo(function Row({
  offer,
  index,
  start,
  grid,
  columns,
  height,
  live,
  picked,
  active,
  onPick,
  onOpen,
  onActive,
}: RowProps): ReactNode {
  const told = useLive(live, offer.id);
  const now = told?.offer ?? offer;
  const name = `${now.accelerators} × ${now.accelerator} at ${now.provider} ${now.region}`;
  return (
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- The grid around it takes the keys of all rows.
    <div
      role="row"
      data-index={index}
      aria-rowindex={index + 2}
      aria-selected={picked}
      tabIndex={active ? 0 : -1}
      aria-label={told?.gone ? `${name}, no longer offered` : undefined}
      onClick={(event) => !(event.target as HTMLElement).closest("label") && onOpen(now)}
      onFocus={() => onActive(index)}
      className={`absolute inset-x-0 top-0 grid cursor-pointer items-center  border-b border-line/60 px-3 text-sm tabular-nums hover:bg-hover focus-visible:outline-offset-[-2px] ${picked ? "bg-accent-wash" : ""} ${told?.gone ? "text-soft line-through" : ""}`}
      style={{ gridTemplateColumns: grid, columnGap: GAP_PX, height, transform: `translateY(${start}px)` }}
    >
      <span role="gridcell">
        <Check
          bare
          label={`Pick ${name} for ${price(now.usd_per_gpu_hour)}`}
          checked={picked}
          onChange={() => onPick(offer.id)}
          tabIndex={active ? 0 : -1}
        />
      </span>
      {columns.map((column) => (
        <span
          key={column.id}
          role="gridcell"
          className={`flex min-w-0 ${column.right ? "justify-end text-right" : ""}`}
        >
          {column.cell(now, told?.changes ?? 0)}
        </span>
      ))}
    </div>
  );
});

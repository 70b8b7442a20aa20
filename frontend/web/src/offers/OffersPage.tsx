/** The market as it is now: every offer, filtered, sorted, watched; picked and compared for a run. */

import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useState, type ReactNode } from "react";
import { api, data } from "@/api/client";
import { Button } from "@/design/Button";
import { Check, Select } from "@/design/Field";
import { count, plural } from "@/design/format";
import { Icon } from "@/design/icons";
import { Empty, Fault, Loading, PageHead } from "@/design/Layout";
import { Pop } from "@/design/Pop";
import { COLUMNS } from "./columns";
import { Compare } from "./Compare";
import { GROUPS } from "./filters";
import { Filters } from "./Filters";
import { Groups, groupsQuery } from "./Groups";
import { follow, LiveOffers, useNews, useStreamState, type Offer } from "./live";
import { OfferDrawer } from "./OfferDrawer";
import { OfferTable } from "./OfferTable";
import {
  changed,
  filtersOf,
  hiddenOf,
  nextSort,
  picksOf,
  sortOf,
  toggleColumn,
  togglePick,
  type OfferSearch,
} from "./search";

const PAGE = 200;
const route = getRouteApi("/own/offers");

export function OffersPage(): ReactNode {
  const search: OfferSearch = route.useSearch();
  const navigate = route.useNavigate();
  const go = useCallback(
    (next: OfferSearch) => void navigate({ search: next, replace: true, resetScroll: false }),
    [navigate],
  );
  const [live] = useState(() => new LiveOffers());
  const hidden = useMemo(() => new Set(hiddenOf({ hide: search.hide ?? "" })), [search.hide]);
  const filterKey = JSON.stringify(filtersOf(search));
  const filters = useMemo(() => JSON.parse(filterKey) as Record<string, string>, [filterKey]);
  const book = useBook(filters, sortOf(search), live, !search.group);
  const groups = useQuery({ ...groupsQuery(search.group ?? "", filters), enabled: !!search.group });
  const grouped = groups.data?.results.reduce((sum, one) => sum + one.offers, 0);
  const picks = useMemo(() => new Set(picksOf({ pick: search.pick ?? "" })), [search.pick]);
  const opened = Number(search.open) || 0;
  const chosen = useChosen([...picks, ...(opened ? [opened] : [])], book.offers);

  useEffect(() => follow(live, filters), [live, filters]);

  const pick = useCallback(
    (id: number) =>
      void navigate({ search: (now: OfferSearch) => togglePick(now, id), replace: true, resetScroll: false }),
    [navigate],
  );
  const open = useCallback(
    (offer: Offer) =>
      void navigate({ search: (now: OfferSearch) => ({ ...now, open: String(offer.id) }), resetScroll: false }),
    [navigate],
  );
  const without = (name: string) => changed(search, name, "");
  const compare = (on: boolean) =>
    void navigate({ search: changed(search, "compare", on ? "1" : ""), resetScroll: false });

  return (
    <div className="flex h-[calc(100dvh-5.5rem)] min-h-96 flex-col md:h-[calc(100dvh-2.5rem)]">
      <PageHead
        title="Offers"
        about={<Summary total={(search.group ? grouped : book.total) ?? null} shown={book.offers.length} live={live} />}
      >
        <div className="w-40">
          <Select
            label="Grouped by"
            hidden
            value={search.group ?? ""}
            options={[["", "Every offer"], ...GROUPS.map(([name, text]) => [name, `By ${text}`] as const)]}
            onChange={(event) => go(changed(search, "group", event.target.value))}
          />
        </div>
        {!search.group && (
          <span className="max-sm:hidden">
            <Columns hidden={hidden} onToggle={(id) => go(toggleColumn(search, id))} />
          </span>
        )}
        <Button icon="columns" disabled={picks.size === 0} onClick={() => compare(true)}>
          Compare{picks.size > 0 ? ` ${picks.size}` : ""}
        </Button>
      </PageHead>
      <Filters search={search} onChange={go} />
      {search.group ? (
        <Groups
          by={search.group}
          filters={filters}
          onOpen={(value) => go(changed(without("group"), search.group as string, value))}
        />
      ) : (
        <>
          <News live={live} onShow={book.again} />
          {book.error ? (
            <Fault error={book.error} retry={book.again} />
          ) : book.pending ? (
            <Loading lines={14} label="Offers are on their way" />
          ) : book.offers.length === 0 ? (
            <Nothing
              filters={filters}
              onClear={() => go(Object.fromEntries(Object.entries(search).filter(([name]) => !(name in filters))))}
            />
          ) : (
            <OfferTable
              offers={book.offers}
              total={book.total}
              live={live}
              sort={sortOf(search)}
              picks={picks}
              hidden={hidden}
              onPick={pick}
              onOpen={open}
              onMore={book.more}
              onSort={(column) => go(changed(search, "sort", nextSort(search, column) ?? ""))}
            />
          )}
        </>
      )}
      <OfferDrawer
        offer={chosen.get(opened) ?? null}
        live={live}
        picked={picks.has(opened)}
        onPick={pick}
        onClose={() => void navigate({ search: without("open"), resetScroll: false })}
      />
      <Compare
        open={search.compare !== undefined}
        onOpenChange={compare}
        offers={[...picks].flatMap((id) => chosen.get(id) ?? [])}
        onDrop={pick}
      />
    </div>
  );
}

interface Book {
  offers: readonly Offer[];
  total: number | null;
  pending: boolean;
  error: unknown;
  more: () => void;
  again: () => void;
}

function useBook(filters: Record<string, string>, sort: string, live: LiveOffers, enabled: boolean): Book {
  const pages = useInfiniteQuery({
    queryKey: ["offers", filters, sort],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/v1/offers", {
          params: {
            query: { ...filters, sort, limit: PAGE, ...(pageParam ? { cursor: pageParam } : { total: true }) },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
    placeholderData: keepPreviousData,
    staleTime: Infinity,
    gcTime: 60_000,
    enabled,
  });
  const offers = useMemo(() => unique(pages.data?.pages.flatMap((page) => page.results) ?? []), [pages.data]);
  const { hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = pages;
  useEffect(() => live.know(new Set(offers.map((one) => one.id))), [live, offers]);
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const again = useCallback(() => void refetch().then(() => live.reset()), [refetch, live]);
  return {
    offers,
    total: pages.data?.pages[0]?.count ?? null,
    pending: pages.isPending,
    error: pages.data ? null : pages.error,
    more,
    again,
  };
}

/** A price that moved between two pages puts its offer on both. */
function unique(offers: Offer[]): Offer[] {
  const seen = new Set<number>();
  return offers.filter((one) => !seen.has(one.id) && seen.add(one.id));
}

/** What is picked or opened may lie outside the pages that are here: it came with the address. */
function useChosen(ids: readonly number[], offers: readonly Offer[]): Map<number, Offer> {
  const [kept, setKept] = useState<ReadonlyMap<number, Offer>>(new Map());
  const here = useMemo(() => new Map(offers.map((one) => [one.id, one])), [offers]);
  const missing = ids.filter((id) => !here.has(id) && !kept.has(id));
  const found = useQuery({
    queryKey: ["offers-by-id", missing],
    queryFn: () => data(api.GET("/v1/offers", { params: { query: { id: missing.join(","), gone: "true" } } })),
    enabled: missing.length > 0,
  });
  const all = new Map<number, Offer>();
  for (const id of ids) {
    const offer = here.get(id) ?? kept.get(id) ?? found.data?.results.find((one) => one.id === id);
    if (offer) all.set(id, offer);
  }
  if ([...all.keys()].some((id) => !kept.has(id))) setKept(new Map([...kept, ...all]));
  return all;
}

function Summary({ total, shown, live }: { total: number | null; shown: number; live: LiveOffers }): ReactNode {
  const state = useStreamState(live);
  const said = { connecting: "connecting", live: "live", away: "reconnecting", ended: "ended" }[state];
  return (
    <>
      {plural(total ?? shown, "offer")}, USD before tax ·{" "}
      <span role="status" className="inline-flex items-center gap-1 align-bottom">
        <Icon
          name={state === "live" ? "pulse" : "clock"}
          size={13}
          className={state === "live" ? "text-good" : "text-warn"}
        />{" "}
        {said}
      </span>
    </>
  );
}

function News({ live, onShow }: { live: LiveOffers; onShow: () => void }): ReactNode {
  const { fresh, moved } = useNews(live);
  if (fresh === 0 && moved === 0) return null;
  const parts = [
    fresh > 0 ? `${plural(fresh, "new offer")}` : "",
    moved > 0 ? `${plural(moved, "price")} moved` : "",
  ].filter(Boolean);
  return (
    <div className="mb-2 flex items-center gap-2 text-sm text-soft">
      <span role="status">{parts.join(", ")}</span>
      <Button size="sm" kind="quiet" className="text-accent" onClick={onShow}>
        Sort anew
      </Button>
    </div>
  );
}

function Columns({ hidden, onToggle }: { hidden: ReadonlySet<string>; onToggle: (id: string) => void }): ReactNode {
  return (
    <Pop label="Columns" trigger={<Button icon="columns">Columns</Button>}>
      <div className="flex flex-col gap-1">
        {COLUMNS.filter((one) => one.id !== "gpu" && one.id !== "price").map((one) => (
          <Check key={one.id} label={one.head} checked={!hidden.has(one.id)} onChange={() => onToggle(one.id)} />
        ))}
      </div>
    </Pop>
  );
}

function Nothing({ filters, onClear }: { filters: Record<string, string>; onClear: () => void }): ReactNode {
  const many = Object.keys(filters).length;
  if (many === 0)
    return (
      <Empty
        icon="offers"
        title="The book is empty"
        about="Prices are read every few minutes once the broker knows a source. An operator connects clouds with `yard providers add`, or lends a machine with `yard host add`."
      />
    );
  return (
    <Empty
      icon="filter"
      title="No offer fits"
      about={`${count(many)} filter${many === 1 ? " is" : "s are"} on. Remove one, or all.`}
    >
      <Button onClick={onClear}>Remove all filters</Button>
    </Empty>
  );
}

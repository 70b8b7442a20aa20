/** The book in groups: how many offers, at what prices. */

import { queryOptions, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, data, type Schemas } from "@/api/client";
import { count, NOTHING, price, words } from "@/design/format";
import { Empty, Fault, Loading } from "@/design/Layout";

type Group = Schemas["OfferGroup"];
type Name = "gpu" | "provider" | "region" | "country" | "vendor" | "market" | "count";

export const groupsQuery = (by: string, filters: Record<string, string>) =>
  queryOptions({
    queryKey: ["groups", by, filters],
    queryFn: () => data(api.GET("/v1/offers/groups", { params: { query: { ...filters, group_by: by } } })),
    refetchInterval: 10_000,
  });

export function Groups({
  by,
  filters,
  onOpen,
}: {
  by: string;
  filters: Record<string, string>;
  onOpen: (value: string) => void;
}): ReactNode {
  const name = by as Name;
  const groups = useQuery(groupsQuery(by, filters));
  if (groups.isPending) return <Loading lines={8} />;
  if (groups.isError) return <Fault error={groups.error} retry={() => void groups.refetch()} />;
  const rows = groups.data.results;
  if (rows.length === 0)
    return <Empty icon="search" title="No offer fits" about="Loosen a filter: each chip above removes one." />;
  const most = Math.max(...rows.map((one) => Number(one.median_usd_per_gpu_hour)), 0.001) * 1.6;
  return (
    <div className="min-h-0 grow overflow-auto rounded-lg border border-line bg-card">
      <table className="w-full text-sm tabular-nums">
        <caption className="sr-only">Offers by {by}, the cheapest first</caption>
        <thead className="sticky top-0 bg-card text-xs text-soft">
          <tr className="border-b border-line [&>th]:px-3 [&>th]:py-2 [&>th]:font-medium">
            <th scope="col" className="text-left">
              {words(by === "gpu" ? "GPU" : by)}
            </th>
            <th scope="col" className="num">
              Offers
            </th>
            <th scope="col" className="num max-sm:hidden">
              Providers
            </th>
            <th scope="col" className="num max-md:hidden">
              Free
            </th>
            <th scope="col" className="num">
              Cheapest
            </th>
            <th scope="col" className="num">
              Median
            </th>
            <th scope="col" className="num max-md:hidden">
              Dearest
            </th>
            <th scope="col" className="w-1/4 text-left max-lg:hidden">
              Cheapest to dearest, USD per GPU-hour
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const value = String(row[name] ?? "");
            return (
              <tr key={value} className="border-b border-line/60 hover:bg-hover [&>td]:px-3 [&>td]:py-1.5">
                <th scope="row" className="px-3 text-left font-medium">
                  {value ? (
                    <button
                      type="button"
                      className="min-h-6 rounded-sm text-left text-accent underline-offset-3 hover:underline"
                      onClick={() => onOpen(value)}
                    >
                      {by === "market" ? words(value) : value}
                    </button>
                  ) : (
                    <span className="text-soft">Not known</span>
                  )}
                </th>
                <td className="num">{count(row.offers)}</td>
                <td className="num max-sm:hidden">{count(row.providers)}</td>
                <td className="num max-md:hidden">{row.available === null ? NOTHING : count(row.available)}</td>
                <td className="num font-semibold">{price(row.min_usd_per_gpu_hour)}</td>
                <td className="num">{price(row.median_usd_per_gpu_hour)}</td>
                <td className="num max-md:hidden">{price(row.max_usd_per_gpu_hour)}</td>
                <td className="max-lg:hidden">
                  <Span row={row} most={most} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** The range as a line with the median on it; what is beyond the scale is cut. */
function Span({ row, most }: { row: Group; most: number }): ReactNode {
  const at = (usd: string) => Math.min(100, (Number(usd) / most) * 100);
  const [low, middle, high] = [
    at(row.min_usd_per_gpu_hour),
    at(row.median_usd_per_gpu_hour),
    at(row.max_usd_per_gpu_hour),
  ];
  return (
    <svg width="100%" height="14" aria-hidden="true" className="block">
      <line x1={`${low}%`} x2={`${high}%`} y1="7" y2="7" className="stroke-edge" strokeWidth="2" />
      <circle cx={`${low}%`} cy="7" r="3.5" className="fill-accent" />
      <line x1={`${middle}%`} x2={`${middle}%`} y1="2" y2="12" className="stroke-ink" strokeWidth="2" />
    </svg>
  );
}

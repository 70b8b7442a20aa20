/** Where the sites of the quotes are. */

import type { ReactNode } from "react";
import { WorldMap, type Place } from "@/design/WorldMap";
import type { Quote } from "../shapes";

interface MapProps {
  quotes: readonly Quote[];
  numbers: ReadonlyMap<string, number>;
  chosen: number;
}

export function SitesMap({ quotes, numbers, chosen }: MapProps): ReactNode {
  const strong = new Set(quotes.find((one) => one.rank === chosen)?.sites.map((one) => one.site));
  const places = new Map<string, Place>();
  const nowhere = new Set<string>();
  for (const site of quotes.flatMap((one) => one.sites)) {
    const { latitude, longitude } = site;
    const known = {
      id: site.site,
      name: site.site,
      number: numbers.get(site.site) ?? 0,
      faint: !strong.has(site.site),
    };
    if (latitude == null || longitude == null) nowhere.add(site.site);
    else places.set(site.site, { ...known, latitude, longitude });
  }
  // Weak ones first, so that what was chosen is drawn over them.
  const drawn = [...places.values()].sort((a, b) => Number(b.faint) - Number(a.faint));
  return (
    <section className="border-t border-line">
      <h3 className="px-4 pt-3 text-sm font-semibold">Where</h3>
      {drawn.length > 0 && (
        <WorldMap
          label={`Sites of the quotes; quote ${chosen} stands out`}
          places={drawn}
          links={linksOf(
            quotes.find((one) => one.rank === chosen),
            places,
          )}
        />
      )}
      {nowhere.size > 0 && (
        <p className="px-4 pb-3 text-xs text-soft">
          Not on the map, since nobody said where they are:{" "}
          {[...nowhere].map((one) => `${numbers.get(one)} ${one}`).join(", ")}.
        </p>
      )}
    </section>
  );
}

/** Each pair of the quote's sites that are on the map. */
function linksOf(quote: Quote | undefined, places: ReadonlyMap<string, unknown>): [string, string][] {
  const sites = [...new Set(quote?.sites.map((one) => one.site))].filter((one) => places.has(one));
  return sites.flatMap((from, at) => sites.slice(at + 1).map((to): [string, string] => [from, to]));
}

/** Where the sites are. */

import type { ReactNode } from "react";
import { WorldMap, type Place } from "@/design/WorldMap";
import type { Site } from "./types";

/** Sites that are there, with lines between them, since they train together; those that were are weaker. */
export function SitesMap({ sites }: { sites: readonly Site[] }): ReactNode {
  const found = new Map<string, Place>();
  // Open ones last: they are drawn over the others, and a place that has both is open.
  const order = [...sites].sort((a, b) => Number(b.state === "closed") - Number(a.state === "closed"));
  for (const { site, state, latitude, longitude } of order) {
    if (latitude == null || longitude == null) continue;
    found.set(site, { id: site, name: site, number: 0, latitude, longitude, faint: state === "closed" });
  }
  const places = [...found.values()].map((place, index) => ({ ...place, number: index + 1 }));
  if (places.length === 0) return null;
  const open = places.filter((place) => !place.faint).map((place) => place.id);
  const links = open.flatMap((from, index) => open.slice(index + 1).map((to) => [from, to] as const));
  return <WorldMap label="Where its sites are" places={places} links={links} />;
}

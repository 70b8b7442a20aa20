/** What the address says of the offers page: filters, order, groups, columns, what is picked and what is looked at. */

import { BY_NAME, GROUPS, SAME_AS, SORTS } from "./filters";

export type OfferSearch = Record<string, string>;

const OTHERS = new Set(["sort", "group", "hide", "pick", "open", "compare"]);

/** Read it; what means nothing is left out, so that a mistyped address still shows offers. */
export function readOfferSearch(given: Record<string, unknown>): OfferSearch {
  const found: OfferSearch = {};
  for (const [key, value] of Object.entries(given)) {
    const name = key in SAME_AS ? SAME_AS[key as keyof typeof SAME_AS] : key;
    const text = value === null || value === undefined ? "" : String(value).trim();
    if (text !== "" && (BY_NAME.has(name) || OTHERS.has(name))) found[name] = text;
  }
  if (found.sort && !(SORTS as readonly string[]).includes(found.sort.replace(/^-/, ""))) delete found.sort;
  if (found.group && !GROUPS.some(([name]) => name === found.group)) delete found.group;
  return found;
}

/** The filters alone, as the API takes them. */
export function filtersOf(search: OfferSearch): Record<string, string> {
  return Object.fromEntries(Object.entries(search).filter(([name]) => BY_NAME.has(name)));
}

export function sortOf(search: OfferSearch): string {
  return search.sort ?? "usd_per_gpu_hour";
}

/** The next order when a column's head is pressed: upwards, downwards, and as it was. */
export function nextSort(search: OfferSearch, column: string): string | undefined {
  const now = sortOf(search);
  if (now === column) return `-${column}`;
  if (now === `-${column}`) return undefined;
  return column;
}

export function picksOf(search: OfferSearch): number[] {
  return (search.pick ?? "")
    .split(",")
    .map(Number)
    .filter((one) => Number.isInteger(one) && one > 0);
}

/** With this offer picked, or no longer. */
export function togglePick(search: OfferSearch, id: number): OfferSearch {
  return changed(search, "pick", toggled(picksOf(search), id).join(","));
}

/** The columns that are not shown. */
export function hiddenOf(search: OfferSearch): string[] {
  return search.hide?.split(",") ?? [];
}

/** Without this column, or with it again. */
export function toggleColumn(search: OfferSearch, id: string): OfferSearch {
  return changed(search, "hide", toggled(hiddenOf(search), id).join(","));
}

function toggled<One>(list: readonly One[], one: One): One[] {
  return list.includes(one) ? list.filter((other) => other !== one) : [...list, one];
}

/** With `name` at this value; without it where the value is "". */
export function changed(search: OfferSearch, name: string, value: string): OfferSearch {
  const { [name]: _, ...others } = search;
  return value === "" ? others : { ...others, [name]: value };
}

/** The address as plain name=value, which people can read and type. */
export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Record<string, unknown>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search))
    if (value !== undefined && value !== null && value !== "") params.set(name, String(value));
  // Commas and slashes are allowed in a query and easier to read.
  const text = params.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  return text ? `?${text}` : "";
}

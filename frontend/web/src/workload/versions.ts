/** Which versions of the parameters are kept, in words. */

import type { Versions } from "./types";

export const isKept = ({ kept }: Versions, version: number): boolean =>
  Number.isInteger(version) && kept.some(([first = NaN, last = NaN]) => first <= version && version <= last);

/** 0, 100 and 180 to 199. */
export function ranges({ kept }: Versions): string {
  const said = kept.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`));
  return said.length < 2 ? said.join("") : `${said.slice(0, -1).join(", ")} and ${said.at(-1)}`;
}

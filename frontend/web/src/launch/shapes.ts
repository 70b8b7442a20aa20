/** What the broker takes and sends about needs, quotes and orders, by the names of this page. */

import type { Schemas } from "@/api/client";

/** As the broker keeps it: null is not asked for. */
export type StatedNeed = Schemas["Need"];
/** As this page says it: what is not asked for is not in it. */
export type Need = { [name in keyof StatedNeed]: NonNullable<StatedNeed[name]> };
export type Outcome = Schemas["Outcome"];
export type Range = Schemas["Range"];
export type QuoteSite = Schemas["QuoteSite"];
export type Speed = Schemas["Speed"];
export type Quote = Schemas["Quote"];
export type Quotes = Schemas["Quotes"];
export type Resume = Schemas["Resume"];
export type Order = Schemas["Order"];
export type Example = Schemas["Example"];
export type Facet = Schemas["Facet"];
export type Relaxation = Schemas["Relaxation"];
/** What the refusal of a need carries. */
export type Refusal = Schemas["QuoteRefusalFields"];

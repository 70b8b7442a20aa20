/** What is filled in to register a machine: as it is sent, and what is wrong with it, in better words than a pattern's. */

export interface Wish {
  name: string;
  region: string;
  country: string;
  usd_per_hour: string;
}

/** As it is meant: without blanks at the ends, and with a comma for a point. */
export function wished({ name, region, country, usd_per_hour }: Wish): Wish {
  return {
    name: name.trim(),
    region: region.trim().toLowerCase(),
    country: country.trim().toUpperCase(),
    usd_per_hour: usd_per_hour
      .trim()
      .replace(/^\$\s*/, "")
      .replace(",", "."),
  };
}

/** By field; empty where all is well. The rules are the broker's own (NewHost in its schema), which has the last word. */
export function wrongIn({ name, region, country, usd_per_hour }: Wish): Partial<Wish> {
  const wrong: Partial<Wish> = {};
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    wrong.name = "Begin with a letter or digit; then also dots, dashes and underscores, but no blanks.";
  if (!/^[a-z0-9-]{1,30}\/[a-z0-9-]{1,30}$/.test(region))
    wrong.region = "Write two words with a slash between them, as home/berlin.";
  if (country && !/^[A-Z]{2}$/.test(country)) wrong.country = "Two letters, as DE.";
  if (!/^\d+(\.\d{1,6})?$/.test(usd_per_hour) || Number(usd_per_hour) <= 0)
    wrong.usd_per_hour = "A number above zero, as 0.40.";
  return wrong;
}

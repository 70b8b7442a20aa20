/** Programs to begin with. */

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { plural, usd } from "@/design/format";
import { examples } from "../broker";
import type { Example, StatedNeed } from "../shapes";

export function Examples({ onTake }: { onTake: (example: Example) => void }): ReactNode {
  const found = useQuery({ queryKey: ["examples"], queryFn: examples, staleTime: Infinity });
  if (found.data?.length === 0 || found.isError) return null;
  return (
    <div>
      <h3 className="label-caps mb-1.5">Or take an example</h3>
      <ul className="grid gap-2 [grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr))]">
        {!found.data && <li className="h-18 rounded-md border border-line" />}
        {found.data?.map((one) => (
          <li key={one.name}>
            <button
              type="button"
              onClick={() => onTake(one)}
              className="h-full w-full rounded-md border border-line px-3 py-2 text-left hover:bg-hover"
            >
              <span className="block text-sm font-medium">{one.title}</span>
              <span className="block text-xs text-soft">{told(one.need)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** What it asks for, in a line. */
function told({ accelerator, sites, budget_usd }: StatedNeed): string {
  const chips = accelerator ? [accelerator].flat().join(", ") : "any GPU";
  return [chips, sites ? plural(sites, "site") : null, budget_usd ? `at most ${usd(budget_usd)}` : null]
    .filter(Boolean)
    .join(", ");
}

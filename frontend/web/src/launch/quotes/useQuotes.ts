/** Quotes for what is filled in: asked when one stops typing, asked again when their promise is over. */

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { askQuotes } from "../broker";
import { needOf, type Form } from "../form";
import { expiry } from "../scale";
import type { Quotes } from "../shapes";

const SETTLES_MS = 500;
const AFTER_EXPIRY_MS = 500;

interface Asked {
  form: Form;
  program: string | undefined;
}

interface Asking extends Asked {
  /** Whether it is a need; looked at when it is asked, since a deadline may be over by then. */
  fits: boolean;
}

export function useQuotes(form: Form, program: string | undefined, enabled: boolean) {
  const [asking, setAsking] = useState<Asking>(() => ({ form, program, fits: fitting(form) }));
  const client = useQueryClient();
  useEffect(() => {
    const timer = window.setTimeout(() => setAsking({ form, program, fits: fitting(form) }), SETTLES_MS);
    return () => window.clearTimeout(timer);
  }, [form, program]);

  const key = keyOf(asking);
  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => ask(asking, signal),
    enabled: enabled && asking.fits,
    placeholderData: keepPreviousData,
    staleTime: Infinity,
    refetchOnReconnect: false,
    // In a hidden tab nobody waits for it: it is asked again when somebody looks.
    refetchInterval: ({ state }) => (state.data ? untilExpiry(state.data) : false),
  });
  const settled = keyOf({ form, program }).join() === key.join();
  /** Ask at once, and hand the answer out: for an order whose quote is over. */
  const askAgain = async (): Promise<Quotes> => {
    const fresh = await ask({ form, program });
    client.setQueryData(keyOf({ form, program }), fresh);
    return fresh;
  };
  return { ...query, old: !settled || query.isPlaceholderData || query.isFetching, fits: asking.fits, askAgain };
}

const ask = ({ form, program }: Asked, signal?: AbortSignal) =>
  askQuotes(needOf(form, Date.now(), program).need, signal);
const untilExpiry = ({ quotes }: Quotes) => Math.max(1000, expiry(quotes) - Date.now() + AFTER_EXPIRY_MS);
const fitting = (form: Form) => Object.keys(needOf(form, Date.now()).wrong).length === 0;

/** A need is the same need a second later, though its deadline is nearer. */
function keyOf({ form, program }: Asked): string[] {
  const { need } = needOf({ ...form, deadlineAt: "", deadlineHours: "1" }, 0, program);
  return ["quotes", JSON.stringify(need), form.deadlineAt || form.deadlineHours];
}

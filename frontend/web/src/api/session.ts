/** Whether the session ended while the page was open: elsewhere, by its age, or since the broker forgot it. */

import { hashKey, type QueryClient } from "@tanstack/react-query";
import { me } from "./me";
import { onNobody } from "./problem";

const ME = hashKey(me.queryKey);

let here = false; // Somebody is, as far as this page knows.

/** Who signs out knows that his session is over. */
export function leftByChoice(): void {
  here = false;
}

/** Call `ended` once a session, whichever call or stream heard of its end first. */
export function watchSession(client: QueryClient, ended: () => void): () => void {
  here = false;
  const unsubscribe = client.getQueryCache().subscribe(({ query }) => {
    if (query.queryHash !== ME) return;
    if (query.state.data) here = true;
    else if (query.state.data === null && here) {
      here = false;
      ended();
    }
  });
  // One refusal may have a reason of its own, so it is asked who is here.
  const unheard = onNobody(() => {
    if (here) client.fetchQuery({ ...me, staleTime: 0 }).catch(() => null);
  });
  return () => {
    unsubscribe();
    unheard();
  };
}

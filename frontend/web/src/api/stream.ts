/**
 * A stream of Server-Sent Events that outlives its connection.
 *
 * The browser comes back by itself after a cut line, with the id of the last event; after an answer that is an error
 * (a broker that restarts behind a proxy) it does not, so this does. A hidden page gives its connection back: a browser
 * has six for a site, and each open tab would hold one. Whoever comes back says where it was, so nothing is missed.
 */

import { currentTeam } from "./client";

export type StreamState = "connecting" | "live" | "away" | "ended";

export interface StreamOptions {
  /** Called with each event's name, data and id. */
  onEvent: (name: string, data: unknown) => void;
  onState?: (state: StreamState) => void;
  names: readonly string[];
  /** After this event the stream is over. */
  endsWith?: string;
}

const RETRY_MS = 2000;

/** Open it; call what is returned to close it. */
export function openStream(path: string, query: Record<string, string>, options: StreamOptions): () => void {
  let source: EventSource | null = null;
  let last = "";
  let timer = 0;
  let closed = false;

  const state = (now: StreamState) => options.onState?.(now);

  function connect() {
    window.clearTimeout(timer);
    source?.close();
    const params = new URLSearchParams(query);
    const team = currentTeam();
    if (team !== null) params.set("team", String(team));
    if (last) params.set("after", last);
    source = new EventSource(`${path}?${params}`);
    source.onopen = () => state("live");
    source.onerror = () => {
      state("away");
      if (source?.readyState === EventSource.CLOSED && !closed) timer = window.setTimeout(connect, RETRY_MS);
    };
    for (const name of options.names)
      source.addEventListener(name, (event) => take(name, event as MessageEvent<string>));
    if (options.endsWith) source.addEventListener(options.endsWith, () => end());
  }

  function take(name: string, event: MessageEvent<string>) {
    if (event.lastEventId) last = event.lastEventId;
    options.onEvent(name, JSON.parse(event.data));
  }

  function end() {
    state("ended");
    close();
  }

  function lookAway() {
    if (closed) return;
    if (document.hidden) {
      window.clearTimeout(timer);
      source?.close();
      state("away");
    } else connect();
  }

  function close() {
    closed = true;
    window.clearTimeout(timer);
    source?.close();
    document.removeEventListener("visibilitychange", lookAway);
  }

  state("connecting");
  document.addEventListener("visibilitychange", lookAway);
  if (!document.hidden) connect();
  return close;
}

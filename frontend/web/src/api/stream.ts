/**
 * A stream of Server-Sent Events that outlives its connection.
 *
 * The browser comes back by itself after a cut line, with the id of the last event; after an answer that is an error
 * (a broker that restarts behind a proxy) it does not, so this does. A hidden page gives its connection back: a browser
 * has six for a site, and each open tab would hold one. Whoever comes back says where it was, so nothing is missed.
 */

import { currentTeam, problemOf, type Problem } from "./client";

export type StreamState = "connecting" | "live" | "away" | "ended";

export interface StreamOptions {
  /** Called with each event's name, data and id. */
  onEvent: (name: string, data: unknown) => void;
  onState?: (state: StreamState) => void;
  /** It is not ours to read, or not there any more: nobody comes back by himself. */
  onRefused?: (problem: Problem) => void;
  names: readonly string[];
  /** After this event the stream is over. */
  endsWith?: string;
}

const RETRY_MS = 2000;
const LOOK_MS = 5000;
/** So much later than it was due, a timer tells that the machine slept: what it held open is dead, often unnoticed. */
const SLEPT_MS = 15_000;
/** After so long without a word it is opened anew: a line that is dead on the way looks like one on which nothing happens. */
const SILENT_MS = 45_000;
const FOR_GOOD = new Set([401, 403, 404]);

/** Open it; call what is returned to close it. */
export function openStream(path: string, query: Record<string, string>, options: StreamOptions): () => void {
  let source: EventSource | null = null;
  let last = "";
  let timer = 0;
  let closed = false;
  let looked = Date.now();
  let heard = Date.now();

  const state = (now: StreamState) => options.onState?.(now);

  function address(): string {
    const params = new URLSearchParams(query);
    const team = currentTeam();
    if (team !== null) params.set("team", String(team));
    if (last) params.set("after", last);
    return `${path}?${params}`;
  }

  function connect() {
    window.clearTimeout(timer);
    source?.close();
    if (closed) return;
    heard = Date.now();
    source = new EventSource(address());
    source.onopen = () => state("live");
    source.onerror = () => {
      state("away");
      if (source?.readyState === EventSource.CLOSED && !closed) void turnedAway();
    };
    for (const name of options.names)
      source.addEventListener(name, (event) => take(name, event as MessageEvent<string>));
    if (options.endsWith) source.addEventListener(options.endsWith, () => end());
  }

  function take(name: string, event: MessageEvent<string>) {
    heard = Date.now();
    if (event.lastEventId) last = event.lastEventId;
    options.onEvent(name, JSON.parse(event.data));
  }

  /** The browser does not say why it was turned away, so it is asked once more. */
  async function turnedAway() {
    const turned = source;
    const answer = await ask(address());
    if (closed || source !== turned) return;
    if (answer?.status === 204) return end();
    const problem = answer && !answer.ok ? await problemOf(answer) : null;
    if (closed || source !== turned) return;
    if (problem && FOR_GOOD.has(problem.status)) {
      close();
      options.onRefused?.(problem);
      return;
    }
    if (problem?.status === 422) last = ""; // Where we were is unknown there: all is told anew.
    timer = window.setTimeout(connect, RETRY_MS);
  }

  function end() {
    state("ended");
    close();
  }

  function lookAway() {
    if (closed) return;
    looked = Date.now(); // Timers of a hidden page are late without any sleep.
    if (document.hidden) {
      window.clearTimeout(timer);
      source?.close();
      source = null;
      state("away");
    } else connect();
  }

  function lookAfterIt() {
    const late = Date.now() - looked - LOOK_MS;
    looked = Date.now();
    if (document.hidden) return;
    if (late > SLEPT_MS) comeBack();
    else if (source?.readyState === EventSource.OPEN && looked - heard > SILENT_MS) connect();
  }

  function comeBack() {
    state("away");
    connect();
  }

  function close() {
    closed = true;
    window.clearTimeout(timer);
    window.clearInterval(watch);
    source?.close();
    document.removeEventListener("visibilitychange", lookAway);
    window.removeEventListener("online", comeBack);
  }

  const watch = window.setInterval(lookAfterIt, LOOK_MS);
  state("connecting");
  document.addEventListener("visibilitychange", lookAway);
  window.addEventListener("online", comeBack);
  if (!document.hidden) connect();
  return close;
}

/** Status and body of an answer; of a stream that opens after all only that it does. Null: nobody answers. */
async function ask(address: string): Promise<Response | null> {
  const enough = new AbortController();
  try {
    const answer = await fetch(address, {
      credentials: "same-origin",
      headers: { Accept: "text/event-stream" },
      signal: enough.signal,
    });
    if (answer.ok) enough.abort();
    return answer;
  } catch {
    return null;
  }
}

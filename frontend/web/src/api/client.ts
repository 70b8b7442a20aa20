/** The door to the broker: typed by its OpenAPI schema, with the session's cookie and the team that is looked at. */

import createClient, { type Middleware } from "openapi-fetch";
import { Problem, problemIn } from "./problem";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

export { Problem };

let team: number | null = Number(read("team")) || null;

/** The team whose things are shown; null is the one that the broker takes: one's own. */
export const currentTeam = () => team;

export function chooseTeam(id: number | null): void {
  team = id;
  try {
    if (id === null) localStorage.removeItem("team");
    else localStorage.setItem("team", String(id));
  } catch {
    // Storage is closed to us: the choice lasts as long as the page.
  }
}

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function csrfToken(): string {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

/** Headers that every request of the page has. */
export function ownHeaders(): Record<string, string> {
  return { "X-CSRFToken": csrfToken(), ...(team === null ? {} : { "X-Team": String(team) }) };
}

const own: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(ownHeaders())) request.headers.set(name, value);
    return request;
  },
  async onResponse({ response }) {
    if (!response.ok) throw await problemOf(response);
  },
  onError() {
    return new Problem(
      0,
      "unreachable",
      "The broker does not answer.",
      "Check the connection; this page tries again by itself.",
    );
  },
};

/** Read what a refusal says, in whichever form it came. */
export async function problemOf(response: Response): Promise<Problem> {
  return problemIn(response.status, await response.json().catch(() => null));
}

export const api = createClient<paths>({ baseUrl: globalThis.location?.origin, credentials: "same-origin" });
api.use(own);

/** The data of an answer; refusals were thrown before. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const found = await answer;
  return found.data as T;
}

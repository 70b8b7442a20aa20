/** What this page asks of the broker. */

import { api, data, ownHeaders, Problem } from "@/api/client";
import { problemIn } from "@/api/problem";
import type { Example, Facet, Need, Order, Quotes } from "./shapes";

export async function askQuotes(need: Need, signal?: AbortSignal): Promise<Quotes> {
  return (await data(api.POST("/v1/quotes", { body: need as never, signal }))) as unknown as Quotes;
}

export async function order(body: Order, key: string): Promise<{ id: number }> {
  const headers = { "Idempotency-Key": key };
  return (await data(api.POST("/v1/workloads", { body: body as never, headers }))) as unknown as { id: number };
}

type Untyped = (path: string) => Promise<{ data?: unknown }>;

// until the schema has it
export async function examples(): Promise<Example[]> {
  try {
    const found = (await data((api.GET as unknown as Untyped)("/v1/examples"))) as { results: Example[] };
    return found.results;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return []; // An older broker has none.
    throw error;
  }
}

// until the schema has it
export async function facets(): Promise<Record<string, Facet[]>> {
  return (await data((api.GET as unknown as Untyped)("/v1/offers/facets"))) as Record<string, Facet[]>;
}

/** Whether the broker has it already, from us. */
export async function hasProgram(sha256: string, signal?: AbortSignal): Promise<boolean> {
  try {
    return (
      await fetch(`/v1/programs/${sha256}`, {
        method: "HEAD",
        headers: ownHeaders(),
        credentials: "same-origin",
        signal,
      })
    ).ok;
  } catch {
    throw new Problem(
      0,
      "unreachable",
      "The broker does not answer.",
      "Check the connection and order again; nothing was ordered.",
    );
  }
}

/** Upload; said: called with the share that is sent. XMLHttpRequest, since fetch tells nothing of how far an upload is. */
export function putProgram(
  sha256: string,
  content: Uint8Array<ArrayBuffer>,
  said: (share: number) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/v1/programs/${sha256}`);
    request.setRequestHeader("Content-Type", "application/gzip");
    for (const [name, value] of Object.entries(ownHeaders())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => said(total ? loaded / total : 0);
    request.onerror = () =>
      failed(
        new Problem(
          0,
          "unreachable",
          "The upload was cut off.",
          "Check the connection and order again; nothing was ordered.",
        ),
      );
    request.onabort = () => failed(signal.reason);
    request.onload = () => (request.status < 300 ? done() : failed(refusal(request)));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(content);
  });
}

function refusal(request: XMLHttpRequest): Problem {
  try {
    return problemIn(request.status, JSON.parse(request.responseText));
  } catch {
    return problemIn(request.status, null);
  }
}

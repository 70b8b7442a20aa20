/** What this page asks of the broker. */

import { api, data, ownHeaders, Problem, type Schemas } from "@/api/client";
import { problemIn } from "@/api/problem";
import type { Example, Need, Order, Quotes } from "./shapes";

export const askQuotes = (need: Need, signal?: AbortSignal): Promise<Quotes> =>
  // openapi-fetch makes lists of the curve's pairs.
  data(api.POST("/v1/quotes", { body: need, signal })) as Promise<Quotes>;

export const order = (body: Order, key: string): Promise<Schemas["Workload"]> =>
  data(api.POST("/v1/workloads", { body, headers: { "Idempotency-Key": key } }));

export const examples = async (): Promise<Example[]> => (await data(api.GET("/v1/examples"))).results;

export const facets = (): Promise<Schemas["Facets"]> => data(api.GET("/v1/offers/facets"));

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

import { QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { data, api } from "./client";
import { forget, me } from "./me";
import { leftByChoice, watchSession } from "./session";

// The client takes the page's address and its fetch when it is loaded.
const broker = vi.hoisted(() => {
  const broker = { signedIn: true, asked: [] as string[] };
  vi.stubGlobal("location", { origin: "http://broker" });
  vi.stubGlobal("document", { cookie: "" });
  vi.stubGlobal("fetch", async (request: Request) => {
    broker.asked.push(new URL(request.url).pathname);
    const refusal = { error: { code: "no_key", message: "no API key was sent" } };
    return broker.signedIn ? Response.json({ username: "ada" }) : Response.json(refusal, { status: 401 });
  });
  return broker;
});

let client: QueryClient;
let ended: ReturnType<typeof vi.fn<() => void>>;
let stop: () => void;

beforeEach(() => {
  broker.signedIn = true;
  broker.asked = [];
  client = new QueryClient();
  ended = vi.fn<() => void>();
  stop = watchSession(client, ended);
});

afterEach(() => stop());

const call = () => data(api.GET("/v1/hosts")).catch((error: unknown) => error);

describe("a session that ends while the page is open", () => {
  it("is told of once, however many calls are refused", async () => {
    await client.fetchQuery(me);
    broker.signedIn = false;

    await Promise.all([call(), call()]);
    await call();
    await vi.waitFor(() => expect(ended).toHaveBeenCalled());
    await call();

    expect(ended).toHaveBeenCalledTimes(1);
    expect(client.getQueryData(me.queryKey)).toBeNull();
  });

  it("is noticed when the next look at who is here says so", async () => {
    await client.fetchQuery(me);
    broker.signedIn = false;

    await client.fetchQuery({ ...me, staleTime: 0 });

    expect(ended).toHaveBeenCalledTimes(1);
  });

  it("is noticed again after one was in again", async () => {
    for (const _ of [1, 2]) {
      broker.signedIn = true;
      await client.fetchQuery({ ...me, staleTime: 0 });
      broker.signedIn = false;
      await client.fetchQuery({ ...me, staleTime: 0 });
    }

    expect(ended).toHaveBeenCalledTimes(2);
  });

  it("is not one where nobody was in", async () => {
    broker.signedIn = false;

    await client.fetchQuery(me);
    await call();

    expect(ended).not.toHaveBeenCalled();
    expect(broker.asked.filter((path) => path === "/v1/me")).toHaveLength(1);
  });

  it("is not one when who was in signs out", async () => {
    await client.fetchQuery(me);
    broker.signedIn = false;

    leftByChoice();
    await forget(client);
    await client.fetchQuery({ ...me, staleTime: 0 });

    expect(ended).not.toHaveBeenCalled();
  });
});

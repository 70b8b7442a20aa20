/** One click: pack, upload what the broker does not have, order, go to the run. */

import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { Problem } from "@/api/client";
import { hasProgram, order, putProgram } from "../broker";
import { pack } from "../program/packing";
import type { Program } from "../program/program";
import { successor } from "../scale";
import type { Order, Quote, Quotes, Resume } from "../shapes";

export interface Intent {
  program: Program;
  args: string[];
  name: string;
  budget: string | undefined;
  resume: Resume | null;
}

export interface Working {
  quote: number;
  phase: "packing" | "uploading" | "ordering" | "asking";
  /** Of the upload. */
  share: number;
}

/** The quote was over when it was ordered: what it was, and what there is now. */
export interface Moved {
  old: Quote;
  fresh: Quote | null;
}

export function orderOf(quote: Quote, sha256: string, { program, args, name, budget, resume }: Intent): Order {
  return {
    quote: quote.id,
    program: sha256,
    script: program.script,
    args,
    ...(name ? { name } : {}),
    ...(budget === undefined ? {} : { budget_usd: budget }),
    ...(resume ? { resume } : {}),
  };
}

export function useOrder(askAgain: () => Promise<Quotes>) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [working, setWorking] = useState<Working | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [moved, setMoved] = useState<Moved | null>(null);
  const stop = useRef<AbortController | null>(null);
  // A repeated try of the same order has the same key, so that it cannot order twice.
  const keys = useRef(new Map<string, string>());

  async function place(quote: Quote, intent: Intent): Promise<void> {
    if (stop.current) return;
    const control = (stop.current = new AbortController());
    const at = (phase: Working["phase"], share = 0) => setWorking({ quote: quote.id, phase, share });
    setError(null);
    setMoved(null);
    try {
      at("packing");
      const { sha256, content } = await pack(intent.program);
      const upload = async () => {
        at("uploading");
        await putProgram(sha256, content, (share) => at("uploading", share), control.signal);
      };
      if (!(await hasProgram(sha256, control.signal))) await upload();
      at("ordering");
      const body = orderOf(quote, sha256, intent);
      const said = JSON.stringify(body);
      const key = keys.current.get(said) ?? crypto.randomUUID();
      keys.current.set(said, key);
      const { id } = await order(body, key);
      void client.invalidateQueries({ queryKey: ["workloads"] });
      void client.invalidateQueries({ queryKey: ["me"] });
      await navigate({ to: "/workloads/$id", params: { id: String(id) } });
    } catch (failed) {
      if (!control.signal.aborted) await explain(failed, quote, at);
    } finally {
      stop.current = null;
      setWorking(null);
    }
  }

  async function explain(failed: unknown, quote: Quote, at: (phase: Working["phase"]) => void): Promise<void> {
    if (!(failed instanceof Problem && ["quote_expired", "quote_taken"].includes(failed.code))) return setError(failed);
    at("asking");
    try {
      setMoved({ old: quote, fresh: successor(quote, (await askAgain()).quotes) });
    } catch (unmet) {
      setError(unmet);
    }
  }

  return {
    place,
    working,
    error,
    moved,
    forget: () => {
      setError(null);
      setMoved(null);
    },
    cancel: () => stop.current?.abort(),
  };
}

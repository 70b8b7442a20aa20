/**
 * Offers as they are now: what the stream told since the page was read, over what the page said.
 *
 * Each row listens to its own offer alone, so a change draws one row anew, not a table of a hundred thousand.
 */

import { useSyncExternalStore } from "react";
import type { Schemas } from "@/api/client";
import { openStream, type StreamState } from "@/api/stream";

export type Offer = Schemas["Offer"];

export interface Live {
  offer: Offer;
  gone: boolean;
  /** How often it changed since the page was read; 0: never. */
  changes: number;
}

/** What the stream told, offer by offer. */
export class LiveOffers {
  private told = new Map<number, Live>();
  private rows = new Map<number, Set<() => void>>();
  private others = new Set<() => void>();
  private dirty = new Set<number>();
  private frame = 0;
  private known: ReadonlySet<number> = new Set();
  private unknown = new Set<number>();
  state: StreamState = "connecting";
  /** Offers that fit the filters and are not in the list, and rows whose price moved: for "show them". */
  news = { fresh: 0, moved: 0 };

  constructor(private readonly later: (run: () => void) => number = (run) => requestAnimationFrame(run)) {}

  /** The list was read anew: what was told before is in it. */
  reset(): void {
    this.told.clear();
    this.unknown.clear();
    this.dirty.clear();
    this.news = { fresh: 0, moved: 0 };
    this.ring();
  }

  /** These are in the list now. */
  know(ids: ReadonlySet<number>): void {
    this.known = ids;
    for (const id of [...this.unknown]) if (ids.has(id)) this.unknown.delete(id);
    this.count();
  }

  take(offer: Offer, gone: boolean): void {
    const before = this.told.get(offer.id);
    this.told.set(offer.id, { offer, gone, changes: (before?.changes ?? 0) + 1 });
    if (gone) this.unknown.delete(offer.id);
    else if (!this.known.has(offer.id)) this.unknown.add(offer.id);
    this.dirty.add(offer.id);
    this.frame ||= this.later(() => this.flush());
  }

  setState(state: StreamState): void {
    this.state = state;
    this.ring();
  }

  get(id: number): Live | undefined {
    return this.told.get(id);
  }

  /** Call when this offer changes; what is returned ends it. */
  onRow(id: number, listener: () => void): () => void {
    const all = this.rows.get(id) ?? new Set();
    this.rows.set(id, all.add(listener));
    return () => {
      all.delete(listener);
      if (all.size === 0) this.rows.delete(id);
    };
  }

  onNews(listener: () => void): () => void {
    this.others.add(listener);
    return () => this.others.delete(listener);
  }

  private flush(): void {
    this.frame = 0;
    for (const id of this.dirty) for (const one of this.rows.get(id) ?? []) one();
    this.dirty.clear();
    this.count();
  }

  private count(): void {
    let moved = 0;
    for (const id of this.told.keys()) if (this.known.has(id)) moved += 1;
    const news = { fresh: this.unknown.size, moved };
    if (news.fresh === this.news.fresh && news.moved === this.news.moved) return;
    this.news = news;
    this.ring();
  }

  private ring(): void {
    for (const one of this.others) one();
  }
}

/** Follow the book with these filters; what is returned ends it. */
export function follow(live: LiveOffers, filters: Record<string, string>): () => void {
  return openStream("/v1/offers/stream", filters, {
    names: ["offer", "gone"],
    onEvent: (name, offer) => live.take(offer as Offer, name === "gone"),
    onState: (state) => live.setState(state),
  });
}

export function useLive(live: LiveOffers, id: number): Live | undefined {
  return useSyncExternalStore(
    (listener) => live.onRow(id, listener),
    () => live.get(id),
  );
}

export function useNews(live: LiveOffers): LiveOffers["news"] {
  return useSyncExternalStore(
    (listener) => live.onNews(listener),
    () => live.news,
  );
}

export function useStreamState(live: LiveOffers): StreamState {
  return useSyncExternalStore(
    (listener) => live.onNews(listener),
    () => live.state,
  );
}

import { describe, expect, it, vi } from "vitest";
import { LiveOffers, type Offer } from "./live";

const offer = (id: number, usd = "1.000000") => ({ id, usd_per_gpu_hour: usd }) as Offer;

function store() {
  const frames: (() => void)[] = [];
  const live = new LiveOffers((run) => frames.push(run));
  return { live, draw: () => frames.splice(0).forEach((run) => run()) };
}

describe("what the stream tells", () => {
  it("draws a row once a frame, and no other row", () => {
    const { live, draw } = store();
    const [three, four] = [vi.fn(), vi.fn()];
    live.onRow(3, three);
    live.onRow(4, four);

    live.take(offer(3, "2.000000"), false);
    live.take(offer(3, "3.000000"), false);
    draw();

    expect(three).toHaveBeenCalledOnce();
    expect(four).not.toHaveBeenCalled();
    expect(live.get(3)).toEqual({ offer: offer(3, "3.000000"), gone: false, changes: 2 });
  });

  it("counts what is new and what has moved", () => {
    const { live, draw } = store();
    live.know(new Set([1, 2]));

    live.take(offer(1), false);
    live.take(offer(9), false);
    live.take(offer(8), false);
    live.take(offer(8), true);
    draw();

    expect(live.news).toEqual({ fresh: 1, moved: 1 });
  });

  it("forgets when the list is read anew, and knows what came with it", () => {
    const { live, draw } = store();
    live.take(offer(9), false);
    draw();
    expect(live.news.fresh).toBe(1);

    live.know(new Set([9]));
    expect(live.news).toEqual({ fresh: 0, moved: 1 });

    live.reset();
    expect(live.news).toEqual({ fresh: 0, moved: 0 });
    expect(live.get(9)).toBeUndefined();
  });

  it("leaves who no longer listens in peace", () => {
    const { live, draw } = store();
    const listener = vi.fn();
    live.onRow(1, listener)();

    live.take(offer(1), false);
    draw();

    expect(listener).not.toHaveBeenCalled();
  });
});

import { describe, expect, it } from "vitest";
import { COLUMNS, FROM_Y, land, STEP } from "./land";
import { LINE_PX, placeLabels, project, viewOf, WORLD } from "./world";

/** Whether the map has land at a place. */
function isLand(latitude: number, longitude: number): boolean {
  const { x, y } = project(latitude, longitude);
  return land()[Math.floor((y - FROM_Y) / STEP) * COLUMNS + Math.floor((x - WORLD.x) / STEP)] ?? false;
}

describe("the map", () => {
  // The corners of the projection as published: the equator's end and the pole's line.
  it("is Equal Earth", () => {
    expect(project(0, 180).x).toBeCloseTo(2.7066, 3);
    expect(project(90, 0).y).toBeCloseTo(-1.3173, 3);
    expect(project(0, 0)).toEqual({ x: 0, y: -0 });
  });

  it.each([
    ["Kansas", 38.5, -98],
    ["Brasilia", -15.8, -47.9],
    ["Warsaw", 52.2, 21],
    ["Chad", 15, 19],
    ["Novosibirsk", 55, 83],
    ["Alice Springs", -23.7, 133.9],
    ["Nagpur", 21.1, 79.1],
  ])("has land at %s", (_, latitude, longitude) => expect(isLand(latitude, longitude)).toBe(true));

  it.each([
    ["the Atlantic", 40, -40],
    ["the Pacific", 0, -140],
    ["the Indian Ocean", -20, 80],
    ["the Bay of Bengal", 12, 88],
    ["the Gulf of Mexico", 25, -90],
  ])("has none in %s", (_, latitude, longitude) => expect(isLand(latitude, longitude)).toBe(false));

  it("is small", () => expect(land().length).toBeLessThan(30_000));
});

describe("the view", () => {
  it("shows all points, in the shape that is wanted", () => {
    const points = [project(52, 13), project(37, -122), project(-33, 151)];
    const view = viewOf(points, 2);
    expect(view.width / view.height).toBeCloseTo(2);
    for (const { x, y } of points) {
      expect(x).toBeGreaterThan(view.x);
      expect(x).toBeLessThan(view.x + view.width);
      expect(y).toBeGreaterThan(view.y);
      expect(y).toBeLessThan(view.y + view.height);
    }
  });

  it("goes near where all is near, but not too near", () => {
    const view = viewOf([project(52, 13)], 2);
    expect(view.width).toBeCloseTo(2.4);
  });

  it("is the world where there is nothing", () => expect(viewOf([], 2).width).toBeGreaterThanOrEqual(WORLD.height * 2));
});

describe("labels", () => {
  const room = { width: 400, height: 200 };

  it("do not lie upon one another", () => {
    const points = Array.from({ length: 6 }, () => ({ x: 100, y: 100, width: 80 }));
    const ys = placeLabels(points, room)
      .map((one) => one.y)
      .sort((a, b) => a - b);
    for (let at = 1; at < ys.length; at++)
      expect((ys[at] as number) - (ys[at - 1] as number)).toBeGreaterThanOrEqual(LINE_PX);
  });

  it("turn to the left at the right edge", () =>
    expect(placeLabels([{ x: 390, y: 100, width: 80 }], room)[0]?.side).toBe("left"));
});

/**
 * Where things stand on our map of the world.
 *
 * Equal Earth projection: Savric, Patterson, Jenny, "The Equal Earth map projection", 2018,
 * https://doi.org/10.1080/13658816.2018.1504949
 */

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  width: number;
  height: number;
}

const [A1, A2, A3, A4] = [1.340264, -0.081106, 0.000893, 0.003796] as const;
const M = Math.sqrt(3) / 2;

/** Degrees to the plane: x from -2.71 to 2.71, y from -1.32 (north) to 1.32 (south), as screens count. */
export function project(latitude: number, longitude: number): Point {
  const theta = Math.asin(M * Math.sin((latitude * Math.PI) / 180));
  const t2 = theta * theta;
  const t6 = t2 * t2 * t2;
  const lambda = (longitude * Math.PI) / 180;
  const x = (lambda * Math.cos(theta)) / (M * (A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2)));
  return { x, y: -theta * (A1 + A2 * t2 + t6 * (A3 + A4 * t2)) };
}

/** What is ever shown: without Antarctica. */
export const WORLD: Box = { x: -2.7066, y: -1.25, width: 5.4132, height: 2.3 };
const LEAST = 2.4; // Of the world's width of 5.4: nearer, the dots of land say nothing.
const ROOM = 0.3;

/** The part of the world that shows all points with some room, in the shape of what it is shown in. */
export function viewOf(points: readonly Point[], aspect: number): Box {
  if (points.length === 0) return fitted(WORLD, aspect);
  const xs = points.map((one) => one.x);
  const ys = points.map((one) => one.y);
  const span =
    Math.max(Math.max(...xs) - Math.min(...xs), (Math.max(...ys) - Math.min(...ys)) * aspect, LEAST / (1 + ROOM)) *
    (1 + ROOM);
  const middle = { x: (Math.max(...xs) + Math.min(...xs)) / 2, y: (Math.max(...ys) + Math.min(...ys)) / 2 };
  return fitted(
    { x: middle.x - span / 2, y: middle.y - span / aspect / 2, width: span, height: span / aspect },
    aspect,
  );
}

/** Of the wanted shape, not larger than the world and inside it as far as it goes. */
function fitted(box: Box, aspect: number): Box {
  const width = Math.min(Math.max(box.width, box.height * aspect), Math.max(WORLD.width, WORLD.height * aspect));
  const height = width / aspect;
  const inside = (at: number, size: number, from: number, room: number) =>
    size >= room ? from + (room - size) / 2 : Math.min(Math.max(at, from), from + room - size);
  return {
    x: inside(box.x + (box.width - width) / 2, width, WORLD.x, WORLD.width),
    y: inside(box.y + (box.height - height) / 2, height, WORLD.y, WORLD.height),
    width,
    height,
  };
}

export interface Label {
  x: number;
  y: number;
  /** Which side of its point it is on. */
  side: "left" | "right";
}

export const LINE_PX = 16;
const GAP_PX = 9;

/** A place for each label beside its point, none upon another: widths and points in pixels. */
export function placeLabels(
  points: readonly (Point & { width: number })[],
  room: { width: number; height: number },
): Label[] {
  const placed: (Label & { from: number; to: number })[] = [];
  const order = points.map((_, at) => at).sort((a, b) => (points[a] as Point).y - (points[b] as Point).y);
  const found: Label[] = [];
  for (const at of order) {
    const point = points[at] as Point & { width: number };
    const right = point.x + GAP_PX + point.width <= room.width || point.x < room.width / 2;
    const from = right
      ? Math.min(point.x + GAP_PX, Math.max(0, room.width - point.width))
      : Math.max(0, point.x - GAP_PX - point.width);
    const label = {
      x: right ? from : from + point.width,
      y: point.y,
      side: right ? ("right" as const) : ("left" as const),
      from,
      to: from + point.width,
    };
    const free = (y: number) =>
      placed.every((one) => Math.abs(one.y - y) >= LINE_PX || one.to < label.from || one.from > label.to);
    const inside = (y: number) => y >= LINE_PX / 2 && y <= room.height - LINE_PX / 2;
    const steps = Array.from(
      { length: 2 * points.length + 1 },
      (_, step) => (step % 2 ? 1 : -1) * Math.ceil(step / 2) * LINE_PX,
    );
    label.y = steps.map((step) => point.y + step).find((y) => inside(y) && free(y)) ?? point.y;
    placed.push(label);
    found[at] = { x: label.x, y: label.y, side: label.side };
  }
  return found;
}

/** Lines over time, drawn by uPlot, in the page's colours; with the same figures as a table for who cannot see them. */

import { useEffect, useId, useMemo, useRef, type ReactNode } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import "./chart.css";
import { clock, count, day } from "./format";

export interface Line {
  label: string;
  values: readonly (number | null)[];
  /** A band of low and high around it. */
  low?: readonly (number | null)[];
  high?: readonly (number | null)[];
  stepped?: boolean;
}

/** Something that happened at a moment, marked on the chart. */
export interface Mark {
  x: number;
  label: string;
  tone?: "warn" | "bad" | "good";
  /** On its flag; else its number, from one. */
  flag?: string;
  /** It is looked at elsewhere on the page. */
  strong?: boolean;
}

export interface ChartProps {
  label: string;
  /** Seconds since 1970, or any number when xIs is "number". */
  xs: readonly number[];
  lines: readonly Line[];
  marks?: readonly Mark[];
  height?: number;
  xIs?: "time" | "number";
  xLabel?: string;
  format: (value: number) => string;
  log?: boolean;
  /** Charts with the same word show the same x under the pointer. */
  together?: string;
}

const COLOURS = ["--color-line-1", "--color-line-2", "--color-line-3", "--color-line-4"];
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
/** Ticks by how far apart they are: [seconds, text, and in its place where a year, month, day, hour, minute, second turns]. */
const TIMES: uPlot.Axis.Values = [
  [3600 * 24 * 365, "{YYYY}", null, null, null, null, null, null, 0],
  [3600 * 24 * 28, "{MMM}", "{YYYY}", null, null, null, null, null, 0],
  [3600 * 24, "{D} {MMM}", "{YYYY}", null, null, null, null, null, 0],
  // The day stands below the time where it begins.
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** A colour as the page has it now: uPlot draws on a canvas, which knows no variables. */
function colour(element: Element, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function withAlpha(rgb: string, alpha: number): string {
  return rgb.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
}

function options(element: HTMLElement, given: ChartProps, marks: { current: readonly Mark[] }): uPlot.Options {
  const ink = colour(element, "--color-soft");
  const grid = colour(element, "--color-line");
  const font = "11px ui-sans-serif, system-ui, sans-serif";
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
  const series: uPlot.Series[] = [
    {
      label: given.xLabel ?? "Time",
      value: (_, x) =>
        x == null ? "" : given.xIs === "number" ? String(x) : `${day(new Date(x * 1000))} ${clock(new Date(x * 1000))}`,
    },
  ];
  const bands: uPlot.Band[] = [];
  given.lines.forEach((line, index) => {
    const stroke = colour(element, COLOURS[index % COLOURS.length] as string);
    const dash = DASHES[index % DASHES.length];
    const paths = line.stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    series.push({
      label: line.label,
      stroke,
      width: 1.75,
      dash,
      paths,
      spanGaps: true,
      points: { show: false },
      value: (_, y) => (y == null ? "–" : given.format(y)),
    });
    if (line.low && line.high) {
      const hidden = {
        class: "chart-edge",
        stroke: "transparent",
        width: 0,
        paths,
        points: { show: false },
        value: (_: uPlot, y: number | null) => (y == null ? "–" : given.format(y)),
      };
      series.push({ ...hidden, label: "high" }, { ...hidden, label: "low" });
      bands.push({ series: [series.length - 2, series.length - 1], fill: withAlpha(stroke, 0.14) });
    }
  });
  return {
    width: element.clientWidth,
    height: given.height ?? 220,
    series,
    bands,
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: given.xIs !== "number" },
      y: {
        distr: given.log ? 3 : 1,
        range: given.log
          ? undefined
          : (_, low, high) => (low == null ? [0, 1] : uPlot.rangeNum(low, high, 0.08, false)),
      },
    },
    axes: [
      {
        ...axis,
        size: 42,
        ...(given.xIs === "number"
          ? { values: (_: uPlot, ticks: number[]) => ticks.map(count) }
          : { values: TIMES, space: 80 }),
      },
      { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : given.format(tick))) },
    ],
    cursor: {
      points: { size: 7 },
      drag: { x: true, y: false },
      ...(given.together ? { sync: { key: given.together } } : {}),
    },
    legend: { live: true, markers: { width: 2 } },
    hooks: { draw: [(plot) => drawMarks(plot, marks.current, element)] },
  };
}

function drawMarks(plot: uPlot, marks: readonly Mark[], element: HTMLElement): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px ui-sans-serif, system-ui, sans-serif`;
  marks.forEach((mark, index) => {
    const x = Math.round(plot.valToPos(mark.x, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    const stroke = colour(element, `--color-${mark.tone ?? "warn"}`);
    ctx.strokeStyle = ctx.fillStyle = stroke;
    ctx.setLineDash(mark.strong ? [] : [3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.lineWidth = (mark.strong ? 2.5 : 1) * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    const text = mark.flag ?? `${index + 1}`;
    const width = ctx.measureText(text).width + 8 * devicePixelRatio;
    ctx.fillRect(x - width / 2, bbox.top, width, 15 * devicePixelRatio);
    ctx.fillStyle = colour(element, "--color-card");
    ctx.textAlign = "center";
    ctx.fillText(text, x, bbox.top + 11 * devicePixelRatio);
  });
  ctx.restore();
}

function table(given: ChartProps): uPlot.AlignedData {
  const columns: (readonly (number | null)[])[] = [];
  for (const line of given.lines) {
    columns.push(line.values);
    if (line.low && line.high) columns.push(line.high, line.low);
  }
  return [given.xs, ...columns] as unknown as uPlot.AlignedData;
}

export default function Chart(props: ChartProps): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const marks = useRef<readonly Mark[]>([]);
  const latest = useRef(props);
  const id = useId();
  const shape = useMemo(
    () =>
      JSON.stringify([
        props.lines.map((one) => [one.label, one.stepped, !!one.low]),
        props.height,
        props.log,
        props.xIs,
        props.together,
      ]),
    [props.lines, props.height, props.log, props.xIs, props.together],
  );

  useEffect(() => {
    latest.current = props;
  });

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    let size = element.clientWidth;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, latest.current, marks), table(latest.current), element);
    };
    draw();
    const resized = new ResizeObserver(() => {
      if (element.clientWidth === size) return;
      size = element.clientWidth;
      plot.current?.setSize({ width: size, height: props.height ?? 220 });
    });
    resized.observe(element);
    const themed = new MutationObserver(draw);
    themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
    // A new chart only when its shape is another; figures are set below.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [shape]);

  useEffect(() => {
    marks.current = props.marks ?? [];
    plot.current?.setData(table(props));
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [props.xs, props.lines, props.marks]);

  return (
    <figure aria-labelledby={id} className="min-w-0">
      <figcaption id={id} className="sr-only">
        {summary(props)}
      </figcaption>
      <div ref={box} aria-hidden="true" className="w-full" style={{ minHeight: (props.height ?? 220) + 28 }} />
    </figure>
  );
}

/** In words what the lines show. */
function summary({ label, lines, format }: ChartProps): string {
  const said = lines.map((line) => {
    const known = line.values.filter((one): one is number => one !== null);
    if (known.length === 0) return `${line.label}: nothing yet`;
    const [first, last] = [known[0] as number, known[known.length - 1] as number];
    return `${line.label}: from ${format(first)} to ${format(last)}, lowest ${format(Math.min(...known))}, highest ${format(Math.max(...known))}`;
  });
  return `${label}. ${said.join(". ")}.`;
}

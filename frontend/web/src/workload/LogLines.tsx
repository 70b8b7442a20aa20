/** Lines of a log, however many: only those in sight are on the page. It stays at the end until one scrolls up. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useRef, useState, type ReactNode } from "react";
import { Button } from "@/design/Button";
import { clock, zone } from "@/design/format";
import { parts, plain } from "./logs";
import type { LogLine } from "./types";

const LINE_PX = 20;
const AT_END_PX = 24;
const LEAST_PX = 160;

interface LogLinesProps {
  lines: readonly LogLine[];
  pattern: RegExp | null;
  /** The line that is looked at. */
  at: number | null;
  goesOn: boolean;
  /** Of several sites: each line says of which. */
  several: boolean;
}

export function LogLines({ lines, pattern, at, goesOn, several }: LogLinesProps): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);

  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => LINE_PX,
    overscan: 20,
    getItemKey: (index) => (lines[index] as LogLine).id,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: AT_END_PX,
  });

  useEffect(() => {
    rows.scrollToEnd();
    // Once, when the lines are first seen.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    if (at === null) return;
    const index = lines.findIndex((line) => line.id === at);
    if (index >= 0) rows.scrollToIndex(index, { align: "center" });
    // It is gone to once; lines that come do not pull it back.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [at]);

  return (
    <div className="relative">
      <div
        // It scrolls, so it can be reached by keyboard.

        ref={box}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Logs, oldest first; times in ${zone()}`}
        onScroll={({ currentTarget }) => setFollowing(isAtEnd(currentTarget))}
        className="overflow-auto rounded-b-lg bg-sunk font-mono text-xs -outline-offset-2"
        style={{ height: `min(34rem, 70vh, ${Math.max(LEAST_PX, rows.getTotalSize())}px)` }}
      >
        <div className="relative" style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((item) => (
            <div
              key={item.key}
              data-index={item.index}
              ref={rows.measureElement}
              className="absolute inset-x-0"
              style={{ transform: `translateY(${item.start}px)` }}
            >
              <Line
                line={lines[item.index] as LogLine}
                pattern={pattern}
                isLooked={lines[item.index]?.id === at}
                several={several}
              />
            </div>
          ))}
        </div>
      </div>
      {!following && (
        <Button
          size="sm"
          icon="down"
          className="fade-in absolute right-4 bottom-3 shadow-pop"
          onClick={() => rows.scrollToEnd()}
        >
          {goesOn ? "Follow" : "To the end"}
        </Button>
      )}
    </div>
  );
}

const isAtEnd = ({ scrollHeight, scrollTop, clientHeight }: Element): boolean =>
  scrollHeight - scrollTop - clientHeight <= AT_END_PX;

interface LineProps {
  line: LogLine;
  pattern: RegExp | null;
  isLooked: boolean;
  several: boolean;
}

const Line = memo(function Line({ line, pattern, isLooked, several }: LineProps): ReactNode {
  const where = several ? `${line.site} ${line.host ?? ""}` : (line.host ?? line.site);
  return (
    <div
      className={`flex gap-3 border-l-2 px-3 py-0.5 leading-4 ${line.stream === "stderr" ? "border-warn" : "border-transparent"} ${isLooked ? "bg-accent-wash" : "hover:bg-hover"}`}
    >
      <time dateTime={line.at} title={line.at} className="shrink-0 text-soft tabular-nums">
        {clock(line.at)}
      </time>
      <span className={`shrink-0 truncate text-soft max-md:hidden ${several ? "w-52" : "w-28"}`} title={where}>
        {where}
      </span>
      <span className="min-w-0 whitespace-pre-wrap">
        {line.stream === "stderr" && <span className="sr-only">stderr: </span>}
        <Found text={plain(line)} pattern={pattern} />
      </span>
    </div>
  );
});

function Found({ text, pattern }: { text: string; pattern: RegExp | null }): ReactNode {
  // A line without any text still takes its line.
  if (text === "") return "\u00a0";
  return parts(text, pattern).map((part, index) =>
    index % 2 === 1 ? (
      <mark key={index} className="rounded-xs bg-warn text-card">
        {part}
      </mark>
    ) : (
      part
    ),
  );
}

/** What the scripts wrote: followed, searched, taken along. */

import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useMemo, useState, type ReactNode } from "react";
import { complain } from "@/app/toasts";
import { Button, IconButton } from "@/design/Button";
import { Check, Input, Select } from "@/design/Field";
import { count, zone } from "@/design/format";
import { Card, Empty, Loading } from "@/design/Layout";
import { CAPS, type News } from "./live";
import { LogLines } from "./LogLines";
import { filtered, hits, matcher, written } from "./logs";
import { allLogs, firstLogQuery } from "./queries";
import { isOver, type LogLine, type Workload } from "./types";

interface LogsProps {
  workload: Workload;
  lines: readonly LogLine[];
  add: (news: News) => void;
  waiting: boolean;
}

export function Logs({ workload, lines, add, waiting }: LogsProps): ReactNode {
  const [filter, setFilter] = useState({ site: "", stream: "" });
  const [query, setQuery] = useState("");
  const [asRegex, setAsRegex] = useState(false);
  const [at, setAt] = useState<number | null>(null);
  const wanted = useDeferredValue(query);
  const shown = useMemo(() => filtered(lines, filter), [lines, filter]);
  const { pattern, error } = useMemo(() => matcher(wanted, asRegex), [wanted, asRegex]);
  const found = useMemo(() => hits(shown, pattern), [shown, pattern]);
  const here = found.findIndex((index) => shown[index]?.id === at);

  function step(by: 1 | -1) {
    if (found.length === 0) return;
    // From nowhere the last one is the first to be looked at: it is what is on the screen.
    const next = here < 0 ? found.length - 1 : (here + by + found.length) % found.length;
    setAt(shown[found[next] as number]?.id ?? null);
  }

  const options = useOptions(lines);
  return (
    <Card>
      <div className="flex flex-wrap items-start gap-2 border-b border-line px-3 py-2" role="search" aria-label="Logs">
        <div className="min-w-48 grow sm:max-w-80">
          <Input
            label="Search in the logs"
            hidden
            type="search"
            placeholder="Search"
            value={query}
            error={error}
            onChange={(event) => {
              setQuery(event.target.value);
              setAt(null);
            }}
            onKeyDown={(event) => {
              if (event.key !== "Enter") return;
              event.preventDefault();
              step(event.shiftKey ? -1 : 1);
            }}
          />
        </div>
        <div className="flex h-9 items-center gap-1">
          <IconButton label="The hit before" icon="up" disabled={found.length === 0} onClick={() => step(-1)} />
          <IconButton label="The next hit" icon="down" disabled={found.length === 0} onClick={() => step(1)} />
          <span role="status" className="min-w-20 text-xs text-soft tabular-nums">
            {query === "" || error
              ? ""
              : found.length === 0
                ? "Not found"
                : here < 0
                  ? `${count(found.length)} lines`
                  : `${count(here + 1)} of ${count(found.length)}`}
          </span>
          <Check label="Expression" checked={asRegex} onChange={(event) => setAsRegex(event.target.checked)} />
        </div>
        <div className="flex min-w-0 items-center gap-2 max-sm:w-full sm:ml-auto">
          <div className="w-36 min-w-0">
            <Select
              label="Site"
              hidden
              options={options.sites}
              value={filter.site}
              onChange={(event) => setFilter({ ...filter, site: event.target.value })}
            />
          </div>
          <div className="w-32 min-w-0">
            <Select
              label="Stream"
              hidden
              options={options.streams}
              value={filter.stream}
              onChange={(event) => setFilter({ ...filter, stream: event.target.value })}
            />
          </div>
          <TakeAlong workload={workload} shown={shown} />
        </div>
      </div>
      <Earlier workload={workload} lines={lines} add={add} />
      {waiting ? (
        <Loading lines={10} label="Logs are on their way" />
      ) : shown.length > 0 ? (
        <LogLines
          lines={shown}
          pattern={pattern}
          at={at}
          goesOn={!isOver(workload)}
          several={options.sites.length > 2}
        />
      ) : lines.length > 0 ? (
        <Empty icon="filter" title="No line of this site and stream">
          <Button onClick={() => setFilter({ site: "", stream: "" })}>Show all lines</Button>
        </Empty>
      ) : (
        <Empty
          icon="file"
          title="Nothing was written"
          about={
            isOver(workload)
              ? "The script printed nothing."
              : "What the script prints shows here within a second or two of its start."
          }
        />
      )}
    </Card>
  );
}

function useOptions(lines: readonly LogLine[]) {
  return useMemo(() => {
    const sites = [...new Set(lines.map((line) => line.site))].sort();
    const streams = [...new Set(lines.map((line) => line.stream))].sort();
    const options = (all: string, names: readonly string[]) => [
      ["", all] as const,
      ...names.map((name) => [name, name] as const),
    ];
    return { sites: options("All sites", sites), streams: options("All streams", streams) };
  }, [lines]);
}

/** The page begins with the newest lines; those before are fetched when they are asked for. */
function Earlier({ workload, lines, add }: Omit<LogsProps, "waiting">): ReactNode {
  const [busy, setBusy] = useState(false);
  const { data: first } = useQuery({ ...firstLogQuery(workload.id), enabled: lines.length > 0 });
  const oldest = lines[0]?.id;
  if (first == null || oldest === undefined || first >= oldest) return null;
  if (lines.length >= CAPS.logs) {
    return (
      <p className="border-b border-line px-3 py-1.5 text-xs text-soft">
        The newest {count(CAPS.logs)} lines are shown. The download has all of them.
      </p>
    );
  }

  async function fetchThem() {
    setBusy(true);
    try {
      let kept: LogLine[] = [];
      for await (const page of allLogs(workload.id, oldest)) kept = [...kept, ...page].slice(-CAPS.logs);
      add({ kind: "earlier", data: kept });
    } catch (error) {
      complain(error);
    }
    setBusy(false);
  }

  return (
    <div className="flex items-center gap-2 border-b border-line px-3 py-1 text-xs text-soft">
      There are lines before these.{" "}
      <Button size="sm" kind="quiet" icon="up" busy={busy} onClick={() => void fetchThem()}>
        {busy ? "They are on their way" : "Show them"}
      </Button>
    </div>
  );
}

/** Copy what is shown, or save all that was ever written. */
function TakeAlong({ workload, shown }: { workload: Workload; shown: readonly LogLine[] }): ReactNode {
  const [busy, setBusy] = useState(false);

  async function copy() {
    try {
      await navigator.clipboard.writeText(shown.map(written).join("\n"));
    } catch {
      complain(new Error("The browser does not let this page copy. Save the logs instead."));
    }
  }

  async function save() {
    setBusy(true);
    try {
      const pieces: string[] = [];
      for await (const page of allLogs(workload.id)) pieces.push(...page.map((line) => `${written(line)}\n`));
      offer(new Blob(pieces, { type: "text/plain" }), `workload-${workload.id}.log`);
    } catch (error) {
      complain(error);
    }
    setBusy(false);
  }

  return (
    <>
      <IconButton
        label={`Copy the ${count(shown.length)} lines that are shown`}
        icon="copy"
        size="md"
        disabled={shown.length === 0}
        onClick={() => void copy()}
      />
      <IconButton
        label={`Save all lines as text; times in UTC, shown here in ${zone()}`}
        icon="download"
        size="md"
        disabled={busy}
        aria-busy={busy}
        onClick={() => void save()}
      />
    </>
  );
}

function offer(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

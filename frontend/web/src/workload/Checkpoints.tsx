/** What can be taken home or gone on from: the versions that are kept, checkpoints, the model. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { Button, buttonClass } from "@/design/Button";
import { CopyIcon, CopyText } from "@/design/CopyText";
import { Input } from "@/design/Field";
import { bytes, count, decimal, zone } from "@/design/format";
import { Icon } from "@/design/icons";
import { Card, Empty, Fault, Loading } from "@/design/Layout";
import { Badge } from "@/design/Status";
import { CELL, HEAD, HEAD_NUM, Moment, Wide } from "./parts";
import { artifactsQuery, versionsQuery } from "./queries";
import { isKept, ranges } from "./versions";
import type { Artifact, Versions, Workload } from "./types";

export function Checkpoints({ workload }: { workload: Workload }): ReactNode {
  return (
    <div className="grid gap-3 xl:grid-cols-[minmax(0,1fr)_21rem]">
      <Artifacts workload={workload} />
      <Kept workload={workload} />
    </div>
  );
}

function Artifacts({ workload }: { workload: Workload }): ReactNode {
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const { data, error, refetch } = useQuery(
    artifactsQuery(workload.id, cursors.at(-1) ?? "", `${workload.version} ${workload.artifact?.id}`),
  );
  return (
    <Card title="Models and checkpoints">
      {error && !data ? (
        <Fault error={error} retry={() => void refetch()} className="m-3" />
      ) : !data ? (
        <Loading lines={4} label="Checkpoints are on their way" />
      ) : data.results.length === 0 ? (
        <Empty
          icon="file"
          title="None yet"
          about="A checkpoint is kept after each round, or each tenth of a large model; the model comes with run.save() at the end."
        />
      ) : (
        <>
          <ArtifactTable workload={workload} rows={data.results} />
          {(data.next !== null || cursors.length > 0) && (
            <nav aria-label="Pages of checkpoints" className="flex justify-end gap-2 px-4 py-2">
              <Button size="sm" disabled={cursors.length === 0} onClick={() => setCursors(cursors.slice(0, -1))}>
                Newer
              </Button>
              <Button
                size="sm"
                disabled={data.next === null}
                onClick={() => data.next && setCursors([...cursors, data.next])}
              >
                Older
              </Button>
            </nav>
          )}
        </>
      )}
    </Card>
  );
}

function ArtifactTable({ workload, rows }: { workload: Workload; rows: readonly Artifact[] }): ReactNode {
  return (
    <Wide label="Models and checkpoints" className="px-4 py-1">
      <table className="w-full text-sm">
        <caption className="sr-only">Models and checkpoints, newest first. Times in {zone()}.</caption>
        <thead className="border-b border-line">
          <tr>
            <th scope="col" className={HEAD}>
              File
            </th>
            <th scope="col" className={HEAD}>
              Kind
            </th>
            <th scope="col" className={HEAD_NUM}>
              Version
            </th>
            <th scope="col" className={HEAD_NUM}>
              Size
            </th>
            <th scope="col" className={HEAD}>
              Kept
            </th>
            <th scope="col" className={HEAD}>
              SHA-256
            </th>
            <th scope="col" className={HEAD}>
              <span className="sr-only">What can be done</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr key={one.id} className="border-b border-line last:border-0">
              <th scope="row" className={`${CELL} text-left font-normal`}>
                {one.name}
                {metrics(one) && <span className="block text-xs text-soft">{metrics(one)}</span>}
              </th>
              <td className={CELL}>
                <Badge tone={one.kind === "model" ? "good" : "calm"} icon={one.kind === "model" ? "check" : "file"}>
                  {one.kind === "model" ? "Model" : "Checkpoint"}
                </Badge>
              </td>
              <td className={`${CELL} num`}>{count(one.version)}</td>
              <td className={`${CELL} num`}>{bytes(one.size_bytes)}</td>
              <td className={CELL}>
                <Moment at={one.created_at} />
              </td>
              <td className={`${CELL} py-0.5!`}>
                <CopyText text={one.sha256} shown={one.sha256.slice(0, 8)} label={`Copy the SHA-256 of ${one.name}`} />
              </td>
              <td className={`${CELL} py-0.5!`}>
                <Actions workload={workload} artifact={one} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function metrics({ metrics }: Artifact): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${typeof value === "number" ? decimal(value, 4) : String(value)}`)
    .join(", ");
}

function Actions({ workload, artifact }: { workload: Workload; artifact: Artifact }): ReactNode {
  return (
    <span className="flex items-center justify-end gap-1">
      <a
        href={`/v1/artifacts/${artifact.id}/content`}
        download={artifact.name}
        aria-label={`Download ${artifact.name}`}
        title="Download"
        className="inline-flex size-7 items-center justify-center rounded-md text-soft hover:bg-hover hover:text-ink"
      >
        <Icon name="download" />
      </a>
      <CopyIcon
        text={`yard pull ${workload.id} --version ${artifact.version}`}
        label={`Copy the command that fetches version ${artifact.version}`}
      />
      <GoOn workload={workload.id} version={artifact.version} />
    </span>
  );
}

function GoOn({ workload, version }: { workload: number; version: number }): ReactNode {
  return (
    <Link
      to="/launch"
      search={{ resume: `${workload}@${version}` }}
      aria-label={`Go on from version ${version}`}
      className={`${buttonClass("quiet", "sm")} no-underline`}
    >
      <Icon name="play" /> Go on
    </Link>
  );
}

function Kept({ workload }: { workload: Workload }): ReactNode {
  const { data, error, refetch } = useQuery(versionsQuery(workload.id, workload.version));
  return (
    <Card title="Versions that can be had">
      {error && !data ? (
        <Fault error={error} retry={() => void refetch()} className="m-3" />
      ) : !data ? (
        <Loading lines={3} label="Versions are on their way" />
      ) : data.newest === null || data.kept.length === 0 ? (
        <Empty icon="file" title="No version yet" about="The first parameters are version 0; each round adds one." />
      ) : (
        <OneVersion workload={workload} versions={data} newest={data.newest} />
      )}
    </Card>
  );
}

function OneVersion({
  workload,
  versions,
  newest,
}: {
  workload: Workload;
  versions: Versions;
  newest: number;
}): ReactNode {
  const [typed, setTyped] = useState("");
  const wanted = typed === "" ? newest : Number(typed);
  const kept = isKept(versions, wanted);
  return (
    <div className="space-y-3 px-4 py-3">
      <p className="text-sm">
        {ranges(versions)}
        <span className="block text-xs text-soft">
          The newest is {count(newest)}. Versions between checkpoints are put together on your machine.
        </span>
      </p>
      <Input
        label="Version"
        inputMode="numeric"
        value={typed}
        placeholder={String(newest)}
        onChange={(event) => setTyped(event.target.value.trim())}
        error={kept ? null : `Version ${typed} is not kept. Take one of ${ranges(versions)}.`}
      />
      {kept && (
        <>
          <div>
            <p className="mb-1 text-sm text-soft">Fetch it in a terminal</p>
            <CopyText text={`yard pull ${workload.id} --version ${wanted}`} label="Copy the command" />
          </div>
          <Link
            to="/launch"
            search={{ resume: `${workload.id}@${wanted}` }}
            className={`${buttonClass()} no-underline`}
          >
            <Icon name="play" /> Go on from version {count(wanted)}
          </Link>
        </>
      )}
    </div>
  );
}

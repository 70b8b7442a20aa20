/** What it is, how far it is, and what can be done with it. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import type { Problem } from "@/api/client";
import { me } from "@/api/me";
import type { StreamState } from "@/api/stream";
import { useNow } from "@/app/clock";
import { complain, say } from "@/app/toasts";
import { Bar } from "@/design/Bar";
import { Button, buttonClass, IconButton } from "@/design/Button";
import { CopyText } from "@/design/CopyText";
import { bytes, clock, count, decimal, duration, moment, NOTHING, percent, words, zone } from "@/design/format";
import { Icon } from "@/design/icons";
import { Figure } from "@/design/Layout";
import { DropdownMenu, Menu, MENU_ITEM, MenuItem } from "@/design/Menu";
import { Modal } from "@/design/Panel";
import { Pop } from "@/design/Pop";
import { Status } from "@/design/Status";
import { useTitle } from "@/design/title";
import { progress, ROUNDS_BACK, speed } from "./figures";
import type { News } from "./live";
import { stateInWords } from "./moves";
import { Moment } from "./parts";
import { stop } from "./queries";
import { isOver, type Artifact, type Round, type Workload } from "./types";

interface HeadProps {
  workload: Workload;
  connection: StreamState;
  refused: Problem | null;
  rounds: readonly Round[];
  waiting: boolean;
  add: (news: News) => void;
  showCheckpoints: () => void;
}

export function Head({ workload, connection, refused, rounds, waiting, add, showCheckpoints }: HeadProps): ReactNode {
  const role = useQuery(me).data?.team?.role;
  const mayRun = role !== "viewer";
  useTitle(workload.name, words(workload.state).toLowerCase());
  return (
    <header>
      <nav aria-label="Where this is" className="text-xs text-soft">
        <Link to="/workloads">Workloads</Link> / {workload.id}
      </nav>
      <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-2">
        <div className="min-w-0">
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <h1 className="min-w-0 text-xl">{workload.name}</h1>
            <Status state={workload.state} />
            <Connection state={connection} refused={refused} over={isOver(workload)} />
          </div>
          <p className="max-w-4xl text-sm text-soft">{stateInWords(workload)}</p>
        </div>
        <div className="flex flex-wrap items-center gap-2">
          {workload.artifact && <Download artifact={workload.artifact} workload={workload.id} />}
          <GoOn workload={workload} mayRun={mayRun} showCheckpoints={showCheckpoints} />
          {!isOver(workload) && <Stop workload={workload} mayRun={mayRun} add={add} />}
        </div>
      </div>
      {!mayRun && (
        <p className="text-xs text-soft">
          You are a viewer in this team: you see its workloads, members stop and start them.
        </p>
      )}
      <Glance workload={workload} rounds={rounds} waiting={waiting} />
    </header>
  );
}

function Connection({
  state,
  refused,
  over,
}: {
  state: StreamState;
  refused: Problem | null;
  over: boolean;
}): ReactNode {
  const text = refused
    ? `Not live any more: ${refused.message}`
    : state === "live"
      ? "Live"
      : state === "ended" || over
        ? "Complete"
        : state === "connecting"
          ? "Connecting"
          : "Reconnecting, nothing is lost";
  const dot = refused ? "bg-bad" : state === "live" ? "bg-good" : state === "away" ? "bg-warn" : "bg-edge";
  return (
    <span role="status" className="inline-flex items-center gap-1.5 text-xs text-soft">
      <span className={`size-1.5 rounded-full ${dot}`} aria-hidden="true" /> {text}
    </span>
  );
}

function Glance({ workload, rounds, waiting }: Pick<HeadProps, "workload" | "rounds" | "waiting">): ReactNode {
  const now = useNow();
  const done = progress(workload, now);
  const over = isOver(workload);
  const perS = speed(rounds, over ? rounds.length : ROUNDS_BACK);
  const until = workload.ended_at ? Date.parse(workload.ended_at) : now;
  const ran = workload.started_at ? (until - Date.parse(workload.started_at)) / 1000 : null;
  const share =
    done.share === null ? "" : `${percent(done.share)}: ${count(done.merged)} of ${count(done.total)} samples`;
  return (
    <div className="mt-3">
      <Bar label="Progress" value={done.share} text={share || "not known yet"} />
      <dl className="mt-2 grid grid-cols-2 gap-x-6 gap-y-2 sm:grid-cols-3 lg:grid-cols-6">
        <Figure
          label="Progress"
          value={percent(done.share)}
          about={done.total > 0 ? `${count(done.merged)} of ${count(done.total)} samples` : "known once it trains"}
        />
        <Finish workload={workload} finishAt={done.finishAt} leftS={done.leftS} />
        <Figure
          label="Loss"
          value={decimal(workload.loss, 4)}
          about={workload.loss === null ? "not reported yet" : `newest, at step ${count(workload.step)}`}
        />
        <Figure
          label="Throughput"
          value={decimal(perS)}
          unit={perS === null ? undefined : "samples/s"}
          about={pace(perS, over, waiting)}
        />
        <Figure
          label="Version"
          value={workload.version === null ? NOTHING : count(workload.version)}
          about={workload.resumes ? <Resumed {...workload.resumes} /> : "of the parameters"}
        />
        <Figure
          label={workload.ended_at ? "Ran for" : "Running for"}
          value={duration(ran)}
          about={workload.started_at ? <Since at={workload.started_at} /> : "not started yet"}
        />
      </dl>
    </div>
  );
}

function pace(perS: number | null, over: boolean, waiting: boolean): string {
  if (perS !== null) return over ? "over all rounds" : `over the last ${ROUNDS_BACK} rounds`;
  return waiting ? "on its way" : over ? "no round was closed" : "known after a round";
}

function Since({ at }: { at: string }): ReactNode {
  return (
    <>
      since <Moment at={at} /> {zone()}
    </>
  );
}

function Resumed({ workload, version }: { workload: number; version: number | null }): ReactNode {
  const from = version === null ? "" : `, version ${version}`;
  return (
    <>
      goes on from{" "}
      <Link to="/workloads/$id" params={{ id: String(workload) }}>
        workload {workload}
      </Link>
      {from}
    </>
  );
}

function Finish({
  workload,
  finishAt,
  leftS,
}: {
  workload: Workload;
  finishAt: string | null;
  leftS: number | null;
}): ReactNode {
  if (workload.ended_at) {
    return (
      <Figure
        label="Ended"
        value={<Moment at={workload.ended_at} />}
        unit={zone()}
        about={words(workload.end_reason)}
      />
    );
  }
  if (!finishAt) return <Figure label="Time left" value={NOTHING} about="known once it trains" />;
  const soon = (leftS ?? 0) < 12 * 3600;
  return (
    <Figure
      label="Time left"
      value={duration(leftS)}
      about={
        <>
          done <Moment at={finishAt} show={soon ? (at) => clock(at).slice(0, 5) : moment} /> {zone()}
        </>
      }
    />
  );
}

function Download({ artifact, workload }: { artifact: Artifact; workload: number }): ReactNode {
  return (
    <div className="flex items-center">
      <a
        href={`/v1/artifacts/${artifact.id}/content`}
        download={artifact.name}
        className={`${buttonClass(artifact.kind === "model" ? "primary" : "plain")} no-underline`}
      >
        <Icon name="download" /> Download {artifact.kind}{" "}
        <span className="font-normal">{bytes(artifact.size_bytes)}</span>
      </a>
      <Pop
        label={`About the ${artifact.kind}`}
        trigger={<IconButton label={`About the ${artifact.kind}`} icon="info" size="md" />}
        className="w-80"
      >
        <dl className="grid grid-cols-[auto_1fr] items-center gap-x-3 gap-y-1.5 text-sm">
          <dt className="text-soft">File</dt>
          <dd>{artifact.name}</dd>
          <dt className="text-soft">Version</dt>
          <dd>{count(artifact.version)}</dd>
          <dt className="text-soft">SHA-256</dt>
          <dd>
            <CopyText text={artifact.sha256} shown={artifact.sha256.slice(0, 12)} label="Copy the SHA-256" />
          </dd>
          {Object.entries(artifact.metrics).map(([name, value]) => (
            <div key={name} className="contents">
              <dt className="text-soft">{name}</dt>
              <dd>{typeof value === "number" ? decimal(value, 4) : String(value)}</dd>
            </div>
          ))}
          <dt className="text-soft">Terminal</dt>
          <dd>
            <CopyText text={`yard pull ${workload}`} label="Copy the command" />
          </dd>
        </dl>
      </Pop>
    </div>
  );
}

function GoOn({
  workload,
  mayRun,
  showCheckpoints,
}: {
  workload: Workload;
  mayRun: boolean;
  showCheckpoints: () => void;
}): ReactNode {
  const { version } = workload;
  const trigger = (
    <Button icon="play" disabled={!mayRun}>
      Run again <Icon name="open" size={14} />
    </Button>
  );
  return (
    <Menu trigger={trigger}>
      {version !== null && version > 0 && (
        <DropdownMenu.Item asChild>
          <Link to="/launch" search={{ resume: `${workload.id}@${version}` }} className={MENU_ITEM}>
            Go on from version {count(version)}, the newest
          </Link>
        </DropdownMenu.Item>
      )}
      {version !== null && (
        <DropdownMenu.Item asChild>
          <Link to="/launch" search={{ resume: `${workload.id}@0` }} className={MENU_ITEM}>
            Run again from its first parameters
          </Link>
        </DropdownMenu.Item>
      )}
      {version !== null && <MenuItem onSelect={showCheckpoints}>Choose a version</MenuItem>}
      {version === null && (
        <DropdownMenu.Item asChild>
          <Link to="/launch" className={MENU_ITEM}>
            Launch another; it has no parameters yet
          </Link>
        </DropdownMenu.Item>
      )}
    </Menu>
  );
}

function Stop({
  workload,
  mayRun,
  add,
}: {
  workload: Workload;
  mayRun: boolean;
  add: (news: News) => void;
}): ReactNode {
  const [open, setOpen] = useState(false);
  const asked = useMutation({
    mutationFn: () => stop(workload.id),
    onSuccess: (now) => {
      add({ kind: "workload", data: now });
      setOpen(false);
      say(`Workload ${workload.id} was asked to stop.`);
    },
    onError: complain,
  });
  const stopping = workload.state === "stopping";
  return (
    <>
      <Button kind="danger" icon="stop" disabled={!mayRun || stopping} onClick={() => setOpen(true)}>
        {stopping ? "Stopping" : "Stop"}
      </Button>
      <Modal open={open} onOpenChange={setOpen} title={`Stop ${workload.name}?`} about={`Workload ${workload.id}`}>
        <ul className="mb-4 list-disc space-y-1 pl-5 text-sm">
          {workload.version === null ? (
            <li>It has not trained yet, so there is nothing to keep.</li>
          ) : (
            <>
              <li>Its sites hand in what they have trained, and the last round is merged.</li>
              <li>A checkpoint is kept. It can be downloaded, and gone on from later.</li>
            </>
          )}
          <li>Its machines are given back; what they cost ends with that. This takes up to a minute.</li>
        </ul>
        <div className="flex justify-end gap-2">
          <Button onClick={() => setOpen(false)}>Let it run</Button>
          <Button kind="danger" icon="stop" busy={asked.isPending} onClick={() => asked.mutate()}>
            Stop it
          </Button>
        </div>
      </Modal>
    </>
  );
}

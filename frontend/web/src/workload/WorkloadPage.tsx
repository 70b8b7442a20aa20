/** One workload as it lives: state, curves and money at a glance, everything else a tab away. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, type ReactNode } from "react";
import { Problem } from "@/api/client";
import { me } from "@/api/me";
import { Missing } from "@/app/Missing";
import { count } from "@/design/format";
import { Empty, Fault, Loading, PageHead } from "@/design/Layout";
import { TabPage, Tabs, type Tab } from "@/design/Tabs";
import { Checkpoints } from "./Checkpoints";
import { Cost } from "./Cost";
import { Curves } from "./Curves";
import { Head } from "./Head";
import { closedRounds, type Live } from "./live";
import { Logs } from "./Logs";
import { marksOf, namesOf } from "./moves";
import { roundsQuery, workloadQuery } from "./queries";
import { Rounds } from "./Rounds";
import type { TabName } from "./search";
import { Sites, SitesAtAGlance } from "./Sites";
import { Timeline } from "./Timeline";
import { isOver, type Workload } from "./types";
import { useLive, type LiveWorkload } from "./useLive";

// On its way while the page is: there are curves on every one.
void import("@/design/Chart");

const route = getRouteApi("/own/workloads/$id");

export function WorkloadPage(): ReactNode {
  const id = Number(route.useParams().id);
  return Number.isSafeInteger(id) && id > 0 ? <Page key={id} id={id} /> : <Missing />;
}

function Page({ id }: { id: number }): ReactNode {
  const told = useLive(id);
  const { data, error, refetch } = useQuery({ ...workloadQuery(id), enabled: told.live.workload === null });
  useOlderRounds(id, told);
  const workload = told.live.workload ?? data;
  const wrong = error ?? told.refused;
  useCreditAnew(workload);

  if (workload) return <Shown workload={workload} told={told} />;
  if (wrong instanceof Problem && wrong.status === 404) {
    return (
      <>
        <PageHead title={`Workload ${id}`} />
        <Empty
          icon="search"
          title="There is no such workload here"
          about="It may belong to another team: the menu at your name changes teams."
        >
          <Link to="/workloads">See your workloads</Link>
        </Empty>
      </>
    );
  }
  return (
    <>
      <PageHead title={`Workload ${id}`} />
      {wrong ? (
        <Fault error={wrong} retry={() => void refetch()} />
      ) : (
        <Loading lines={10} label="The workload is on its way" />
      )}
    </>
  );
}

/** What was set aside for a run and not used is free again when it has ended. */
function useCreditAnew(workload: Workload | undefined): void {
  const client = useQueryClient();
  const over = workload !== undefined && isOver(workload);
  useEffect(() => {
    if (over) void client.invalidateQueries({ queryKey: me.queryKey });
  }, [client, over]);
}

/** The stream begins with the newest rounds; the table and the curves want all of them. */
function useOlderRounds(id: number, { live, add }: LiveWorkload): void {
  const first = live.rounds[0]?.version ?? 0;
  const { data } = useQuery({ ...roundsQuery(id), enabled: first > 0 });
  useEffect(() => {
    if (data && first > (data[0]?.version ?? Infinity)) add({ kind: "rounds", data });
  }, [data, first, add]);
}

function Shown({ workload, told }: { workload: Workload; told: LiveWorkload }): ReactNode {
  const { live, add } = told;
  const { tab = "timeline" } = route.useSearch();
  const navigate = useNavigate({ from: "/workloads/$id" });
  const show = (name: TabName) => void navigate({ search: { tab: name }, replace: true, resetScroll: false });
  // Who is who changes with sites and machines, not with every figure of the workload.
  const known = JSON.stringify(
    workload.sites.map((site) => [site.placement, site.nodes.map((node) => [node.lease, node.host])]),
  );
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const names = useMemo(() => namesOf(workload), [known]);
  const marks = useMemo(() => marksOf(live.events, names), [live.events, names]);
  const waiting = !live.hasCaughtUp;

  return (
    <div className="flex flex-col gap-4">
      <Head
        workload={workload}
        connection={told.connection}
        refused={told.refused}
        rounds={live.rounds}
        waiting={waiting}
        add={add}
        showCheckpoints={() => show("checkpoints")}
      />
      <div className="grid gap-4 xl:grid-cols-[minmax(0,1fr)_21rem]">
        <Curves workload={workload} live={live} marks={marks} waiting={waiting} />
        <div className="flex min-w-0 flex-col gap-4 max-xl:sm:grid max-xl:sm:grid-cols-2">
          <Cost workload={workload} />
          <SitesAtAGlance workload={workload} rounds={live.rounds} showAll={() => show("sites")} />
        </div>
      </div>
      <Tabs label="More of the workload" tabs={tabsOf(workload, live)} value={tab} onChange={show}>
        <TabPage name="timeline">
          <Timeline workload={workload} events={live.events} names={names} waiting={waiting} />
        </TabPage>
        <TabPage name="sites">
          <Sites workload={workload} rounds={live.rounds} />
        </TabPage>
        <TabPage name="rounds">
          <Rounds workload={workload} rounds={live.rounds} waiting={waiting} />
        </TabPage>
        <TabPage name="logs">
          <Logs workload={workload} lines={live.logs} add={add} waiting={waiting} />
        </TabPage>
        <TabPage name="checkpoints">
          <Checkpoints workload={workload} />
        </TabPage>
      </Tabs>
    </div>
  );
}

function tabsOf(workload: Workload, live: Live): Tab<TabName>[] {
  const open = workload.sites.filter((site) => site.state !== "closed").length;
  return [
    { name: "timeline", label: "Timeline" },
    { name: "sites", label: "Sites and nodes", count: count(open || workload.sites.length) },
    { name: "rounds", label: "Rounds", count: live.hasCaughtUp ? count(closedRounds(live.rounds).length) : undefined },
    { name: "logs", label: "Logs" },
    { name: "checkpoints", label: "Checkpoints" },
  ];
}

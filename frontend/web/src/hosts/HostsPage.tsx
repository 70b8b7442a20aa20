/** One's machines as a supplier: how they fare, what they earn, lend another, take one back. */

import { useQueries, useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { me, type Me } from "@/api/me";
import { Button } from "@/design/Button";
import { usd } from "@/design/format";
import { Card, Empty, Fault, Figure, Loading, PageHead } from "@/design/Layout";
import { earnings, hosts, supplier, type Host } from "./api";
import { Bars } from "./Bars";
import { HostDrawer } from "./HostDrawer";
import { HostTable } from "./HostTable";
import { Reclaim } from "./Reclaim";
import { freshOf, type Fresh } from "./fresh";
import { Register } from "./Register";
import { summed, totalUsd } from "./states";

const ABOUT = "Machines that you lend. Their owner's own work comes first: take one back whenever you want.";

export function HostsPage(): ReactNode {
  const who = useQuery(me);
  if (!who.data)
    return (
      <>
        <PageHead title="Hosts" about={ABOUT} />
        <Loading lines={6} />
      </>
    );
  if (!who.data.scopes.includes("supply")) return <NotAllowed person={who.data} />;
  return <Machines key={who.data.team?.id} />;
}

function NotAllowed({ person }: { person: Me }): ReactNode {
  return (
    <>
      <PageHead title="Hosts" about={ABOUT} />
      <Card>
        <Empty
          icon="hosts"
          title="The machines of this team are not for you to see"
          about={`You are a ${person.team?.role ?? "viewer"} of ${person.team?.name ?? "this team"}. Owners and members lend machines: ask an owner to make you one of them, or switch to another team.`}
        />
      </Card>
    </>
  );
}

function Machines(): ReactNode {
  const found = useQuery(hosts);
  const [registering, setRegistering] = useState(false);
  /** Of hosts that were registered on this page: their tokens, which nobody shows again. */
  const [fresh, setFresh] = useState<readonly Fresh[]>([]);
  const [shown, setShown] = useState<number | null>(null);
  const [opened, setOpened] = useState<number | null>(null);
  const [wanted, setWanted] = useState<number | null>(null);
  const rows = found.data ?? [];
  const one = (id: number | null) => rows.find((host) => host.id === id);

  function register(again: number | null) {
    setShown(again);
    setOpened(null);
    setRegistering(true);
  }

  const keep = (made: Fresh) => {
    setFresh((before) => [...before.filter(({ id }) => id !== made.id), made]);
    setShown(made.id);
  };
  const drawn = one(opened);
  const back = one(wanted);
  return (
    <>
      <PageHead title="Hosts" about={ABOUT}>
        {rows.length > 0 && (
          <Button kind="primary" icon="plus" onClick={() => register(null)}>
            Register a machine
          </Button>
        )}
      </PageHead>
      {found.isError && <Fault error={found.error} retry={() => void found.refetch()} className="mb-4" />}
      {found.isPending ? (
        <Card>
          <Loading lines={6} />
        </Card>
      ) : rows.length === 0 ? (
        found.isSuccess && <NoHosts onRegister={() => register(null)} />
      ) : (
        <div className="space-y-4">
          <Figures rows={rows} />
          <HostTable
            rows={rows}
            keeps={(host, now) => fresh.some(({ id, until }) => id === host.id && now < until)}
            onOpen={(host) => setOpened(host.id)}
            onReclaim={(host) => setWanted(host.id)}
            onCommand={(host) => register(host.id)}
            onRenewed={(host) => {
              keep(freshOf(host));
              register(host.id);
            }}
          />
        </div>
      )}
      <Register
        open={registering}
        onOpenChange={setRegistering}
        rows={rows}
        fresh={fresh.find(({ id }) => id === shown)}
        onMade={keep}
      />
      {drawn && <HostDrawer host={drawn} onClose={() => setOpened(null)} />}
      {back && <Reclaim host={back} onClose={() => setWanted(null)} />}
    </>
  );
}

function NoHosts({ onRegister }: { onRegister: () => void }): ReactNode {
  return (
    <Card>
      <Empty
        icon="hosts"
        title="Lend a machine when you do not need it"
        about={
          <>
            You name a price, and are paid for every second that it is rented.
            <br />
            Its agent only dials out: nothing on your network is opened.
            <br />
            You take it back at any moment; what runs on it moves elsewhere.
          </>
        }
      >
        <Button kind="primary" icon="plus" onClick={onRegister}>
          Register a machine
        </Button>
      </Empty>
    </Card>
  );
}

function Figures({ rows }: { rows: readonly Host[] }): ReactNode {
  const mine = useQuery(supplier);
  const days = useQueries({
    queries: rows.map(({ id }) => earnings(id)),
    combine: (all) => ({
      pending: all.some(({ isPending }) => isPending),
      failed: all.every(({ isError }) => isError),
      days: summed(all.map(({ data }) => data ?? [])),
    }),
  });
  const many = (state: Host["state"]) => rows.filter((host) => host.state === state).length;
  return (
    <Card className="grid gap-x-8 gap-y-4 px-4 py-3 xl:grid-cols-[auto_minmax(16rem,26rem)] xl:justify-between">
      <dl className="grid grid-cols-2 content-start gap-x-8 gap-y-3 lg:grid-cols-4">
        <Figure label="Machines" value={rows.length} />
        <Figure label="Rented now" value={many("rented")} about={`${many("offered")} free`} />
        <Figure label="Owed to the team" value={usd(mine.data?.owed_usd)} unit="USD" about="booked every full hour" />
        <Figure
          label="Earned, 30 days"
          value={days.failed ? usd(null) : usd(totalUsd(days.days))}
          unit="USD"
          about="with what runs now"
        />
      </dl>
      {days.failed ? (
        <p className="self-center text-sm text-soft">This broker does not tell earnings by the day.</p>
      ) : days.pending ? (
        <div className="h-16" aria-busy="true" />
      ) : (
        <Bars days={days.days} label="Earned in the last 30 days" />
      )}
    </Card>
  );
}

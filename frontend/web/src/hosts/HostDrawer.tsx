/** One machine, closer: what it is, what it earned day by day, how much of the time it was rented. */

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useNow } from "@/app/clock";
import { ago, duration, instant, percent, price, usd } from "@/design/format";
import { Fault, Figure, Loading } from "@/design/Layout";
import { Drawer } from "@/design/Panel";
import { Status } from "@/design/Status";
import { earnings, type Earned, type Host } from "./api";
import { Bars } from "./Bars";
import { chips, meaning, rest, totalUsd } from "./states";

export function HostDrawer({ host, onClose }: { host: Host; onClose: () => void }): ReactNode {
  const now = useNow();
  const days = useQuery({ ...earnings(host.id), retry: false });
  const { hostname, os } = host.hardware;
  return (
    <Drawer
      open
      onOpenChange={(open) => !open && onClose()}
      title={host.name}
      about={`${host.region}${host.country && `, ${host.country}`}`}
    >
      <div className="space-y-5 text-sm">
        <div>
          <Status state={host.state} />
          <p className="mt-1">{meaning(host, now)}</p>
        </div>
        <dl className="grid grid-cols-2 gap-4">
          <Figure label="Price" value={price(host.usd_per_hour)} unit="USD per hour" />
          <Figure label="Booked in all" value={usd(host.earned_usd)} unit="USD" />
        </dl>
        <section>
          <h3 className="mb-2 font-semibold">The last 30 days</h3>
          {days.isPending ? (
            <Loading lines={2} />
          ) : days.isError ? (
            <Fault error={days.error} retry={() => void days.refetch()} />
          ) : (
            <>
              <Bars days={days.data} label={`Earned by ${host.name} in the last 30 days`} />
              <p className="mt-2">
                {usd(totalUsd(days.data))} USD in all; rented for {duration(rentedS(days.data))},{" "}
                {percent(rentedS(days.data) / (days.data.length * 86_400), 1)} of the time.
              </p>
            </>
          )}
        </section>
        <section>
          <h3 className="mb-2 font-semibold">Hardware</h3>
          <p>{chips(host) ?? "Not known until its agent comes."}</p>
          <p>{rest(host)}</p>
          <p className="text-soft">{[hostname, os].filter(Boolean).join(", ")}</p>
        </section>
        <p className="text-soft">
          Last heard{" "}
          {host.seen_at ? (
            <time dateTime={host.seen_at} title={instant(host.seen_at)}>
              {ago(host.seen_at, now)}
            </time>
          ) : (
            "never"
          )}
          .
        </p>
      </div>
    </Drawer>
  );
}

const rentedS = (days: readonly Earned[]): number => days.reduce((sum, { seconds }) => sum + seconds, 0);

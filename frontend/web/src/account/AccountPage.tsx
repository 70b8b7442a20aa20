/** One's account: who one is, how one gets in, keys for programs, and the team. */

import { useQuery } from "@tanstack/react-query";
import { useLocation, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { me } from "@/api/me";
import { Fault, Loading, PageHead } from "@/design/Layout";
import { TabPage, Tabs, type Tab } from "@/design/Tabs";
import { KeysSection } from "./KeysSection";
import { FactorSection } from "./FactorSection";
import { TeamSection } from "./TeamSection";
import { YouSection } from "./YouSection";

type Section = "you" | "factor" | "keys" | "team";
const TABS: readonly Tab<Section>[] = [
  { name: "you", label: "You", icon: "account" },
  { name: "factor", label: "Second factor", icon: "shield" },
  { name: "keys", label: "API keys", icon: "key" },
  { name: "team", label: "Team", icon: "team" },
];

export function AccountPage(): ReactNode {
  const who = useQuery(me);
  const navigate = useNavigate();
  const hash = useLocation({ select: (location) => location.hash });
  const open = TABS.find((one) => one.name === hash)?.name ?? "you";

  if (who.isPending)
    return (
      <>
        <PageHead title="Account" />
        <Loading lines={6} />
      </>
    );
  if (!who.data)
    return (
      <>
        <PageHead title="Account" />
        <Fault error={who.error} retry={() => void who.refetch()} />
      </>
    );
  const person = who.data;
  return (
    <div className="w-full max-w-4xl">
      <PageHead title="Account" about={`${person.username}, ${person.team.role} of ${person.team.name}`} />
      <Tabs
        label="Account"
        tabs={TABS}
        value={open}
        onChange={(name) => void navigate({ to: "/account", hash: name, replace: true })}
      >
        <TabPage name="you">
          <YouSection person={person} />
        </TabPage>
        <TabPage name="factor">
          <FactorSection />
        </TabPage>
        <TabPage name="keys">
          <KeysSection person={person} />
        </TabPage>
        <TabPage name="team">
          <TeamSection key={person.team.id} person={person} />
        </TabPage>
      </Tabs>
    </div>
  );
}

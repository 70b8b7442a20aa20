/** One's account: who one is, how one gets in, keys for programs, and the team. */

import { useQuery } from "@tanstack/react-query";
import { useLocation, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { me } from "@/api/me";
import { Fault, Loading, PageHead } from "@/design/Layout";
import { Tabs } from "@/design/Tabs";
import { KeysSection } from "./KeysSection";
import { FactorSection } from "./FactorSection";
import { TeamSection } from "./TeamSection";
import { YouSection } from "./YouSection";

const IDS = ["you", "factor", "keys", "team"] as const;

export function AccountPage(): ReactNode {
  const who = useQuery(me);
  const navigate = useNavigate();
  const hash = useLocation({ select: (location) => location.hash });
  const open = IDS.find((id) => id === hash) ?? "you";

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
        open={open}
        onOpen={(id) => void navigate({ to: "/account", hash: id, replace: true })}
        sections={[
          { id: "you", label: "You", icon: "account", body: <YouSection person={person} /> },
          { id: "factor", label: "Second factor", icon: "shield", body: <FactorSection /> },
          { id: "keys", label: "API keys", icon: "key", body: <KeysSection person={person} /> },
          { id: "team", label: "Team", icon: "team", body: <TeamSection key={person.team.id} person={person} /> },
        ]}
      />
    </div>
  );
}

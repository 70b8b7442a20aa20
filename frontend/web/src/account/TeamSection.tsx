/** The team that is looked at: who is in it, who is invited; and one's other teams. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { chooseTeam } from "@/api/client";
import { forget, me, type Me, type Role } from "@/api/me";
import { complain, say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { Confirm } from "@/design/Confirm";
import { Input, Select } from "@/design/Field";
import { day, instant, words } from "@/design/format";
import { Card, Fault, Loading } from "@/design/Layout";
import { Badge } from "@/design/Status";
import { useForm } from "@/design/form";
import { Invitations } from "./Invitations";
import { makeTeam, members, removeMember, renameTeam, setRole, type Member } from "./people";
import { lastOwner, ownersOnly, ROLES } from "./words";

const ROLE_OPTIONS = (["owner", "member", "viewer"] as const).map((role) => [role, words(role)] as const);

export function TeamSection({ person }: { person: Me }): ReactNode {
  return (
    <div className="space-y-4">
      <Members person={person} />
      <Invitations person={person} />
      <div className="grid gap-4 lg:grid-cols-2 lg:items-start">
        <Name person={person} />
        <Others person={person} />
      </div>
    </div>
  );
}

function Members({ person }: { person: Me }): ReactNode {
  const { team } = person;
  const client = useQueryClient();
  const found = useQuery(members(team.id));
  const [going, setGoing] = useState<Member | null>(null);
  const [lowered, setLowered] = useState<{ member: Member; role: Role } | null>(null);
  const barred = ownersOnly(team.role);

  async function change(member: Member, role: Role) {
    await setRole(team.id, member.user, role);
    say(`${member.username} is ${role} now.`);
    await Promise.all([members(team.id), me].map(({ queryKey }) => client.invalidateQueries({ queryKey })));
  }

  /** Who gives away his own say cannot take it back himself. */
  function wish(member: Member, role: Role) {
    if (member.user === person.id) setLowered({ member, role });
    else void change(member, role).catch(complain);
  }

  async function remove(member: Member) {
    await removeMember(team.id, member.user);
    if (member.user === person.id) {
      chooseTeam(null);
      await forget(client);
      say(`You have left ${team.name}.`);
      return;
    }
    await client.invalidateQueries({ queryKey: members(team.id).queryKey });
    say(`${member.username} is no longer in ${team.name}.`);
  }

  return (
    <Card title={`Members of ${team.name}`} aside={barred}>
      {found.isPending ? (
        <Loading lines={3} />
      ) : found.isError ? (
        <Fault error={found.error} retry={() => void found.refetch()} className="m-4" />
      ) : (
        <ul className="divide-y divide-line">
          {found.data.map((member) => (
            <Row
              key={member.user}
              member={member}
              all={found.data}
              person={person}
              onRole={(role) => wish(member, role)}
              onRemove={() => setGoing(member)}
            />
          ))}
        </ul>
      )}
      {lowered && (
        <Confirm
          title={`Be a ${lowered.role} of ${team.name}`}
          verb={`Become a ${lowered.role}`}
          danger
          onClose={() => setLowered(null)}
          act={() => change(lowered.member, lowered.role)}
        >
          <p>You give your say over the team away. Only another owner can give it back.</p>
        </Confirm>
      )}
      {going && (
        <Confirm
          title={going.user === person.id ? `Leave ${team.name}` : `Remove ${going.username}`}
          danger
          verb={going.user === person.id ? "Leave the team" : "Remove from the team"}
          onClose={() => setGoing(null)}
          act={() => remove(going)}
        >
          <p>
            {going.user === person.id ? "You no longer see" : `${going.username} no longer sees`} what the team runs,
            lends and pays. API keys made there by {going.user === person.id ? "you" : going.username} stop working at
            once.
          </p>
        </Confirm>
      )}
    </Card>
  );
}

interface RowProps {
  member: Member;
  all: readonly Member[];
  person: Me;
  onRole: (role: Role) => void;
  onRemove: () => void;
}

function Row({ member, all, person, onRole, onRemove }: RowProps): ReactNode {
  const own = member.user === person.id;
  const last = lastOwner(member, all);
  const barred = ownersOnly(person.team.role);
  const noRole = barred ?? last;
  const noRemoval = last ?? (own ? null : barred);
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 py-2.5 text-sm">
      <div className="min-w-40 grow">
        <div className="font-medium">
          {member.username} {own && <Badge>You</Badge>}
        </div>
        <div className="text-xs text-soft">
          {member.email || "no e-mail"}, since{" "}
          <time dateTime={member.created_at} title={instant(member.created_at)}>
            {day(member.created_at)}
          </time>
        </div>
        {last && !barred && <div className="text-xs text-soft">{last}</div>}
      </div>
      <div className="w-32">
        <Select
          label={`Role of ${member.username}`}
          hidden
          options={ROLE_OPTIONS}
          value={member.role}
          disabled={noRole !== null}
          title={noRole ?? ROLES[member.role]}
          onChange={(event) => onRole(event.target.value as Role)}
        />
      </div>
      <Button
        size="sm"
        kind="danger"
        disabled={noRemoval !== null}
        title={noRemoval ?? undefined}
        onClick={onRemove}
        aria-label={own ? "Leave the team" : `Remove ${member.username}`}
        className="w-20"
      >
        {own ? "Leave" : "Remove"}
      </Button>
    </li>
  );
}

function Name({ person }: { person: Me }): ReactNode {
  const client = useQueryClient();
  const { team } = person;
  const barred = ownersOnly(team.role);
  const form = useForm(["name"], async ({ name }) => {
    await renameTeam(team.id, name.trim());
    await client.invalidateQueries({ queryKey: me.queryKey });
    say(`The team is called ${name.trim()} now.`);
  });
  return (
    <Card title="Name of the team">
      <form onSubmit={form.onSubmit} noValidate className="space-y-3 px-4 py-3">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        <Input
          label="Name"
          name="name"
          defaultValue={team.name}
          maxLength={80}
          disabled={barred !== null}
          hint={barred}
          error={form.faults.at.name}
          autoComplete="off"
        />
        <Button type="submit" busy={form.busy} disabled={barred !== null}>
          Rename
        </Button>
      </form>
    </Card>
  );
}

function Others({ person }: { person: Me }): ReactNode {
  const client = useQueryClient();

  async function look(id: number) {
    chooseTeam(id);
    await forget(client);
  }

  const form = useForm(["name"], async ({ name }, element) => {
    const made = await makeTeam(name.trim());
    element.reset();
    await look(made.id);
    say(`${made.name} is made, and is your current team.`);
  });
  return (
    <Card title="Your teams">
      <ul className="divide-y divide-line">
        {person.teams.map((team) => (
          <li key={team.id} className="flex min-h-11 items-center gap-3 px-4 py-1.5 text-sm">
            <span className="min-w-0 grow">
              <span className="font-medium">{team.name}</span> <span className="text-soft">{team.role}</span>
            </span>
            {team.id === person.team.id ? (
              <Badge tone="work" icon="check">
                Current
              </Badge>
            ) : (
              <Button size="sm" onClick={() => void look(team.id).catch(complain)}>
                Switch to it
              </Button>
            )}
          </li>
        ))}
      </ul>
      <form onSubmit={form.onSubmit} noValidate className="space-y-3 border-t border-line px-4 py-3">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        <Input
          label="New team"
          name="name"
          maxLength={80}
          hint="With money, machines and workloads of its own."
          error={form.faults.at.name}
          autoComplete="off"
        />
        <Button type="submit" icon="plus" busy={form.busy}>
          Make it
        </Button>
      </form>
    </Card>
  );
}

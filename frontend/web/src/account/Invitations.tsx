/** Who is invited to the team, and inviting. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import type { Me, Role } from "@/api/me";
import { complain, say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { CopyBox } from "@/design/Copy";
import { Input, Select } from "@/design/Field";
import { day, instant, words } from "@/design/format";
import { Card, Fault } from "@/design/Layout";
import { useForm } from "@/design/form";
import { invitations, invite, withdraw, type Invitation, type MadeInvitation } from "./people";
import { ownersOnly, ROLES } from "./words";

const OPTIONS = (["member", "viewer", "owner"] as const).map((role) => [role, words(role)] as const);

export function Invitations({ person }: { person: Me }): ReactNode {
  const { team } = person;
  const barred = ownersOnly(team.role);
  const client = useQueryClient();
  const found = useQuery({ ...invitations(team.id), enabled: barred === null });
  const [made, setMade] = useState<MadeInvitation | null>(null);
  const [role, setChosen] = useState<Role>("member");
  const fresh = () => client.invalidateQueries({ queryKey: invitations(team.id).queryKey });
  const form = useForm(["email", "role"], async ({ email }, element) => {
    setMade(await invite(team.id, email.trim(), role));
    element.reset();
    await fresh();
  });
  const { at, rest } = form.faults;

  async function drop(one: Invitation) {
    try {
      await withdraw(team.id, one.id);
      if (made?.id === one.id) setMade(null);
      say(`The link of ${one.email} leads nowhere now.`);
    } catch (error) {
      complain(error);
    }
    await fresh();
  }

  return (
    <Card title="Invite somebody" aside={barred}>
      <form onSubmit={form.onSubmit} noValidate className="space-y-3 px-4 py-3">
        {rest !== null && <Fault error={rest} />}
        <div className="grid items-start gap-3 sm:grid-cols-[1fr_9rem_auto]">
          <Input
            label="E-mail"
            name="email"
            type="email"
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            disabled={barred !== null}
            error={at.email}
          />
          <Select
            label="Role"
            name="role"
            options={OPTIONS}
            value={role}
            disabled={barred !== null}
            error={at.role}
            onChange={(event) => setChosen(event.target.value as Role)}
          />
          <Button kind="primary" type="submit" busy={form.busy} disabled={barred !== null} className="sm:mt-6">
            Invite
          </Button>
        </div>
        <p className="text-xs text-soft">
          {words(role)}: {ROLES[role]}
        </p>
        {made && (
          <div role="status" className="space-y-2">
            <p className="text-sm">
              {made.mailed
                ? `A mail with this link went to ${made.email}.`
                : `No mail went out: give this link to ${made.email} yourself.`}{" "}
              It works for that address alone, until {day(made.expires_at)}, and is shown now only.
            </p>
            <CopyBox label={`Link for ${made.email}`} text={made.link} />
          </div>
        )}
      </form>
      {found.isError && <Fault error={found.error} retry={() => void found.refetch()} className="m-4" />}
      {(found.data?.length ?? 0) > 0 && (
        <ul className="divide-y divide-line border-t border-line">
          {found.data?.map((one) => (
            <li key={one.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2 text-sm">
              <div className="min-w-40 grow">
                <div className="font-medium">{one.email}</div>
                <div className="text-xs text-soft">
                  as {one.role}, by {one.invited_by}, until{" "}
                  <time dateTime={one.expires_at} title={instant(one.expires_at)}>
                    {day(one.expires_at)}
                  </time>
                </div>
              </div>
              <Button
                size="sm"
                kind="danger"
                aria-label={`Withdraw the invitation of ${one.email}`}
                onClick={() => void drop(one)}
              >
                Withdraw
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

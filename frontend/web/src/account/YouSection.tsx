/** Who one is: addresses and the password. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { addAddress, addresses, changePassword, mailAgain, makePrimary, removeAddress, type Address } from "@/api/auth";
import { me, type Me } from "@/api/me";
import { complain, say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { Confirm } from "@/design/Confirm";
import { Input } from "@/design/Field";
import { Card, Fault, Loading } from "@/design/Layout";
import { Badge } from "@/design/Status";
import { useForm } from "@/design/form";
import { GivenUp, useAgain, type Again } from "./again";
import { PASSWORD_RULES, Secret } from "./fields";

const ADDRESSES = ["addresses"];

export function YouSection({ person }: { person: Me }): ReactNode {
  const again = useAgain();
  return (
    <div className="grid gap-4 lg:grid-cols-2 lg:items-start">
      <Addresses again={again} />
      <Password person={person} again={again} />
      {again.dialog}
    </div>
  );
}

function Addresses({ again }: { again: Again }): ReactNode {
  const client = useQueryClient();
  const found = useQuery({ queryKey: ADDRESSES, queryFn: addresses });
  const [going, setGoing] = useState<Address | null>(null);

  async function change(act: () => Promise<unknown>, done: string) {
    await again.guarded(act);
    await Promise.all([ADDRESSES, me.queryKey].map((queryKey) => client.invalidateQueries({ queryKey })));
    say(done);
  }
  const tried = (act: () => Promise<unknown>, done: string) =>
    void change(act, done).catch((error) => error instanceof GivenUp || complain(error));

  async function mail(address: Address) {
    if (!(await mailAgain(address.email)))
      throw new Error("A mail went out a moment ago: the next can be sent after some minutes.");
  }

  const form = useForm(["email"], async ({ email }, element) => {
    await change(() => addAddress(email.trim()), `A mail went to ${email.trim()}: its link confirms the address.`);
    element.reset();
  });
  const rest = form.faults.rest instanceof GivenUp ? null : form.faults.rest;
  return (
    <Card title="E-mail">
      {found.isPending ? (
        <Loading lines={2} />
      ) : found.isError ? (
        <Fault error={found.error} retry={() => void found.refetch()} className="m-4" />
      ) : (
        <ul className="divide-y divide-line">
          {found.data.map((one) => (
            <li key={one.email} className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5 text-sm">
              <span className="min-w-0 basis-full font-medium">{one.email}</span>
              {one.primary && found.data.length > 1 && <Badge>Primary</Badge>}
              {one.verified ? (
                <Badge tone="good" icon="check">
                  Confirmed
                </Badge>
              ) : (
                <Badge tone="warn" icon="clock">
                  Not confirmed
                </Badge>
              )}
              <span className="ml-auto flex flex-wrap gap-1">
                {!one.verified && (
                  <Button size="sm" onClick={() => tried(() => mail(one), `A mail went to ${one.email}.`)}>
                    Send the mail again
                  </Button>
                )}
                {one.verified && !one.primary && (
                  <Button
                    size="sm"
                    onClick={() => tried(() => makePrimary(one.email), `${one.email} is your primary address.`)}
                  >
                    Make primary
                  </Button>
                )}
                {!one.primary && (
                  <Button size="sm" kind="danger" onClick={() => setGoing(one)}>
                    Remove
                  </Button>
                )}
              </span>
            </li>
          ))}
          {found.data.length === 0 && (
            <li className="px-4 py-3 text-sm text-soft">
              None yet. With an address you can set a forgotten password anew.
            </li>
          )}
        </ul>
      )}
      <form onSubmit={form.onSubmit} noValidate className="space-y-3 border-t border-line px-4 py-3">
        {rest !== null && <Fault error={rest} />}
        <Input
          label="Another address"
          name="email"
          type="email"
          autoComplete="email"
          autoCapitalize="off"
          spellCheck={false}
          error={form.faults.at.email}
        />
        <Button type="submit" icon="plus" busy={form.busy}>
          Add it
        </Button>
      </form>
      {going && (
        <Confirm
          title={`Remove ${going.email}`}
          verb="Remove"
          danger
          onClose={() => setGoing(null)}
          act={() => change(() => removeAddress(going.email), `${going.email} is removed.`).catch(quiet)}
        >
          <p>You can no longer sign in with it, and no mail goes there.</p>
        </Confirm>
      )}
    </Card>
  );
}

function quiet(error: unknown): void {
  if (!(error instanceof GivenUp)) throw error;
}

function Password({ person, again }: { person: Me; again: Again }): ReactNode {
  const form = useForm(["current_password", "new_password"], async ({ current_password, new_password }, element) => {
    await again
      .guarded(() => changePassword(current_password, new_password))
      .then(() => {
        element.reset();
        say("The password is changed. Everywhere else you are signed out.");
      }, quiet);
  });
  const { at, rest } = form.faults;
  return (
    <Card title="Password">
      <form onSubmit={form.onSubmit} noValidate className="space-y-4 px-4 py-3">
        {rest !== null && <Fault error={rest} />}
        {/* Password managers look for the name that the password belongs to. */}
        <input
          type="text"
          name="username"
          value={person.email || person.username}
          autoComplete="username"
          readOnly
          hidden
        />
        <Secret
          label="Current password"
          name="current_password"
          autoComplete="current-password"
          error={at.current_password}
        />
        <Secret
          label="New password"
          name="new_password"
          autoComplete="new-password"
          hint={PASSWORD_RULES}
          error={at.new_password}
        />
        <Button type="submit" busy={form.busy}>
          Change it
        </Button>
        <p className="text-xs text-soft">
          It signs you out everywhere but here: do it when you have lost a device. API keys go on working.
        </p>
      </form>
    </Card>
  );
}

/** API keys: how programs get in. A key is shown once. */

import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, type ReactNode } from "react";
import type { Me } from "@/api/me";
import { useNow } from "@/app/clock";
import { say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { Confirm } from "@/design/Confirm";
import { CopyBox } from "@/design/Copy";
import { Check, Input, Select } from "@/design/Field";
import { ago, instant, plural } from "@/design/format";
import { Card, Empty, Fault, Loading } from "@/design/Layout";
import { Badge } from "@/design/Status";
import { useForm } from "@/design/form";
import { installLine, quoted } from "@/hosts/commands";
import { keys, makeKey, revokeKey, wheel, type Key, type MadeKey } from "./people";
import { EXPIRIES, expiresAt, keyState, scopeText } from "./words";

export function KeysSection({ person }: { person: Me }): ReactNode {
  const found = useInfiniteQuery(keys);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<MadeKey | null>(null);
  const [going, setGoing] = useState<Key | null>(null);
  const client = useQueryClient();
  const now = useNow();
  const all = found.data?.pages.flatMap(({ results }) => results) ?? [];
  const open = all.filter((key) => keyState(key, now) === "open");
  const over = all.filter((key) => keyState(key, now) !== "open");
  const fresh = () => client.invalidateQueries({ queryKey: keys.queryKey });

  function took(key: MadeKey) {
    setMaking(false);
    setMade(key);
    void fresh();
  }

  return (
    <div className="space-y-4">
      {made && <Shown made={made} onDone={() => setMade(null)} />}
      {making && <NewKey person={person} onMade={took} onCancel={() => setMaking(false)} />}
      <Card
        title={`Keys of ${person.team.name}`}
        aside={
          !making && (
            <Button size="sm" icon="plus" onClick={() => setMaking(true)}>
              New key
            </Button>
          )
        }
      >
        {found.isPending ? (
          <Loading lines={4} />
        ) : found.isError ? (
          <Fault error={found.error} retry={() => void found.refetch()} className="m-4" />
        ) : open.length === 0 ? (
          <NoKeys onMake={making ? null : () => setMaking(true)} />
        ) : (
          <KeyTable rows={open} now={now} onRevoke={setGoing} />
        )}
        {over.length > 0 && (
          <details className="border-t border-line">
            <summary className="px-4 py-2 text-sm text-soft">{plural(over.length, "key")} revoked or expired</summary>
            <KeyTable rows={over} now={now} />
          </details>
        )}
        {found.hasNextPage && (
          <div className="border-t border-line px-4 py-2">
            <Button size="sm" busy={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
              Show older keys
            </Button>
          </div>
        )}
      </Card>
      <p className="text-xs text-soft">
        {person.team.role === "owner"
          ? "You see every key of the team."
          : "You see the keys that you made; an owner of the team sees all of them."}
        {" A key ends when its maker leaves the team."}
      </p>
      {going && (
        <Confirm
          title={`Revoke ${going.name}`}
          verb="Revoke it"
          danger
          onClose={() => setGoing(null)}
          act={async () => {
            await revokeKey(going.id);
            await fresh();
            say(`${going.name} is revoked.`);
          }}
        >
          <p>
            Programs that use it stop getting in at once, and it cannot be undone: make another key for them first. What
            they have started runs on.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function NoKeys({ onMake }: { onMake: (() => void) | null }): ReactNode {
  return (
    <Empty
      icon="key"
      title="No key yet"
      about="Programs, notebooks and the command line get in with a key. It belongs to the team, and can do what you let it."
    >
      {onMake && (
        <Button kind="primary" icon="plus" onClick={onMake}>
          Make a key
        </Button>
      )}
    </Empty>
  );
}

const HEAD = "px-2 py-1.5 text-left label-caps whitespace-nowrap first:pl-4 last:pr-4";
const CELL = "px-2 py-2 align-top first:pl-4 last:pr-4";

function KeyTable({
  rows,
  now,
  onRevoke,
}: {
  rows: readonly Key[];
  now: number;
  onRevoke?: (key: Key) => void;
}): ReactNode {
  return (
    <table className="w-full text-sm">
      <thead>
        <tr className="border-b border-line">
          <th scope="col" className={HEAD}>
            Key
          </th>
          <th scope="col" className={`${HEAD} max-sm:hidden`}>
            May
          </th>
          <th scope="col" className={`${HEAD} max-md:hidden`}>
            Made by
          </th>
          <th scope="col" className={`${HEAD} max-md:hidden`}>
            Last used
          </th>
          <th scope="col" className={HEAD}>
            {onRevoke ? "Expires" : "Over"}
          </th>
          {onRevoke && (
            <th scope="col" className={HEAD}>
              <span className="sr-only">Revoke</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody className="divide-y divide-line">
        {rows.map((key) => (
          <tr key={key.id}>
            <td className={CELL}>
              <div className="font-medium">{key.name}</div>
              <div className="font-mono text-xs text-soft">yk_{key.prefix}_…</div>
              <div className="text-xs text-soft sm:hidden">{key.scopes.join(", ")}</div>
              <div className="text-xs text-soft md:hidden">
                by {key.made_by}, {key.last_used_at ? `used ${ago(key.last_used_at, now)}` : "never used"}
              </div>
            </td>
            <td className={`${CELL} max-sm:hidden`}>
              <span className="flex flex-wrap gap-1">
                {key.scopes.map((scope) => (
                  <Badge key={scope} title={scopeText(scope)}>
                    {scope}
                  </Badge>
                ))}
              </span>
            </td>
            <td className={`${CELL} max-md:hidden`}>{key.made_by}</td>
            <td className={`${CELL} whitespace-nowrap max-md:hidden`}>
              <At at={key.last_used_at} text={ago(key.last_used_at, now)} />
            </td>
            <td className={`${CELL} whitespace-nowrap`}>
              <End of={key} now={now} />
            </td>
            {onRevoke && (
              <td className={`${CELL} text-right`}>
                <Button size="sm" kind="danger" aria-label={`Revoke ${key.name}`} onClick={() => onRevoke(key)}>
                  Revoke
                </Button>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function At({ at, text }: { at: string | null; text: string }): ReactNode {
  return at ? (
    <time dateTime={at} title={instant(at)}>
      {text}
    </time>
  ) : (
    text
  );
}

function End({ of: key, now }: { of: Key; now: number }): ReactNode {
  const state = keyState(key, now);
  if (state === "revoked") return <At at={key.revoked_at} text={`revoked ${ago(key.revoked_at, now)}`} />;
  if (state === "expired") return <At at={key.expires_at} text={`expired ${ago(key.expires_at, now)}`} />;
  if (key.expires_at === null) return "never";
  const days = Math.ceil((Date.parse(key.expires_at) - now) / 86_400_000);
  return <At at={key.expires_at} text={days > 1 ? `in ${days} days` : "within a day"} />;
}

interface NewKeyProps {
  person: Me;
  onMade: (key: MadeKey) => void;
  onCancel: () => void;
}

function NewKey({ person, onMade, onCancel }: NewKeyProps): ReactNode {
  const [scopes, setScopes] = useState<readonly string[]>(person.scopes.includes("run") ? ["read", "run"] : ["read"]);
  const form = useForm(["name", "expires_at", "scopes"], async ({ name, expires_at }) => {
    onMade(
      await makeKey(
        name.trim(),
        person.scopes.filter((scope) => scopes.includes(scope)),
        expiresAt(expires_at, Date.now()),
      ),
    );
  });
  const { at, rest } = form.faults;
  const toggle = (scope: string) =>
    setScopes(scopes.includes(scope) ? scopes.filter((one) => one !== scope) : [...scopes, scope]);
  return (
    <Card title="New key">
      <form onSubmit={form.onSubmit} noValidate className="space-y-4 px-4 py-3">
        {rest !== null && <Fault error={rest} />}
        <div className="grid gap-4 sm:grid-cols-2">
          <Input
            label="Name"
            name="name"
            hint="For you: what uses it."
            maxLength={80}
            autoComplete="off"
            error={at.name}
            placeholder="laptop"
            // eslint-disable-next-line jsx-a11y/no-autofocus -- the form opens at a press, at its first field
            autoFocus
          />
          <Select
            label="Expires"
            name="expires_at"
            options={EXPIRIES.map(({ value, label }) => [value, label] as const)}
            defaultValue="90"
            error={at.expires_at}
          />
        </div>
        <fieldset>
          <legend className="mb-1 text-sm font-medium">What it may do</legend>
          {person.scopes.map((scope) => (
            <div key={scope} className="flex flex-wrap items-center gap-x-2 text-sm">
              <Check
                label={scope}
                checked={scopes.includes(scope)}
                onChange={() => toggle(scope)}
                aria-describedby={`scope-${scope}`}
                className="w-24 font-mono"
              />
              <span id={`scope-${scope}`} className="text-soft">
                {scopeText(scope)}
              </span>
            </div>
          ))}
          {scopes.length === 0 && <p className="text-sm text-bad">Choose at least one.</p>}
          {at.scopes && <p className="text-sm text-bad">{at.scopes}</p>}
        </fieldset>
        <div className="flex gap-2">
          <Button kind="primary" type="submit" busy={form.busy} disabled={scopes.length === 0}>
            Make the key
          </Button>
          <Button onClick={onCancel}>Cancel</Button>
        </div>
      </form>
    </Card>
  );
}

/** The one time at which the secret can be seen. */
function Shown({ made, onDone }: { made: MadeKey; onDone: () => void }): ReactNode {
  const ref = useRef<HTMLParagraphElement>(null);
  const found = useQuery(wheel);
  useEffect(() => ref.current?.focus(), []);
  const url = window.location.origin;
  const install = found.data && installLine(url, found.data, "");
  const lines = [install, `yard login ${quoted(url)}`].filter(Boolean).join("\n");
  return (
    <Card title={`Key ${made.name}`}>
      <div className="space-y-3 px-4 py-3 text-sm">
        <p ref={ref} tabIndex={-1} className="outline-none">
          This key is shown now and never again. Copy it to where it is needed.
        </p>
        <CopyBox label="Key" text={made.key} />
        <CopyBox label="On the machine that uses it" text={lines} />
        <p className="text-soft">
          The second line asks for the key and does not show it, so that it stays out of the shell's history.
        </p>
        <Button kind="primary" onClick={onDone}>
          I have kept it
        </Button>
      </div>
    </Card>
  );
}

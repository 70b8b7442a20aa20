/** Pages to which links in mails lead: confirm an address, choose a new password, join a team. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { askReset, readEmailKey, resetPassword, verifyEmail } from "@/api/auth";
import { chooseTeam, Problem } from "@/api/client";
import { forget, me } from "@/api/me";
import { say } from "@/app/toasts";
import { Button, buttonClass } from "@/design/Button";
import { Input } from "@/design/Field";
import { instant } from "@/design/format";
import { Fault, Loading } from "@/design/Layout";
import { useForm } from "@/design/form";
import { Door, FootLink } from "./Door";
import { PASSWORD_RULES, Secret } from "./fields";
import { acceptInvitation, readInvitation } from "./people";
import { ROLES } from "./words";

const LINK = `${buttonClass("primary")} no-underline`;
const OTHER_LINK = `${buttonClass()} no-underline`;

export function VerifyPage(): ReactNode {
  const { key } = useParams({ from: "/account/verify-email/$key" });
  const client = useQueryClient();
  const asked = useQuery({
    queryKey: ["email-key", key],
    queryFn: () => readEmailKey(key),
    retry: false,
    staleTime: Infinity,
  });
  const [done, setDone] = useState(false);
  const who = useQuery(me);
  const form = useForm([], async () => {
    await verifyEmail(key);
    await client.fetchQuery({ ...me, staleTime: 0 }); // The link may have signed its reader in.
    setDone(true);
  });

  if (asked.isPending)
    return (
      <Door title="Confirm your e-mail">
        <Loading lines={2} />
      </Door>
    );
  if (asked.isError) {
    return (
      <Door title="This link does not work" foot={<FootLink to="/account/login">Sign in</FootLink>}>
        <Fault error={asked.error} />
        <p className="mt-3 text-sm text-soft">
          It was used already, or is too old. Sign in: if the address still needs to be confirmed, a new mail comes.
        </p>
      </Door>
    );
  }
  const address = <strong className="text-ink">{asked.data.data.email}</strong>;
  if (done) {
    return (
      <Door title="Confirmed" about={<p role="status">{address} is yours.</p>}>
        {who.data ? (
          <Link to="/offers" className={LINK}>
            Go on
          </Link>
        ) : (
          <Link to="/account/login" search={{ email: asked.data.data.email }} className={LINK}>
            Sign in
          </Link>
        )}
      </Door>
    );
  }
  return (
    <Door title="Confirm your e-mail" about={<p>Somebody gave {address} as theirs. Was it you?</p>}>
      <form onSubmit={form.onSubmit} className="space-y-3">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        <Button kind="primary" type="submit" busy={form.busy}>
          Yes, it is mine
        </Button>
        <p className="text-xs text-soft">If not, close this page: nothing happens.</p>
      </form>
    </Door>
  );
}

export function ForgottenPage(): ReactNode {
  const [sent, setSent] = useState<string | null>(null);
  const form = useForm(["email"], async ({ email }) => {
    await askReset(email.trim());
    setSent(email.trim());
  });
  const foot = <FootLink to="/account/login">Back to sign in</FootLink>;
  if (sent !== null) {
    return (
      <Door
        title="Look into your mail"
        foot={foot}
        about={
          <p role="status">
            If <strong className="text-ink">{sent}</strong> has an account, a mail with a link is on its way there.
          </p>
        }
      >
        <Button onClick={() => setSent(null)}>Try another address</Button>
      </Door>
    );
  }
  return (
    <Door title="Forgotten password" about="We mail you a link with which you choose a new one." foot={foot}>
      <form onSubmit={form.onSubmit} noValidate className="space-y-4">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        <Input
          label="E-mail"
          name="email"
          type="email"
          autoComplete="username"
          autoCapitalize="off"
          spellCheck={false}
          error={form.faults.at.email}
        />
        <Button kind="primary" type="submit" busy={form.busy} className="w-full">
          Send the link
        </Button>
      </form>
    </Door>
  );
}

export function ResetPage(): ReactNode {
  const { key } = useParams({ from: "/account/password/reset/key/$key" });
  const [done, setDone] = useState(false);
  const form = useForm(["key", "password"], async ({ password }) => {
    await resetPassword(key, password);
    setDone(true);
  });
  const { at, rest } = form.faults;
  if (done) {
    return (
      <Door
        title="The password is changed"
        about={<p role="status">Where you were signed in before, you are signed out.</p>}
      >
        <Link to="/account/login" className={LINK}>
          Sign in
        </Link>
      </Door>
    );
  }
  return (
    <Door title="A new password" foot={<FootLink to="/account/password/reset">Have another link sent</FootLink>}>
      <form onSubmit={form.onSubmit} noValidate className="space-y-4">
        {rest !== null && <Fault error={rest} />}
        {at.key && (
          <Fault
            error={new Problem(400, "link", at.key, "Links work once, and not for long: have another one sent.")}
          />
        )}
        <Secret
          label="New password"
          name="password"
          autoComplete="new-password"
          hint={PASSWORD_RULES}
          error={at.password}
        />
        <Button kind="primary" type="submit" busy={form.busy} className="w-full">
          Set the password
        </Button>
      </form>
    </Door>
  );
}

export function InvitationPage(): ReactNode {
  const { token } = useParams({ from: "/invitations/$token" });
  const client = useQueryClient();
  const navigate = useNavigate();
  const who = useQuery(me);
  const asked = useQuery({ queryKey: ["invitation", token], queryFn: () => readInvitation(token) });
  const form = useForm([], async () => {
    const team = await acceptInvitation(token);
    chooseTeam(team.id);
    await forget(client);
    say(`You are in ${team.name}.`);
    await navigate({ to: "/account", hash: "team", replace: true });
  });

  if (asked.isPending || who.isPending)
    return (
      <Door title="Invitation">
        <Loading lines={3} />
      </Door>
    );
  if (asked.isError) {
    const isOver = asked.error instanceof Problem && asked.error.status === 404; // Asking again changes nothing.
    return (
      <Door title="Invitation">
        <Fault error={asked.error} retry={isOver ? undefined : () => void asked.refetch()} />
      </Door>
    );
  }
  const { team, role, email, invited_by, expires_at } = asked.data;
  const about = (
    <p>
      {invited_by} invites <strong className="text-ink">{email}</strong> to be {role === "owner" ? "an" : "a"}{" "}
      <strong className="text-ink">{role}</strong>: {ROLES[role]}
    </p>
  );
  const until = (
    <p className="text-xs text-soft">
      The link works until <time dateTime={expires_at}>{instant(expires_at)}</time>.
    </p>
  );
  if (!who.data) {
    const search = { next: `/invitations/${token}`, email };
    return (
      <Door title={`Join ${team}`} about={about}>
        <div className="space-y-3">
          <div className="flex flex-wrap gap-2">
            <Link to="/account/signup" search={search} className={LINK}>
              Create an account
            </Link>
            <Link to="/account/login" search={search} className={OTHER_LINK}>
              Sign in
            </Link>
          </div>
          <p className="text-sm text-soft">With this very address; then you come back here.</p>
          {until}
        </div>
      </Door>
    );
  }
  const another = who.data.email.toLowerCase() !== email.toLowerCase();
  return (
    <Door title={`Join ${team}`} about={about}>
      <form onSubmit={form.onSubmit} className="space-y-3">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        {another && (
          <p className="text-sm text-warn">
            You are signed in as {who.data.email || who.data.username}. It works only if {email} is one of your
            addresses, too.
          </p>
        )}
        <Button kind="primary" type="submit" busy={form.busy}>
          Join the team
        </Button>
        {until}
      </form>
    </Door>
  );
}

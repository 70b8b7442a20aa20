/** In: sign in, or sign up first. */

import { useSearch } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { sendCode, signIn, signUp } from "@/api/auth";
import { Button } from "@/design/Button";
import { Input } from "@/design/Field";
import { Fault } from "@/design/Layout";
import { useForm } from "@/design/form";
import { useArrive } from "./arrive";
import { Door, FootLink } from "./Door";
import { CodeField, PASSWORD_RULES, Secret } from "./fields";
import { bareCode, stepOf, type Step } from "./flow";
import { MailSent } from "./MailSent";

interface Given {
  who: string;
  password: string;
}

/** Where in the process one is, and what was given so far: kept for as long as the page is open, to send a mail again. */
function useSteps(next: string | undefined) {
  const [step, setStep] = useState<Step>({ at: "enter" });
  const [given, setGiven] = useState<Given | null>(null);
  const arrive = useArrive(next);

  async function took(answer: Parameters<typeof stepOf>[0], now: Given | null) {
    const to = stepOf(answer);
    if (to.at === "in") return arrive();
    setGiven(now);
    setStep(to);
  }

  return { step, given, took, restart: () => setStep({ at: "enter" }) };
}

type Steps = ReturnType<typeof useSteps>;

export function LoginPage(): ReactNode {
  const { next, email, ended } = useSearch({ from: "/account/login" });
  const steps = useSteps(next);
  const enter = <Enter steps={steps} next={next} email={email} ended={ended !== undefined} />;
  return <Later steps={steps} enter={enter} />;
}

export function SignupPage(): ReactNode {
  const { next, email } = useSearch({ from: "/account/signup" });
  const steps = useSteps(next);
  return <Later steps={steps} enter={<Join steps={steps} next={next} email={email} />} />;
}

/** The steps after the first, which are the same for who comes and for who comes back. */
function Later({ steps, enter }: { steps: Steps; enter: ReactNode }): ReactNode {
  const { step, given } = steps;
  if (step.at === "code") return <SecondFactor steps={steps} recovery={step.recovery} />;
  if (step.at === "mail" && given)
    return <MailSent to={given.who} again={() => signIn(given.who, given.password)} back={steps.restart} />;
  if (step.at === "unknown") return <Unknown flow={step.flow} back={steps.restart} />;
  return enter;
}

interface FirstProps {
  steps: Steps;
  next?: string;
  email?: string;
}

/** ended: one was in, until the session was over. */
function Enter({ steps, next, email, ended }: FirstProps & { ended: boolean }): ReactNode {
  const form = useForm(["who", "password"], async ({ who, password }) => {
    const given = { who: who.trim(), password };
    await steps.took(await signIn(given.who, password), given);
  });
  const { at, rest } = form.faults;
  return (
    <Door
      title="Sign in"
      about={ended && "Your session has ended. Sign in to go on where you were."}
      foot={
        <>
          <FootLink to="/account/signup" search={{ next, email }}>
            Create an account
          </FootLink>
          <FootLink to="/account/password/reset">Forgotten password</FootLink>
        </>
      }
    >
      <form onSubmit={form.onSubmit} noValidate className="space-y-4">
        {rest !== null && <Fault error={rest} />}
        <Input
          label="E-mail or user name"
          name="who"
          defaultValue={email ?? steps.given?.who}
          autoComplete="username"
          autoCapitalize="off"
          spellCheck={false}
          error={at.who}
        />
        <Secret label="Password" name="password" autoComplete="current-password" error={at.password} />
        <Button kind="primary" type="submit" busy={form.busy} className="w-full">
          Sign in
        </Button>
      </form>
    </Door>
  );
}

function Join({ steps, next, email }: FirstProps): ReactNode {
  const form = useForm(["email", "password"], async ({ email: who, password }) => {
    await steps.took(await signUp(who.trim(), password), { who: who.trim(), password });
  });
  const { at, rest } = form.faults;
  return (
    <Door
      title="Create an account"
      about="You get a team of your own; others can be invited to it."
      foot={
        <FootLink to="/account/login" search={{ next, email }}>
          I have an account: sign in
        </FootLink>
      }
    >
      <form onSubmit={form.onSubmit} noValidate className="space-y-4">
        {rest !== null && <Fault error={rest} />}
        <Input
          label="E-mail"
          name="email"
          type="email"
          defaultValue={email ?? steps.given?.who}
          autoComplete="username"
          autoCapitalize="off"
          spellCheck={false}
          error={at.email}
        />
        <Secret
          label="Password"
          name="password"
          autoComplete="new-password"
          hint={PASSWORD_RULES}
          error={at.password}
        />
        <Button kind="primary" type="submit" busy={form.busy} className="w-full">
          Create the account
        </Button>
      </form>
    </Door>
  );
}

function SecondFactor({ steps, recovery }: { steps: Steps; recovery: boolean }): ReactNode {
  const [kept, setKept] = useState(false);
  return (
    <Door title="Second factor" foot={<Back back={steps.restart} />}>
      <CodeForm key={String(kept)} steps={steps} kept={kept} />
      {recovery && (
        <Button kind="quiet" size="sm" className="mt-3 w-full" onClick={() => setKept(!kept)}>
          {kept ? "Use a code of the app" : "I cannot get at my app: use a recovery code"}
        </Button>
      )}
    </Door>
  );
}

/** kept: one of the recovery codes that were kept for this day. */
function CodeForm({ steps, kept }: { steps: Steps; kept: boolean }): ReactNode {
  const form = useForm(["code"], async ({ code }) => {
    const answer = await sendCode(bareCode(code));
    await steps.took(answer, steps.given);
  });
  const { at, rest } = form.faults;
  return (
    <form onSubmit={form.onSubmit} noValidate className="space-y-4">
      {rest !== null && <Fault error={rest} />}
      <CodeField recovery={kept} error={at.code} now />
      <Button kind="primary" type="submit" busy={form.busy} className="w-full">
        Go on
      </Button>
    </form>
  );
}

function Unknown({ flow, back }: { flow: string; back: () => void }): ReactNode {
  return (
    <Door
      title="One more step"
      about={`The broker asks for “${flow}”, which this page does not know yet. Whoever runs the broker can help.`}
      foot={<Back back={back} />}
    />
  );
}

function Back({ back }: { back: () => void }): ReactNode {
  return (
    <Button kind="quiet" size="sm" icon="left" onClick={back}>
      Sign in as somebody else
    </Button>
  );
}

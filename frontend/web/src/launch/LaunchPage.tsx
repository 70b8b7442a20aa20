/** Launch: a program, what it needs, quotes side by side, and one click to order. */

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { me } from "@/api/me";
import { Button, IconButton } from "@/design/Button";
import { plural, usd } from "@/design/format";
import { Icon } from "@/design/icons";
import { Fault, PageHead } from "@/design/Layout";
import { commandOf } from "./command";
import { addressed, filled, keep, kept, needOf, resumeOf, type Form } from "./form";
import { NeedCard } from "./need/NeedCard";
import { hasRequirements, splitArgs } from "./program/program";
import { ProgramCard, wrongArgs } from "./program/ProgramCard";
import { useTaken } from "./program/store";
import { DryRun, PriceMoved } from "./quotes/Dialogs";
import { QuotesCard } from "./quotes/QuotesCard";
import { orderOf, useOrder, type Intent } from "./quotes/useOrder";
import { useQuotes } from "./quotes/useQuotes";
import { holdOf } from "./scale";
import type { Quote, Resume } from "./shapes";

export function LaunchPage(): ReactNode {
  const search = useSearch({ from: "/own/launch" });
  const [form, setForm] = useState<Form>(() => addressed(kept(sessionStorage), search));
  useEffect(() => keep(sessionStorage, form), [form]);
  const resume = useMemo(() => resumeOf(search.resume), [search.resume]);
  const who = useQuery(me);
  const allowed = who.data?.team?.role !== "viewer";
  const taken = useTaken();
  const packing = taken.program !== null && taken.packed === null && taken.failed === null;
  const asked = useQuotes(form, taken.packed?.tarSha256, allowed && !packing);
  const ordering = useOrder(asked.askAgain);
  // What was refused is refused no longer when something else is asked for.
  const onChange = (changed: Form) => {
    setForm(changed);
    ordering.forget();
  };
  const [rank, setRank] = useState(1);
  const chosen = asked.data?.quotes.find((one) => one.rank === rank) ?? asked.data?.quotes[0] ?? null;
  /** When the dry run was opened; null: it is closed. */
  const [looked, setLooked] = useState<number | null>(null);
  const look = () => setLooked(Date.now());
  useTakenOver(search);

  const { need } = needOf(form, looked ?? asked.dataUpdatedAt, taken.packed?.tarSha256);
  const args = wrongArgs(taken.args) === null ? splitArgs(taken.args) : [];
  const intent: Intent | null = taken.program && {
    program: taken.program,
    args,
    name: taken.name.trim(),
    budget: need.budget_usd,
    resume,
  };
  const asking = taken.program && {
    script: taken.program.script,
    folder: taken.program.folder,
    args,
    name: taken.name.trim(),
    resume,
    requirements: hasRequirements(taken.program),
    loose: taken.program.files.length > (hasRequirements(taken.program) ? 2 : 1),
  };
  const hold = (quote: Quote) => holdOf(quote, need.budget_usd);
  const available = who.data ? Number(who.data.available_usd) : Infinity;
  const least = asked.data?.quotes.length ? Math.min(...asked.data.quotes.map((one) => hold(one) ?? Infinity)) : 0;

  const blocked = !allowed
    ? "Viewers of a team cannot order."
    : !taken.program
      ? "Add a program to order one of these."
      : wrongArgs(taken.args)
        ? "Mend the arguments of the program to order."
        : taken.failed
          ? taken.failed.message
          : null;

  return (
    <>
      <PageHead title="Launch" about="Say what is to be trained and what it may cost; take the quote that suits.">
        {asked.data && !asked.isError && (
          <Button className="xl:hidden" onClick={() => document.getElementById("launch-quotes")?.scrollIntoView()}>
            {plural(asked.data.quotes.length, "quote")}
          </Button>
        )}
        <Button icon="file" onClick={look}>
          Dry run
        </Button>
      </PageHead>
      {resume && <Resuming resume={resume} />}
      {search.resume && !resume && (
        <p
          role="alert"
          className="mb-3 text-sm text-bad"
        >{`"${search.resume}" names no run to go on from: write 12, or 12@180 for version 180 of it.`}</p>
      )}
      <div className="grid items-start gap-4 xl:grid-cols-[20rem_minmax(0,1fr)] 2xl:grid-cols-[26rem_minmax(0,1fr)]">
        {/* Beside the quotes it scrolls by itself: what changes there is seen while a field is filled in. */}
        <div className="grid items-start gap-4 lg:max-xl:grid-cols-2 xl:sticky xl:top-4 xl:max-h-[calc(100dvh-2rem)] xl:overflow-y-auto">
          <ProgramCard onExample={(example) => onChange(filled(form, example.need))} />
          <NeedCard form={form} onChange={onChange} quotes={asked.data?.quotes ?? []} error={asked.error} />
        </div>
        <div id="launch-quotes" tabIndex={-1} className="outline-none min-w-0 scroll-mt-14 space-y-3">
          {ordering.error !== null && (
            <div ref={intoView}>
              <Fault error={ordering.error} />
            </div>
          )}
          {allowed && Number.isFinite(least) && least > available && (
            <ShortOfCredit available={available} least={least} />
          )}
          <QuotesCard
            asked={asked}
            form={form}
            onChange={onChange}
            allowed={allowed}
            deadlineHours={need.deadline_hours}
            chosen={chosen}
            onChoose={setRank}
            onDryRun={look}
            orders={{
              working: ordering.working,
              blocked,
              holdOf: hold,
              onCancel: ordering.cancel,
              onOrder: (quote) => intent && void ordering.place(quote, intent),
            }}
          />
        </div>
      </div>
      <DryRun
        open={looked !== null}
        onClose={() => setLooked(null)}
        quote={allowed ? chosen : null}
        need={need}
        hold={chosen ? hold(chosen) : null}
        body={chosen && intent && taken.packed ? orderOf(chosen, taken.packed.sha256, intent) : null}
        command={asking ? commandOf(asking, need) : null}
        failed={taken.failed}
        packing={packing}
      />
      <PriceMoved
        moved={ordering.moved}
        onClose={ordering.forget}
        onOrder={(quote) => intent && void ordering.place(quote, intent)}
      />
    </>
  );
}

const intoView = (element: HTMLElement | null) => element?.scrollIntoView({ block: "nearest" });

/** What the address asked for is in the form now, where it can be taken back; said twice it would come back with every reload. */
function useTakenOver(search: { offers?: string; gpu?: string; resume?: string }): void {
  const navigate = useNavigate();
  const { offers, gpu, resume } = search;
  useEffect(() => {
    if (offers || gpu) void navigate({ to: "/launch", search: resume ? { resume } : {}, replace: true });
  }, [navigate, offers, gpu, resume]);
}

function Resuming({ resume }: { resume: Resume }): ReactNode {
  const navigate = useNavigate();
  const stop = () => void navigate({ to: "/launch", search: {}, replace: true });
  return (
    <p className="mb-3 flex min-h-9 items-center gap-2 rounded-md bg-accent-wash px-3 text-sm">
      <Icon name="play" className="text-accent-strong" />
      <span className="grow">
        Goes on from {resume.version === null ? "the newest version" : `version ${resume.version}`} of{" "}
        <Link to="/workloads/$id" params={{ id: String(resume.workload) }} className="underline">
          run {resume.workload}
        </Link>
        , with its parameters.
      </span>
      <IconButton label="Begin anew instead" icon="close" onClick={stop} />
    </p>
  );
}

function ShortOfCredit({ available, least }: { available: number; least: number }): ReactNode {
  return (
    <div className="flex flex-wrap items-center gap-3 rounded-md bg-warn-wash px-3 py-2 text-sm text-warn">
      <Icon name="warn" />
      <p className="min-w-0 grow basis-60">
        {usd(available)} USD of credit is left; the least of these orders sets {usd(least)} aside. A smaller budget sets
        less aside.
      </p>
      <Button size="sm" onClick={() => document.getElementById("launch-budget")?.focus()}>
        Set a budget
      </Button>
      <Link to="/account" className="underline">
        Add credit
      </Link>
    </div>
  );
}

/** Taking a machine back: at once, or with time for what runs on it to hand in its work. */

import { useQueryClient } from "@tanstack/react-query";
import { RadioGroup } from "radix-ui";
import { useState, type ReactNode } from "react";
import { say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { Input } from "@/design/Field";
import { Fault } from "@/design/Layout";
import { Modal } from "@/design/Panel";
import { useForm } from "@/design/form";
import { hosts, reclaim, type Host } from "./api";

/** The broker takes no longer notice than a day. */
const NOTICE_MAX_MIN = 1440;

export function Reclaim({ host, onClose }: { host: Host; onClose: () => void }): ReactNode {
  const client = useQueryClient();
  const [when, setWhen] = useState<"notice" | "now">("notice");
  const [minutes, setMinutes] = useState("5");
  const notice = when === "now" ? 0 : Math.round(Number(minutes) * 60);
  const wrong = when === "notice" && !(notice > 0 && notice <= NOTICE_MAX_MIN * 60);
  const form = useForm(["notice_s"], async () => {
    await reclaim(host.id, notice);
    await client.invalidateQueries({ queryKey: hosts.queryKey });
    say(notice === 0 ? `${host.name} is yours.` : `${host.name} is on its way back to you.`);
    onClose();
  });
  const runs = host.lease !== null;
  return (
    <Modal
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Take ${host.name} back`}
      about="From this moment nobody new can rent it."
    >
      <form onSubmit={form.onSubmit} noValidate className="space-y-4 text-sm">
        {form.faults.rest !== null && <Fault error={form.faults.rest} />}
        <RadioGroup.Root
          value={when}
          onValueChange={(value) => setWhen(value as "notice" | "now")}
          aria-label="When"
          className="space-y-2"
        >
          <Choice
            value="notice"
            label="With notice"
            about={
              runs
                ? "The run on it hands in the work that it has and moves elsewhere; half a minute is usually enough. You are paid until it leaves."
                : "It is yours when that time is over."
            }
          />
          <Choice
            value="now"
            label="At once"
            about={
              runs
                ? "The run on it is cut off and does its last minutes again elsewhere. You are paid up to this second."
                : "It is yours this second."
            }
          />
        </RadioGroup.Root>
        {when === "notice" && (
          <div className="w-40">
            <Input
              label="Notice"
              unit="minutes"
              inputMode="decimal"
              value={minutes}
              onChange={(event) => setMinutes(event.target.value)}
              name="notice_s"
              error={form.faults.at.notice_s ?? (wrong ? `Up to ${NOTICE_MAX_MIN} minutes.` : null)}
            />
          </div>
        )}
        {host.state === "reclaiming" && (
          <p className="text-soft">It is on its way back already: asking again can make it sooner, not later.</p>
        )}
        <p className="text-soft">It stays yours until you offer it again. What it has earned stays earned.</p>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" busy={form.busy} disabled={wrong}>
            {when === "now" ? "Take it back now" : "Take it back"}
          </Button>
        </div>
      </form>
    </Modal>
  );
}

function Choice({ value, label, about }: { value: string; label: string; about: string }): ReactNode {
  const id = `reclaim-${value}`;
  return (
    <div className="flex items-start gap-2.5">
      <RadioGroup.Item
        value={value}
        id={id}
        aria-describedby={`${id}-about`}
        className="mt-0.5 flex size-6 shrink-0 items-center justify-center rounded-full border border-edge bg-card"
      >
        <RadioGroup.Indicator className="size-3 rounded-full bg-accent" />
      </RadioGroup.Item>
      <div>
        <label htmlFor={id} className="block min-h-6 cursor-pointer font-medium">
          {label}
        </label>
        <p id={`${id}-about`} className="text-soft">
          {about}
        </p>
      </div>
    </div>
  );
}

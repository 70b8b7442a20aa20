/** What it has cost, what it will have cost, and the bill behind both. */

import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { Bar } from "@/design/Bar";
import { Button } from "@/design/Button";
import { duration, NOTHING, percent, price, usd, zone } from "@/design/format";
import { Icon } from "@/design/icons";
import { Card, Empty, Fault, Figure, Loading } from "@/design/Layout";
import { Drawer } from "@/design/Panel";
import { Badge } from "@/design/Status";
import { costs } from "./figures";
import { CELL, HEAD, HEAD_NUM, Moment, Wide } from "./parts";
import { billQuery } from "./queries";
import { isOver, type Bill, type BillLine, type Workload } from "./types";

export function Cost({ workload }: { workload: Workload }): ReactNode {
  const [open, setOpen] = useState(false);
  const { spent, budget, forecast, perHour, overBudget, bar } = costs(workload);
  const over = isOver(workload);
  const text = `${usd(spent)} of ${usd(budget)} spent${forecast === null ? "" : `, ${usd(forecast)} expected at the end`}`;
  return (
    <Card
      title="Cost in USD"
      aside={
        <Button size="sm" kind="quiet" onClick={() => setOpen(true)}>
          Bill
        </Button>
      }
    >
      <div className="px-4 py-3">
        <dl className="mb-2 flex flex-wrap justify-between gap-x-4 gap-y-2 whitespace-nowrap">
          <Figure label={over ? "Spent" : "So far"} value={usd(spent)} />
          <Figure
            label="At the end"
            value={over ? usd(spent) : usd(forecast)}
            tone={overBudget ? "bad" : undefined}
            about={over ? "as it ended" : forecast === null ? "not known yet" : "forecast"}
          />
          <Figure
            label="Budget"
            value={usd(budget)}
            about={budget > 0 ? `${percent(spent / budget)} used` : undefined}
          />
        </dl>
        <Bar
          label="Cost"
          value={bar.spent}
          expected={over ? undefined : bar.forecast}
          limit={bar.budget}
          text={text}
          tone={overBudget ? "bad" : "accent"}
        />
        <p className="mt-2 text-sm text-soft">{rate(over, perHour)}</p>
        {overBudget && !over && (
          <p className="mt-1 flex items-start gap-1.5 text-sm text-bad">
            <Icon name="warn" className="mt-0.5" />
            <span>
              {forecast === null || spent > budget
                ? "More is spent than its budget."
                : `As it goes now it needs ${usd(forecast - budget)} more than its budget, and is stopped when that is used up.`}
            </span>
          </p>
        )}
      </div>
      <Drawer
        open={open}
        onOpenChange={setOpen}
        wide
        title="Bill"
        about={`${workload.name}, workload ${workload.id}. Times in ${zone()}, amounts in USD.`}
      >
        <BillLines id={workload.id} goesOn={!over} />
      </Drawer>
    </Card>
  );
}

function rate(over: boolean, perHour: number): string {
  if (over) return "No machine costs any more.";
  return perHour > 0 ? `${price(perHour)} an hour now, for the machines that are held.` : "No machine is held now.";
}

function BillLines({ id, goesOn }: { id: number; goesOn: boolean }): ReactNode {
  const { data, error, refetch } = useQuery(billQuery(id, goesOn));
  if (error && !data) return <Fault error={error} retry={() => void refetch()} />;
  if (!data) return <Loading lines={5} label="The bill is on its way" />;
  return (
    <>
      <dl className="mb-4 flex flex-wrap gap-x-8 gap-y-2">
        <Figure label="Leased" value={usd(data.total_usd)} about="from the machines' times" />
        <Figure label="Charged" value={usd(data.billed_usd)} about="in the ledger" />
        <div>
          <dt className="label-caps">Bill</dt>
          <dd>
            <Badge tone={data.final ? "good" : "work"} icon={data.final ? "check" : "clock"}>
              {data.final ? "Final" : "Still grows"}
            </Badge>
          </dd>
        </div>
      </dl>
      {data.leases.length === 0 ? (
        <Empty
          icon="hosts"
          title="No machine was rented yet"
          about="Each machine is a line here, from when it is rented to when it is given back."
        />
      ) : (
        <Lines bill={data} />
      )}
    </>
  );
}

function Lines({ bill }: { bill: Bill }): ReactNode {
  return (
    <Wide label="Lines of the bill">
      <table className="w-full text-sm">
        <caption className="sr-only">Lines of the bill</caption>
        <thead className="border-b border-line">
          <tr>
            {["Machine", "From", "To", "Time"].map((name) => (
              <th key={name} scope="col" className={HEAD}>
                {name}
              </th>
            ))}
            <th scope="col" className={HEAD_NUM}>
              Per hour
            </th>
            <th scope="col" className={HEAD_NUM}>
              Amount
            </th>
          </tr>
        </thead>
        <tbody>
          {bill.leases.map((line) => (
            <LineRow key={line.lease} line={line} />
          ))}
        </tbody>
        <tfoot>
          <tr className="font-semibold">
            <th scope="row" colSpan={5} className={`${CELL} text-left`}>
              Sum
            </th>
            <td className={`${CELL} num`}>{usd(bill.total_usd)}</td>
          </tr>
        </tfoot>
      </table>
    </Wide>
  );
}

function LineRow({ line }: { line: BillLine }): ReactNode {
  return (
    <tr className="border-b border-line">
      <th scope="row" className={`${CELL} text-left font-normal`}>
        {line.host ?? `lease ${line.lease}`} <span className="block text-xs text-soft">{line.site}</span>
      </th>
      <td className={CELL}>
        <Moment at={line.opened_at} />
      </td>
      <td className={CELL}>{line.closed_at ? <Moment at={line.closed_at} /> : "held"}</td>
      <td className={CELL}>{duration(Number(line.seconds)) || NOTHING}</td>
      <td className={`${CELL} num`}>{price(line.usd_per_hour)}</td>
      <td className={`${CELL} num`}>{usd(line.usd)}</td>
    </tr>
  );
}

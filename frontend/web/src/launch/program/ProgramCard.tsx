/** The program: how it comes in, and what was taken. */

import { useState, type ReactNode } from "react";
import { Button, IconButton } from "@/design/Button";
import { Input, Select } from "@/design/Field";
import { bytes, plural } from "@/design/format";
import { Icon } from "@/design/icons";
import { Card } from "@/design/Layout";
import type { Example } from "../shapes";
import { Unfit, type Collected } from "./collect";
import { DropZone } from "./DropZone";
import { Examples } from "./Examples";
import { Preview } from "./Preview";
import { collectedOf, hasRequirements, programOf, quoted, splitArgs, type Program } from "./program";
import { change, drop, take, useTaken, type Taken } from "./store";

interface ProgramProps {
  /** An example brings its need along. */
  onExample: (example: Example) => void;
}

export function ProgramCard({ onExample }: ProgramProps): ReactNode {
  const taken = useTaken();
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<Error | null>(null);
  // What was pressed goes away with what it did; the focus goes on to what comes in its place.
  const [acted, setActed] = useState(false);

  async function collect(read: () => Promise<Collected>): Promise<void> {
    setBusy(true);
    setWrong(null);
    try {
      take(programOf(await read()));
      setActed(true);
    } catch (error) {
      setWrong(error instanceof Error ? error : new Error(String(error)));
    } finally {
      setBusy(false);
    }
  }

  function takeExample(example: Example): void {
    setWrong(null);
    take(
      { ...programOf(collectedOf(example.files), example.title), script: example.script },
      example.args.map(quoted).join(" "),
    );
    onExample(example);
    setActed(true);
  }

  return (
    <Card
      title="Program"
      aside={
        taken.program && (
          <IconButton
            label="Take another program"
            icon="close"
            onClick={() => {
              drop();
              setActed(true);
            }}
          />
        )
      }
    >
      <div className="space-y-3 p-4">
        {taken.program ? (
          <TakenProgram taken={taken} program={taken.program} focused={acted} />
        ) : (
          <DropZone onTake={(read) => void collect(read)} busy={busy} focused={acted} />
        )}
        {(wrong ?? taken.failed) && <Refusal error={(wrong ?? taken.failed) as Error} />}
        {!taken.program && <Examples onTake={takeExample} />}
      </div>
    </Card>
  );
}

function Refusal({ error }: { error: Error }): ReactNode {
  return (
    <div role="alert" className="flex gap-2 rounded-md bg-bad-wash px-3 py-2 text-sm text-bad">
      <Icon name="wrong" className="mt-0.5" />
      <div className="min-w-0">
        <p className="font-medium">{error.message}</p>
        {error instanceof Unfit && error.hint && <p className="text-ink">{error.hint}</p>}
      </div>
    </div>
  );
}

const focus = (element: HTMLElement | null) => element?.focus({ preventScroll: true });

function TakenProgram({ taken, program, focused }: { taken: Taken; program: Program; focused: boolean }): ReactNode {
  return (
    <>
      <div role="status" tabIndex={-1} ref={focused ? focus : undefined} className="text-sm outline-none">
        <p className="font-medium">{program.example ?? (program.folder ? `${program.folder}/` : program.script)}</p>
        <p className="text-xs text-soft">
          {plural(program.files.length, "file")}, {bytes(program.size)}
          {taken.packed ? (
            <>
              ; packed {bytes(taken.packed.content.length)}, SHA-256{" "}
              <code title={taken.packed.sha256}>{taken.packed.sha256.slice(0, 12)}</code>
            </>
          ) : taken.failed ? (
            ""
          ) : (
            "; packing"
          )}
        </p>
        {program.leftOut.length > 0 && <LeftOut paths={program.leftOut} />}
        <p className="text-xs text-soft">
          {hasRequirements(program)
            ? "requirements.txt is in it: its packages are installed on every machine."
            : "No requirements.txt: no packages are installed for it."}
        </p>
      </div>
      {program.scripts.length > 1 && (
        <Select
          label="Script"
          value={program.script}
          onChange={(event) => change({ script: event.target.value })}
          options={program.scripts.map((one) => [one, one] as const)}
        />
      )}
      <Preview program={program} />
      <div className="grid gap-3 sm:grid-cols-2 xl:grid-cols-1 2xl:grid-cols-2">
        <Input
          label="Arguments"
          value={taken.args}
          onChange={(event) => change({ args: event.target.value })}
          placeholder="--lr 3e-4"
          spellCheck={false}
          autoComplete="off"
          className="font-mono"
          error={wrongArgs(taken.args)}
        />
        <Input
          label="Name"
          value={taken.name}
          onChange={(event) => change({ name: event.target.value })}
          placeholder={program.script}
          maxLength={80}
          autoComplete="off"
        />
      </div>
    </>
  );
}

function LeftOut({ paths }: { paths: readonly string[] }): ReactNode {
  const [all, setAll] = useState(false);
  const shown = all ? paths : paths.slice(0, 4);
  return (
    <p className="text-xs text-soft">
      Left out: {shown.join(", ")}
      {paths.length > shown.length && (
        <Button kind="quiet" size="sm" className="h-6! px-1! text-xs!" onClick={() => setAll(true)}>
          and {paths.length - shown.length} more
        </Button>
      )}
    </p>
  );
}

export function wrongArgs(text: string): string | null {
  try {
    splitArgs(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : null;
  }
}

/** Where a program comes in: dropped anywhere on the page, or chosen with a button. */

import { useEffect, useRef, useState, type InputHTMLAttributes, type ReactNode } from "react";
import { Button } from "@/design/Button";
import { Icon } from "@/design/icons";
import { fromDrop, fromInput, type Collected } from "./collect";

interface DropProps {
  onTake: (collect: () => Promise<Collected>) => void;
  busy: boolean;
  /** It came in place of something that had the focus. */
  focused: boolean;
}

export function DropZone({ onTake, busy, focused }: DropProps): ReactNode {
  const over = useDropped((transfer) => onTake(() => fromDrop(transfer.items)));
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);

  function chosen(input: HTMLInputElement): void {
    const list = [...(input.files ?? [])];
    input.value = ""; // So that the same can be chosen again.
    if (list.length) onTake(() => Promise.resolve(fromInput(list)));
  }

  return (
    <div
      className={`rounded-md border border-dashed px-4 py-5 text-center ${over ? "border-accent bg-accent-wash" : "border-edge"}`}
    >
      <Icon name="upload" size={20} className="mx-auto mb-1.5 text-soft" />
      <p className="text-sm font-medium">
        {over ? "Let go to take it" : busy ? "Reading" : "Drop a script, a notebook, files or a folder"}
      </p>
      <p className="mb-3 text-xs text-soft">Up to 200 MB. Nothing leaves this machine before you order.</p>
      <div className="flex flex-wrap justify-center gap-2">
        <Button icon="file" busy={busy} ref={focused ? focus : undefined} onClick={() => files.current?.click()}>
          Choose files
        </Button>
        <Button icon="hosts" busy={busy} onClick={() => folder.current?.click()}>
          Choose a folder
        </Button>
      </div>
      <input
        ref={files}
        type="file"
        multiple
        hidden
        aria-label="Files of the program"
        onChange={(event) => chosen(event.currentTarget)}
      />
      <input
        ref={folder}
        {...FOLDER}
        type="file"
        hidden
        aria-label="Folder of the program"
        onChange={(event) => chosen(event.currentTarget)}
      />
    </div>
  );
}

const focus = (element: HTMLElement | null) => element?.focus({ preventScroll: true });
const FOLDER = { webkitdirectory: "" } as InputHTMLAttributes<HTMLInputElement>;

/** Whether something is dragged over the page; a drop beside the zone counts too, or the browser would leave the page for the file. */
function useDropped(onDrop: (transfer: DataTransfer) => void): boolean {
  const [over, setOver] = useState(false);
  const take = useRef(onDrop);
  useEffect(() => {
    take.current = onDrop;
  });
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const onDropped = (event: DragEvent) => {
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      setOver(false);
      take.current(event.dataTransfer);
    };
    document.addEventListener("dragover", onOver);
    document.addEventListener("dragleave", onLeave);
    document.addEventListener("drop", onDropped);
    return () => {
      document.removeEventListener("dragover", onOver);
      document.removeEventListener("dragleave", onLeave);
      document.removeEventListener("drop", onDropped);
    };
  }, []);
  return over;
}

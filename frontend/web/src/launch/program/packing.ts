/** Pack a program in a worker; ask for the same twice and it is packed once. */

import type { Archive } from "./archive";
import { Unfit } from "./collect";
import type { Program } from "./program";

const packed = new WeakMap<Program["files"], Promise<Archive>>();

export function pack(program: Program): Promise<Archive> {
  let found = packed.get(program.files);
  if (!found) {
    found = inWorker(program);
    found.catch(() => packed.delete(program.files));
    packed.set(program.files, found);
  }
  return found;
}

function inWorker(program: Program): Promise<Archive> {
  if (!window.isSecureContext) {
    const port = window.location.port || "80";
    return Promise.reject(
      new Unfit(
        "This browser makes no SHA-256 here: the page came over plain HTTP from another machine.",
        `Open the dashboard over https, or forward its port, ssh -L ${port}:127.0.0.1:${port} ${window.location.hostname}, and open http://127.0.0.1:${port}.`,
      ),
    );
  }
  return new Promise((done, failed) => {
    const worker = new Worker(new URL("./archive.worker.ts", import.meta.url), { type: "module" });
    const over = () => worker.terminate();
    worker.onmessage = ({ data }: MessageEvent<{ packed?: Archive; failed?: string }>) => {
      over();
      if (data.packed) done(data.packed);
      else
        failed(
          new Unfit(
            `The program could not be packed: ${data.failed}.`,
            "A file may have changed since: drop it again.",
          ),
        );
    };
    worker.onerror = () => {
      over();
      failed(new Unfit("The program could not be packed.", "Load the page again and drop it once more."));
    };
    worker.postMessage(program.files);
  });
}

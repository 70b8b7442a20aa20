/** Files as one .tar.gz: the same content is always the same bytes, so its SHA-256 is its name. */

import { gzipSync } from "fflate";
import type { Picked } from "./collect";
import { tar } from "./tar";

export interface Archive {
  sha256: string;
  /** Of the .tar: what a need calls `program`, the same whoever packs it. gzip writes the same in many ways. */
  tarSha256: string;
  content: Uint8Array<ArrayBuffer>;
}

export async function archive(files: readonly Picked[]): Promise<Archive> {
  const read = await Promise.all(
    files.map(async ({ path, file }) => ({ path, content: new Uint8Array(await file.arrayBuffer()) })),
  );
  // mtime 0 is "no date": https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1
  const plain = tar(read);
  const content = gzipSync(plain, { level: 6, mtime: 0 }) as Uint8Array<ArrayBuffer>;
  return { sha256: await sha256(content), tarSha256: await sha256(plain), content };
}

async function sha256(content: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map((one) => one.toString(16).padStart(2, "0")).join("");
}

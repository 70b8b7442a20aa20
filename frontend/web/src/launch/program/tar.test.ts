import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "fflate";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { archive } from "./archive";
import { tar } from "./tar";

const CLIENT = join(import.meta.dirname, "../../../../client");
const bytes = (text: string) => new TextEncoder().encode(text);
// Of three of the files, as in tests/client/test_pack.py and tests/broker/test_programs.py.
const GOLDEN = "b524fc3d5b51cd0a698643c5058368d94140ae788b3dec0370998c16dfaa0913";
const FILES = [
  { path: "train.py", content: bytes("print('hello')\n") },
  { path: "data/empty.txt", content: new Uint8Array() },
  { path: "data/block.bin", content: new Uint8Array(1024).fill(7) },
  { path: "z\u00e4hler/\u6a21\u578b.py", content: bytes("x = 1\n") },
  { path: `deep/${"long/".repeat(20)}end.py`, content: bytes("y = 2\n") },
  { path: `${"n".repeat(100)}`, content: bytes("exactly as long as a name may be\n") },
];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tar-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("an archive", () => {
  it("is unpacked by tar as it was packed", () => {
    writeFileSync(join(folder, "a.tar"), tar(FILES));
    execFileSync("tar", ["-xf", "a.tar"], { cwd: folder, env: { ...process.env, LC_ALL: "C.UTF-8" } });
    for (const { path, content } of FILES) expect(new Uint8Array(readFileSync(join(folder, path)))).toEqual(content);
  });

  it("is read by Python's tarfile, its checksums and all", () => {
    writeFileSync(join(folder, "a.tar"), tar(FILES));
    const read =
      "import json, sys, tarfile; t = tarfile.open(sys.argv[1], errorlevel=2); print(json.dumps([[m.name, m.size, m.mode, m.uid, m.mtime, m.isfile()] for m in t]))";
    const told = JSON.parse(execFileSync("python3", ["-c", read, join(folder, "a.tar")], { encoding: "utf8" }));
    expect(told.sort()).toEqual(FILES.map(({ path, content }) => [path, content.length, 0o644, 0, 0, true]).sort());
  });

  it("is byte for byte what `yard run` packs", () => {
    const names = FILES.map(({ path, content }, at) => {
      writeFileSync(join(folder, String(at)), content);
      return [path, join(folder, String(at))];
    });
    const pack =
      "import gzip, json, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from gpuyard.pack import archive; sys.stdout.buffer.write(gzip.decompress(archive({k: Path(v) for k, v in json.loads(sys.argv[2])})[0]))";
    const theirs = execFileSync("python3", ["-c", pack, CLIENT, JSON.stringify(names)], { maxBuffer: 1 << 24 });
    expect(Buffer.compare(Buffer.from(tar(FILES)), theirs)).toBe(0);
  });

  it("has the name that the client gives the same files", async () => {
    const files = [FILES[0], FILES[1], FILES[3]].map((one) => ({
      path: one?.path ?? "",
      file: new Blob([new Uint8Array(one?.content ?? [])]),
    }));

    expect((await archive(files)).tarSha256).toBe(GOLDEN);
  });

  it("is the same bytes whenever and in whatever order it is packed", async () => {
    const files = FILES.map(({ path, content }) => ({ path, file: new Blob([content]) }));
    const first = await archive(files);
    const second = await archive([...files].reverse());
    expect(second.sha256).toBe(first.sha256);
    expect(gunzipSync(second.content)).toEqual(tar(FILES));
    writeFileSync(join(folder, "a.tar.gz"), first.content);
    expect(execFileSync("sha256sum", [join(folder, "a.tar.gz")], { encoding: "utf8" }).split(" ")[0]).toBe(
      first.sha256,
    );
    expect([...first.content.slice(4, 8)]).toEqual([0, 0, 0, 0]);
  });
});

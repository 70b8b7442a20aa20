import { describe, expect, it } from "vitest";
import { fromDrop, fromInput, LIMIT_BYTES, sortOut, Unfit } from "./collect";
import { codeOf, collectedOf, programOf, quoted, splitArgs, textOf, usesSession } from "./program";

const file = (text = "") => new Blob([text]);
const picked = (...paths: string[]) => paths.map((path) => ({ path, file: file() }));

describe("what is taken", () => {
  it("is what `yard run --workdir` takes of a folder", () => {
    const given = picked(
      "run/train.py",
      "run/.git/HEAD",
      "run/.git/objects/1",
      "run/src/__pycache__/a.pyc",
      "run/src/a.py",
      "run/.env",
      "run/venv/bin/python",
      "run/b.pyc",
      "run/node_modules/x/y.js",
      "run/env/x",
    );
    const { files, leftOut } = sortOut(given, "run");
    expect(files.map((one) => one.path)).toEqual(["train.py", "src/a.py"]);
    expect(leftOut).toEqual([".env", ".git/", "b.pyc", "env/", "node_modules/", "src/__pycache__/", "venv/"]);
  });

  it("is a file that was named by hand, whatever it is called", () =>
    expect(sortOut(picked(".hidden.py"), null).files).toHaveLength(1));

  it("tells a folder from files in an input", () => {
    const one = new File([""], "train.py");
    const inFolder = Object.defineProperty(new File([""], "train.py"), "webkitRelativePath", { value: "run/train.py" });
    expect(fromInput([one])).toMatchObject({ folder: null, files: [{ path: "train.py" }] });
    expect(fromInput([inFolder])).toMatchObject({ folder: "run", files: [{ path: "train.py" }] });
  });

  it("is read from a drop, a folder that stays out unread", async () => {
    const run = folder("run", [leaf("train.py"), folder(".git", null), folder("src", [leaf("a.py"), leaf("a.pyc")])]);
    const found = await fromDrop([item(run)]);
    expect(found).toMatchObject({ folder: "run", leftOut: [".git/", "src/a.pyc"] });
    expect(found.files.map((one) => one.path)).toEqual(["train.py", "src/a.py"]);
  });

  it("stands at the top where several things were dropped", async () => {
    const found = await fromDrop([
      item(leaf("train.py")),
      item(folder("src", [leaf("a.py")])),
      item(folder("node_modules", null)),
    ]);
    expect(found).toMatchObject({ folder: null, leftOut: ["node_modules/"] });
    expect(found.files.map((one) => one.path)).toEqual(["train.py", "src/a.py"]);
  });

  it("reads all of a large folder, which comes a hundred at a time", async () => {
    const many = Array.from({ length: 250 }, (_, at) => leaf(`${at}.py`));
    expect((await fromDrop([item(folder("run", many))])).files).toHaveLength(250);
  });
});

describe("a program", () => {
  const of = (...paths: string[]) => programOf({ folder: null, files: picked(...paths), leftOut: [] });

  it("runs the likeliest script", () => {
    expect(of("src/train.py", "z.py", "a.py").script).toBe("a.py");
    expect(of("a.py", "main.py", "train.py").script).toBe("train.py");
    expect(of("notes.ipynb").script).toBe("notes.ipynb");
  });

  it("is refused with nothing to run, with the same path twice, or as too much", () => {
    expect(() => of("data.csv")).toThrow("There is no .py script");
    expect(() => of("a.py", "a.py")).toThrow("a.py is there twice");
    expect(() => programOf({ folder: "run", files: [], leftOut: [".git/"] })).toThrow("Nothing of run was taken");
    const large = { path: "weights.bin", file: { size: LIMIT_BYTES } as Blob };
    expect(() => programOf({ folder: null, files: [{ path: "a.py", file: file("x") }, large], leftOut: [] })).toThrow(
      "more than 200 MB. Largest: weights.bin (200 MB)",
    );
  });

  it("is known to train by what it imports", async () => {
    const using = async (text: string) => usesSession(programOf(collectedOf([{ path: "a.py", text }])));
    expect(await using("import gpuyard.train as yard\n")).toBe(true);
    expect(await using("from gpuyard import train\n")).toBe(true);
    expect(await using("import torch\n")).toBe(false);
  });

  it("shows a notebook's code", async () => {
    const text = JSON.stringify({
      cells: [
        { cell_type: "markdown", source: "# Hi" },
        { cell_type: "code", source: ["import torch\n", "x = 1"] },
        { cell_type: "code", source: "y = 2\n" },
      ],
    });
    expect(await textOf(programOf(collectedOf([{ path: "n.ipynb", text }])))).toBe(
      "# Cell 1\nimport torch\nx = 1\n\n# Cell 2\ny = 2\n",
    );
    expect(() => codeOf("{}", "n.ipynb")).toThrow("n.ipynb is not a Jupyter notebook.");
    expect(() => codeOf('{"cells": []}', "n.ipynb")).toThrow("has no code cells");
  });
});

describe("arguments", () => {
  it.each<[string, string[]]>([
    ["--lr 3e-4  --name 'a b'", ["--lr", "3e-4", "--name", "a b"]],
    ['"a \\"b\\"" c\\ d', ['a "b"', "c d"]],
    ["''", [""]],
    ["", []],
    ["a'b'c", ["abc"]],
  ])("%s", (text, words) => expect(splitArgs(text)).toEqual(words));

  it("wants quotes closed", () => expect(() => splitArgs("'a b")).toThrow(Unfit));
  it("come back as they were, quoted", () => {
    const words = ["a b", "it's", "--x=1", "", "$HOME", 'say "hi"'];
    expect(splitArgs(words.map(quoted).join(" "))).toEqual(words);
  });
});

type Entry = FileSystemEntry;
const item = (entry: Entry) => ({ webkitGetAsEntry: () => entry }) as DataTransferItem;
const leaf = (name: string) =>
  ({
    name,
    isFile: true,
    isDirectory: false,
    file: (done: (file: Blob) => void) => done(file(name)),
  }) as unknown as Entry;
/** null: nobody may look into it. */
function folder(name: string, inside: Entry[] | null): Entry {
  const createReader = () => {
    if (inside === null) throw new Error(`${name} was read`);
    let at = 0;
    return { readEntries: (done: (some: Entry[]) => void) => done(inside.slice(at, (at += 100))) };
  };
  return { name, isFile: false, isDirectory: true, createReader } as unknown as Entry;
}

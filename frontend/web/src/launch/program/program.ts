/** A program that is to be ordered: its files, which of them is the script, and what can be said of it at a glance. */

import { checkSize, REQUIREMENTS, Unfit, type Collected, type Picked } from "./collect";

export interface Program {
  /** Of this page: files do not tell one version from the next. */
  id: number;
  files: Picked[];
  folder: string | null;
  leftOut: string[];
  /** The example that it was taken from. */
  example: string | null;
  /** Paths of what could be the script, likeliest first. */
  scripts: string[];
  script: string;
  size: number;
}

const SCRIPT = /\.(py|ipynb)$/;
const LIKELY = ["train.py", "main.py", "run.py"];
const PREVIEW_BYTES = 200_000;
let taken = 0;

/** Throws Unfit where nothing in it can run, or it is too much. */
export function programOf({ files, folder, leftOut }: Collected, example: string | null = null): Program {
  if (files.length === 0)
    throw new Unfit(
      folder === null
        ? "Nothing was taken."
        : `Nothing of ${folder} was taken: it has no files but those that stay out.`,
      "Drop a .py script, a notebook, or a folder with one.",
    );
  const scripts = files
    .map((one) => one.path)
    .filter((path) => SCRIPT.test(path))
    .sort(likelier);
  const [script] = scripts;
  if (script === undefined)
    throw new Unfit(
      "There is no .py script and no notebook in it.",
      "Add the script that trains, and drop both together.",
    );
  const repeated = files.find((one, at) => files.findIndex((other) => other.path === one.path) !== at);
  if (repeated) throw new Unfit(`${repeated.path} is there twice.`, "Drop the folder that holds both, or one of them.");
  checkSize(files);
  return {
    id: ++taken,
    files,
    folder,
    leftOut,
    example,
    scripts,
    script,
    size: files.reduce((sum, one) => sum + one.file.size, 0),
  };
}

/** At the top before deep, a name that says so before others. */
function likelier(a: string, b: string): number {
  const depth = (path: string) => path.split("/").length;
  const name = (path: string) => {
    const at = LIKELY.indexOf(path.split("/").pop() ?? "");
    return at === -1 ? LIKELY.length : at;
  };
  return depth(a) - depth(b) || name(a) - name(b) || (a < b ? -1 : 1);
}

export function hasRequirements(program: Program): boolean {
  return program.files.some((one) => one.path === REQUIREMENTS);
}

/** What an example's files are as a drop. */
export function collectedOf(files: readonly { path: string; text: string }[]): Collected {
  return { folder: null, leftOut: [], files: files.map(({ path, text }) => ({ path, file: new Blob([text]) })) };
}

/** The script as one reads it; of a notebook its code. Throws Unfit for what is no notebook. */
export async function textOf(program: Program): Promise<string> {
  const file = program.files.find((one) => one.path === program.script)?.file;
  if (!file) return "";
  if (!program.script.endsWith(".ipynb")) return file.slice(0, PREVIEW_BYTES).text();
  return codeOf(await file.text(), program.script);
}

/** The code cells of a notebook (nbformat 4), each under its number. */
export function codeOf(text: string, name: string): string {
  let cells: { cell_type?: string; source?: string | string[] }[];
  try {
    cells = JSON.parse(text).cells;
    if (!Array.isArray(cells)) throw new TypeError();
  } catch {
    throw new Unfit(`${name} is not a Jupyter notebook.`, "Save it as .ipynb (nbformat 4) and drop it again.");
  }
  const code = cells.filter((one) => one.cell_type === "code").map((one) => [one.source ?? ""].flat().join(""));
  if (!code.some((one) => one.trim())) throw new Unfit(`${name} has no code cells.`, "Drop a notebook that trains.");
  return code.map((source, at) => `# Cell ${at + 1}\n${source.trimEnd()}\n`).join("\n");
}

/** Whether any file of the program speaks of the training session; the broker ends a run that never enters one. */
export async function usesSession(program: Program): Promise<boolean> {
  for (const { path, file } of program.files) {
    if (!SCRIPT.test(path) || file.size > 2_000_000) continue;
    const text = await file.text();
    if (/\bgpuyard\b/.test(text) || /^\s*%%yard\b/m.test(text) || text.includes('"%%yard')) return true;
  }
  return false;
}

/** Words of a command line as a shell would split them. Throws Unfit where a quote is not closed. */
export function splitArgs(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const one = text[at] as string;
    if (quote) {
      if (one === quote) quote = "";
      else if (one === "\\" && quote === '"' && /["\\$`]/.test(text[at + 1] ?? "")) word = (word ?? "") + text[++at];
      else word = (word ?? "") + one;
    } else if (one === '"' || one === "'") {
      quote = one;
      word ??= "";
    } else if (one === "\\" && at + 1 < text.length) word = (word ?? "") + text[++at];
    else if (/\s/.test(one)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + one;
  }
  if (quote) throw new Unfit(`A ${quote} is not closed.`, "Close it, or put a backslash before it.");
  if (word !== null) words.push(word);
  return words;
}

/** As it must be typed for a shell to read it as one word. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

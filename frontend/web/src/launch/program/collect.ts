/** What of the files that were dropped or chosen belongs to the program: the same as `yard run` takes. */

export const LIMIT_BYTES = 200_000_000;
export const REQUIREMENTS = "requirements.txt";
// What tools make again by themselves. Names that begin with a dot (.git, .venv, .env, caches) stay out anyway.
const LEFT_OUT: ReadonlySet<string> = new Set(["__pycache__", "venv", "env", "node_modules"]);

/** A file by its path inside the program. */
export interface Picked {
  path: string;
  file: Blob;
}

export interface Collected {
  /** The folder's name where one was taken; null for single files. */
  folder: string | null;
  files: Picked[];
  /** Paths of the folder that stay out; those of folders end with a slash. */
  leftOut: string[];
}

/** What cannot be taken: what is wrong, and what to do about it. */
export class Unfit extends Error {
  constructor(
    message: string,
    readonly hint = "",
  ) {
    super(message);
    this.name = "Unfit";
  }
}

/** Whether a file or folder of this name belongs to a program. */
export function isWanted(name: string): boolean {
  return !name.startsWith(".") && !LEFT_OUT.has(name) && !name.endsWith(".pyc");
}

/** Sort out a list of paths, those of a folder's files as the browser gives them: "folder/sub/file.py". */
export function sortOut(given: readonly Picked[], folder: string | null): Collected {
  const files: Picked[] = [];
  const leftOut = new Set<string>();
  for (const { path, file } of given) {
    const parts = path
      .split("/")
      .filter(Boolean)
      .slice(folder === null ? 0 : 1);
    const unwanted = parts.findIndex((part) => !isWanted(part));
    if (unwanted === -1) files.push({ path: parts.join("/"), file });
    // A file that was named by hand is taken whatever its name; of a folder only what is wanted.
    else if (folder === null && parts.length === 1) files.push({ path, file });
    else leftOut.add(parts.slice(0, unwanted + 1).join("/") + (unwanted < parts.length - 1 ? "/" : ""));
  }
  return { folder, files, leftOut: [...leftOut].sort() };
}

/** Files of an <input>, of a folder where it has webkitdirectory. */
export function fromInput(list: Iterable<File>): Collected {
  const given = [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  const folder = given[0]?.path.includes("/") ? (given[0].path.split("/")[0] ?? null) : null;
  return sortOut(given, folder);
}

/**
 * Files and folders of a drop. One folder is the program; of several things each stands at the top.
 * Folders that stay out are not even read: a venv may hold a hundred thousand files.
 */
export async function fromDrop(items: Iterable<DataTransferItem>): Promise<Collected> {
  // The list is emptied as soon as this function gives way, so the entries are taken first.
  const all = [...items];
  const entries = all.map((item) => item.webkitGetAsEntry?.()).filter((one) => one != null);
  if (entries.length === 0) return fromInput(all.map((item) => item.getAsFile()).filter((one) => one !== null));
  const [first] = entries;
  const folder = entries.length === 1 && first?.isDirectory ? first.name : null;
  const found: Picked[] = [];
  const leftOut: string[] = [];
  await walk(entries, "", folder === null, found, leftOut);
  if (folder === null) return { folder, files: found, leftOut: leftOut.sort() };
  const inside = (path: string) => path.slice(folder.length + 1);
  return {
    folder,
    files: found.map(({ path, file }) => ({ path: inside(path), file })),
    leftOut: leftOut.map(inside).sort(),
  };
}

async function walk(
  entries: readonly FileSystemEntry[],
  under: string,
  several: boolean,
  found: Picked[],
  leftOut: string[],
): Promise<void> {
  for (const entry of entries) {
    const path = `${under}${entry.name}`;
    const byHand = under === "" && (entry.isFile || !several);
    const wanted = byHand || isWanted(entry.name);
    if (!wanted) leftOut.push(entry.isDirectory ? `${path}/` : path);
    else if (entry.isDirectory)
      await walk(await listed(entry as FileSystemDirectoryEntry), `${path}/`, several, found, leftOut);
    else found.push({ path, file: await fileOf(entry as FileSystemFileEntry, path) });
  }
}

async function listed(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    // A reader hands out a hundred at a time, and an empty list at the end.
    const some = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function fileOf(entry: FileSystemFileEntry, path: string): Promise<File> {
  return new Promise((done, failed) =>
    entry.file(done, () =>
      failed(new Unfit(`${path} cannot be read.`, "Check that it may be read, and drop it again.")),
    ),
  );
}

/** Throws Unfit, naming the largest files, when they are too much together. */
export function checkSize(files: readonly Picked[]): void {
  const total = files.reduce((sum, one) => sum + one.file.size, 0);
  if (total <= LIMIT_BYTES) return;
  const megabytes = (size: number) => `${Math.round(size / 1e6)} MB`;
  const largest = [...files].sort((a, b) => b.file.size - a.file.size).slice(0, 3);
  throw new Unfit(
    `The program is ${megabytes(total)}, more than ${megabytes(LIMIT_BYTES)}. Largest: ${largest.map((one) => `${one.path} (${megabytes(one.file.size)})`).join(", ")}.`,
    "Keep data and weights out of the folder; let the script fetch them.",
  );
}

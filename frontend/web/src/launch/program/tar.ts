/**
 * A .tar of plain files, byte for byte as `yard run` writes it: owned by nobody, dated 1970.
 *
 * Format: POSIX.1-2001 ustar with pax records for names that ustar cannot hold
 * (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13).
 */

export interface TarFile {
  path: string;
  content: Uint8Array;
}

const BLOCK = 512;
const RECORD = 20 * BLOCK; // Archives end on a whole one.
const NAME_MAX = 100;
const encoder = new TextEncoder();

export function tar(files: readonly TarFile[]): Uint8Array<ArrayBuffer> {
  const parts = [...files].sort((a, b) => byCodePoint(a.path, b.path)).flatMap(entry);
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const archive = new Uint8Array(Math.ceil((size + 2 * BLOCK) / RECORD) * RECORD);
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

function entry({ path, content }: TarFile): Uint8Array[] {
  const plain = isAscii(path) && path.length <= NAME_MAX;
  const body = [header(plain ? path : ascii(path), content.length, "0"), content, padding(content.length)];
  if (plain) return body;
  const record = paxRecord("path", path);
  return [header("././@PaxHeader", record.length, "x", 0), record, padding(record.length), ...body];
}

function header(name: string, size: number, type: "0" | "x", mode = 0o644): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const write = (text: string, at: number) => block.set(encoder.encode(text), at);
  write(name.slice(0, NAME_MAX), 0);
  write(`${octal(mode, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(0, 11)}\0`, 100);
  write(" ".repeat(8), 148); // The checksum counts as blanks in its own sum.
  write(`${type}`, 156);
  write("ustar\x0000", 257);
  const sum = block.reduce((all, one) => all + one, 0);
  write(`${octal(sum, 6)}\0`, 148);
  return block;
}

/** "<length> path=<value>\n", where the length counts its own digits. */
function paxRecord(key: string, value: string): Uint8Array {
  const rest = encoder.encode(` ${key}=${value}\n`).length;
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return encoder.encode(`${length} ${key}=${value}\n`);
}

const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
const padding = (size: number) => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
const isAscii = (text: string) => [...text].every((one) => one.charCodeAt(0) < 128);
const ascii = (text: string) => [...text].map((one) => ((one.codePointAt(0) ?? 0) < 128 ? one : "?")).join("");

/** As Python sorts texts; JavaScript's own order differs beyond U+FFFF. */
function byCodePoint(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const apart = (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? 0);
    if (apart) return apart;
  }
  return left.length - right.length;
}

/** The lines that are pasted on a machine: word for word what `yard host add` prints (gpuyard/cli/hosts.py). */

export interface Wheel {
  wheel: string;
  sha256: string;
}

/** A word as a POSIX shell takes it, quoted only where it must be. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** extra: what else is installed, such as "[node]". */
export function installLine(url: string, wheel: Wheel, extra: string): string {
  const source = `${url}/dl/${wheel.wheel.split("/").at(-1)}#sha256=${wheel.sha256}`;
  return `pip install ${quoted(`gpuyard${extra} @ ${source}`)}`;
}

export function agentLine(url: string, host: number, token: string): string {
  return `python -m gpuyard.node --broker ${quoted(url)} --token ${quoted(token)} --state ~/.gpuyard/host-${host}`;
}

/** Processes as /proc shows them: who is whose child, who belongs to a cell's folder, who is stopped. Linux only, like the tests that use it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};

/** The letter of its state (proc(5), field 3); undefined when there is no such process. */
export function stateOf(pid: number): string | undefined {
  const line = read(`/proc/${pid}/stat`);
  return line === '' ? undefined : line.charAt(line.lastIndexOf(')') + 2);
}

/** Zombies are dead. */
export const lives = (pid: number): boolean => !['Z', 'X', undefined].includes(stateOf(pid));

const allPids = (): number[] => readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).map(Number);

const parentOf = (pid: number): number => {
  const line = read(`/proc/${pid}/stat`);
  return Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
};

/** Children, their children, and so on. */
export function descendants(root: number): number[] {
  const children = Map.groupBy(allPids().filter(lives), parentOf);
  const found: number[] = [];
  for (const queue = [root]; queue.length > 0;) {
    for (const child of children.get(queue.pop() as number) ?? []) {
      found.push(child);
      queue.push(child);
    }
  }
  return found;
}

/** Processes whose command line names the folder or that work inside it. */
export function processesOn(folder: string): number[] {
  return allPids().filter((pid) => {
    if (!lives(pid) || pid === process.pid) return false;
    if (read(`/proc/${pid}/cmdline`).includes(folder)) return true;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false;
    }
  });
}

/** Processes whose working directory is this one. */
export function workingIn(folder: string): number[] {
  return allPids().filter((pid) => {
    try {
      return lives(pid) && readlinkSync(`/proc/${pid}/cwd`) === folder;
    } catch {
      return false;
    }
  });
}

export function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch { /* gone already */ }
}

/** Polls; fails with what it was waiting for. */
export async function until<T>(what: string, withinMs: number, look: () => T | undefined | false | Promise<T | undefined | false>, everyMs = 10): Promise<T> {
  for (const deadline = performance.now() + withinMs; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await delay(everyMs);
  }
}

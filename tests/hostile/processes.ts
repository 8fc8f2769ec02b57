/** Memory and children of processes (Linux: proc(5)). */
import { readdir, readFile } from 'node:fs/promises';

/** Resident now, and at its highest; bytes. */
export async function memoryOf(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  const field = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN);
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

/** All processes that this one started, and those they did. */
export async function processTree(pid: number): Promise<number[]> {
  const parents = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(async (name) => {
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '');
    return [Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])] as const;
  }));
  const below = (of: number): number[] => parents.filter(([, parent]) => parent === of).flatMap(([child]) => [child, ...below(child)]);
  return below(pid);
}

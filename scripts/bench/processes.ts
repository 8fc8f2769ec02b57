/** What the kernel says of a process and everything below it: CPU time and resident memory. Linux only; elsewhere there is no figure. */
import { readdir, readFile } from 'node:fs/promises';

interface Stat { readonly pid: number; readonly parent: number; readonly cpuMs: number; /** Of children that ended, as PostgreSQL's idle connections do. */ readonly endedMs: number }

/** USER_HZ, which /proc counts in, is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

/** proc(5): fields after the name, which may hold anything but ends with the last ")". */
async function statOf(pid: number): Promise<Stat | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  const fields = line?.slice(line.lastIndexOf(')') + 2).split(' ');
  return fields === undefined ? undefined : { pid, parent: Number(fields[1]), cpuMs: (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK, endedMs: (Number(fields[13]) + Number(fields[14])) * MS_PER_TICK };
}

async function all(): Promise<Stat[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
  return (await Promise.all(pids.map(statOf))).filter((s) => s !== undefined);
}

/** The process and its descendants. */
export async function tree(pid: number): Promise<Stat[]> {
  const stats = await all();
  const out = stats.filter((s) => s.pid === pid);
  for (const at of out) out.push(...stats.filter((s) => s.parent === at.pid));
  return out;
}

/** User and system time of the process and of what it started, milliseconds. */
export async function cpuMs(pid: number): Promise<{ readonly own: number; readonly below: number }> {
  const stats = await tree(pid);
  const own = stats.filter((s) => s.pid === pid).reduce((total, s) => total + s.cpuMs, 0);
  return { own, below: stats.reduce((total, s) => total + s.cpuMs + s.endedMs, 0) - own };
}

/** Proportional set size: pages that several processes share (code, PostgreSQL's buffers) are counted once. MiB. */
export async function memoryMiB(pid: number): Promise<{ readonly rss: number; readonly pss: number }> {
  const sizes = await Promise.all((await tree(pid)).map(async (s) => {
    const text = await readFile(`/proc/${s.pid}/smaps_rollup`, 'latin1').catch(() => '');
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
    return { rss: kib('Rss') / 1024, pss: kib('Pss') / 1024 };
  }));
  return { rss: sizes.reduce((n, s) => n + s.rss, 0), pss: sizes.reduce((n, s) => n + s.pss, 0) };
}

/** The most that each process of the tree ever had resident (VmHWM), added up over those that live now. MiB. */
export async function highWaterMiB(pid: number): Promise<number> {
  const peaks = await Promise.all((await tree(pid)).map(async (s) => Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${s.pid}/status`, 'latin1').catch(() => ''))?.[1] ?? 0)));
  return peaks.reduce((n, kib) => n + kib, 0) / 1024;
}

/**
 * What an earlier start left behind. A server whose parent was killed is stopped by its watchdog; should one be left all the same, the
 * next start on that folder stops it. A folder whose owner lives is refused.
 */
import { readFileSync } from 'node:fs';
import { readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LedgerError } from '../errors.ts';

const BACKEND_PATIENCE_MS = 2_000;

/** A dead process that nobody has collected (a container's first process may not) still has an id. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(line.slice(line.lastIndexOf(')') + 2));
  } catch (error) {
    return process.platform !== 'linux' || (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

/** A process is its id and its start time: ids are used again. Empty where /proc is not. */
export async function startTime(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

const claimed = new Set<string>();

/** @throws LedgerError POSTGRES_IN_USE */
export async function claim(folder: string): Promise<void> {
  const file = join(folder, 'owner.json');
  if (claimed.has(folder)) throw new LedgerError('POSTGRES_IN_USE', `This process runs the database in ${folder} already.`);
  const found = await readFile(file, 'utf8').then((text) => JSON.parse(text) as { pid: number; started: string }).catch(() => undefined);
  if (found !== undefined && found.pid !== process.pid && alive(found.pid) && (await startTime(found.pid)) === found.started) {
    throw new LedgerError('POSTGRES_IN_USE', `Process ${found.pid} runs the database in ${folder}.`);
  }
  claimed.add(folder);
  await writeFile(file, JSON.stringify({ pid: process.pid, started: await startTime(process.pid) }), { mode: 0o600 });
}

export async function disclaim(folder: string): Promise<void> {
  claimed.delete(folder);
  await rm(join(folder, 'owner.json'), { force: true });
}

/** Processes of a server, backends included: the working directory of each is the data folder. Undefined where /proc is not. */
export async function serverProcesses(data: string): Promise<number[] | undefined> {
  const entries = await readdir('/proc').catch(() => undefined);
  if (entries === undefined || !entries.includes('self')) return undefined;
  const pids = entries.filter((name) => /^[0-9]+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === data));
  return pids.filter((_, i) => found[i]);
}

async function postmasterPid(data: string): Promise<number | undefined> {
  const pid = Number.parseInt(await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => ''), 10);
  return pid > 1 ? pid : undefined;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch { /* gone already */ }
}

/** Fast shutdown, then immediate shutdown, then the end. */
export async function end(pid: number, gone: () => boolean = () => !alive(pid)): Promise<void> {
  for (const [signal, patience] of [['SIGINT', 15_000], ['SIGQUIT', 5_000], ['SIGKILL', 5_000]] as const) {
    if (gone()) return;
    kill(pid, signal);
    for (let waited = 0; waited < patience && !gone(); waited += 20) await delay(20);
  }
}

/**
 * After this, no process works in the data folder. The lock file goes only then: it also is how a new server would notice that backends
 * of a killed one still write, so it is never removed while one lives. Where /proc is not, the lock file's server alone is ended, and
 * the rest is PostgreSQL's own check.
 */
export async function clearOrphan(data: string): Promise<void> {
  const postmaster = await postmasterPid(data);
  const before = await serverProcesses(data);
  if (before === undefined) {
    if (postmaster !== undefined && alive(postmaster)) await end(postmaster);
    return;
  }
  if (postmaster !== undefined && before.includes(postmaster)) await end(postmaster);
  // Backends whose postmaster is dead end by themselves, at the latest when they next wait; those that do not are in a crashed server.
  for (let waited = 0; (await serverProcesses(data))?.length; waited += 50) {
    if (waited >= BACKEND_PATIENCE_MS) for (const pid of (await serverProcesses(data)) ?? []) kill(pid, 'SIGKILL');
    await delay(50);
  }
  await rm(join(data, 'postmaster.pid'), { force: true });
}

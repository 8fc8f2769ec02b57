/**
 * What an earlier start left behind. A server whose parent was killed is stopped by its watchdog; should one be left all the same, the
 * next start on that folder stops it. A folder whose owner lives is refused.
 */
import { readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LedgerError } from '../errors.ts';

export const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** A process is its id and its start time: ids are used again. Empty where /proc is not. */
async function startTime(pid: number): Promise<string> {
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

/** Process id of the server that works in this data folder, if any; a PostgreSQL server's working directory is its data folder. */
export async function runningServer(data: string): Promise<number | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!(pid > 1) || !alive(pid)) return undefined;
  if (process.platform !== 'linux') return pid;
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '');
  return folder === data ? pid : undefined;
}

/** Fast shutdown, then immediate shutdown, then the end. */
export async function end(pid: number, gone: () => boolean = () => !alive(pid)): Promise<void> {
  for (const [signal, patience] of [['SIGINT', 15_000], ['SIGQUIT', 5_000], ['SIGKILL', 5_000]] as const) {
    if (gone()) return;
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    for (let waited = 0; waited < patience && !gone(); waited += 20) await delay(20);
  }
}

/** After this, no server works in the folder, and no file says so. */
export async function clearOrphan(data: string): Promise<void> {
  const pid = await runningServer(data);
  if (pid !== undefined) await end(pid);
  if ((await runningServer(data)) === undefined) await rm(join(data, 'postmaster.pid'), { force: true });
}

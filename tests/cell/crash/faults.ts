/** kill -9, or SIGSTOP for longer than a lease, of one of a cell's processes. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { at } from '../../../scripts/cell/folder.ts';
import { logOf, processOf, type TestCell } from '../harness.ts';
import { signal, until, workingIn } from '../processes.ts';
import type { Look } from './database.ts';

export const VICTIMS = ['gateway', 'broker', 'counter', 'database'] as const;
export type Victim = (typeof VICTIMS)[number];
export type Fault = 'kill' | 'stop';

const ALIVE_MS = 15_000;

/** The counter that holds the lease: its log says which session it attested. */
async function holder(cell: TestCell, look: Look, jobId: string): Promise<string> {
  const session = (await look.rows<{ session_id: string | null }>('select session_id from jobs where job_id = $1', [jobId]))[0]?.session_id;
  for (const { name } of cell.processes.filter((p) => p.name.startsWith('counter-'))) {
    if (session && (await logOf(cell, name)).some((line) => line['event'] === 'attested' && line['session'] === session)) return name;
  }
  // Nobody has it: any counter.
  return 'counter-1';
}

/** Whom to send the signal to. The database is one server with a process per connection: killing the first kills it, stopping it takes all. */
export async function aim(cell: TestCell, look: Look, victim: Victim, fault: Fault, jobId: string): Promise<number[]> {
  if (victim === 'database') {
    const server = await until('the database runs', ALIVE_MS, () => cell.databasePid());
    return fault === 'kill' ? [server] : workingIn(join(at(cell.folder).postgres, 'data'));
  }
  const name = victim === 'counter' ? await holder(cell, look, jobId) : victim;
  return [await until(`${name} runs`, ALIVE_MS, () => processOf(cell, name).pid())];
}

/** @returns the end of the fault; a kill has none. */
export function inflict(pids: readonly number[], fault: Fault, stoppedMs: number): Promise<void> {
  for (const pid of pids) signal(pid, fault === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  if (fault === 'kill') return Promise.resolve();
  return delay(stoppedMs).then(() => { for (const pid of pids) signal(pid, 'SIGCONT'); });
}

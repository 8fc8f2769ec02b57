/** A whole cell of real processes in a temporary folder, and a client of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addKey, addTenant } from '../../scripts/cell/admin.ts';
import { at } from '../../scripts/cell/folder.ts';
import { type RunningCell, startCell } from '../../scripts/cell/start.ts';
import { createLog } from '../../workloads/protocol/log.ts';

export interface TestCell extends RunningCell {
  readonly tenant: string;
  readonly zone: string;
  readonly apiKey: string;
  /** The end of each process's log, for a failing test's message. */
  logs(): Promise<string>;
  close(): Promise<void>;
}

export async function testCell(counters = 1): Promise<TestCell> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-cell-'));
  const cell = await startCell(folder, { counters, log: createLog('test', { write: () => {} }) });
  try {
    await addTenant(folder, 'acme', 'local');
    const { key } = await addKey(folder, 'acme', ['jobs:write', 'jobs:read', 'keys:read']);
    return {
      ...cell,
      tenant: 'acme', zone: 'local', apiKey: key,
      async logs() {
        const tails = await Promise.all(cell.processes.map(async (p) => `--- ${p.name}\n${(await readFile(join(at(folder).logs, `${p.name}.log`), 'utf8').catch(() => '')).split('\n').slice(-15).join('\n')}`));
        return tails.join('\n');
      },
      async close() {
        await cell.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await cell.stop();
    throw error;
  }
}

/** A process by the name that the supervisor gives it. */
export function processOf(cell: RunningCell, name: string) {
  const found = cell.processes.find((p) => p.name === name);
  if (found === undefined) throw new Error(`no process ${name}`);
  return found;
}

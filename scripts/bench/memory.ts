/** Memory of each process of a cell, at rest and while it counts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchCell, Message } from './cell.ts';
import { load } from './machine.ts';
import { memoryMiB } from './processes.ts';
import type { Section } from './section.ts';

const EVERY_MS = 150;
type Sizes = Map<string, { rss: number; pss: number }>;

async function sizes(cell: BenchCell): Promise<Sizes> {
  const pids = [...cell.processes.map((p) => [p.name, p.pid()] as const), ['PostgreSQL', cell.databasePid()] as const];
  return new Map(await Promise.all(pids.map(async ([name, pid]) => [name, await memoryMiB(pid ?? -1)] as const)));
}

export const atRest = sizes;

/** The largest size of each process while the messages are counted. */
async function underLoad(cell: BenchCell, messages: readonly Message[]): Promise<Sizes> {
  const most: Sizes = new Map();
  let going = true;
  const work = Promise.all(messages.map((message, turn) => cell.submit(message, turn))).then(async () => {
    const ids = messages.map(({ jobId }) => jobId);
    for (let left = ids.length; left > 0; await sleep(EVERY_MS)) {
      left = (await cell.database.query<{ left: number }>('select count(*)::int as left from jobs where due_at is not null and job_id = any($1)', [ids])).rows[0]?.left ?? 0;
    }
  }).finally(() => { going = false; });
  while (going) {
    for (const [name, now] of await sizes(cell)) {
      const before = most.get(name) ?? { rss: 0, pss: 0 };
      most.set(name, { rss: Math.max(before.rss, now.rss), pss: Math.max(before.pss, now.pss) });
    }
    await sleep(EVERY_MS);
  }
  await work;
  return most;
}

export async function memory(cell: BenchCell, resting: Sizes, messages: readonly Message[]): Promise<Section> {
  const loaded = await underLoad(cell, messages);
  const cells = (name: string, of: Sizes) => [of.get(name)?.rss ?? 0, of.get(name)?.pss ?? 0].map((n) => n.toFixed(0));
  const sum = (of: Sizes) => [...of.values()].reduce((n, s) => n + s.pss, 0).toFixed(0);
  return {
    title: 'Memory',
    about: [
      'MiB of each process with all that it started (a counter\'s sandbox, PostgreSQL\'s backends), just after the start and at most while it counts. Resident counts shared pages for every process that has them;',
      'proportional splits them among these.',
    ],
    head: ['process', 'at rest, resident', 'at rest, proportional', 'under load, resident', 'under load, proportional'],
    rows: [...[...resting.keys()].map((name) => [name, ...cells(name, resting), ...cells(name, loaded)]), ['all', '', sum(resting), '', sum(loaded)]],
    goals: [],
    load: load(),
  };
}

/**
 * What a failover costs, and whether that grows with the jobs that wait: a fleet of three cells as real processes, jobs of real messages put into the ledger of
 * the cell that holds the tenant, then kill -9 of everything that cell has. Rounds go back and forth between two cells.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { FIXTURE_ENDING, fixtureModel } from '../../workloads/detectors/fixture.ts';
import { sha256Hex } from '../../workloads/detectors/cache.ts';
import type { CellState } from '../../workloads/gateway/cell-routes.ts';
import { TAKE_OVER_PHASES } from '../../workloads/gateway/phases.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import { admin } from '../cell/admin.ts';
import { type Fleet, type FleetCell, startFleet } from '../cell/fleet.ts';
import { note } from '../cli/output.ts';
import { acceptPath } from './failover-accept.ts';
import { type Encryptor, encryptor, fill } from './failover-fill.ts';
import { failoverSection } from './failover-section.ts';
import type { Section } from './section.ts';

export interface Round {
  readonly queued: number;
  /** Jobs that waited at the kill, and how many of those that were acknowledged were missing at the fence. */
  readonly waiting: number;
  readonly missing: number;
  /** Seconds after the kill, by phase of the cell that took over. */
  readonly phases: Readonly<Record<string, number>>;
  readonly firstDone: number;
  /** Jobs a second over some seconds, before the kill and from the first completed job on. */
  readonly before: number;
  readonly after: number;
  /** Seconds from the kill to the last job; undefined where it was not waited for so long. */
  readonly drained: number | undefined;
  readonly left: number;
}

export interface FailoverOptions { readonly rounds: readonly number[]; readonly drainSeconds?: number; readonly samples?: number }

/** Jobs queued, unless told. A hundred thousand take half an hour to put there and to count: `ccc bench failover --jobs 100000`. */
export const ROUNDS: readonly number[] = [1_000, 1_000, 1_000, 10_000];

const TENANT = 'queue';
const PICTURE = new TextEncoder().encode('a picture that the fixture knows'.repeat(16));
const LEASE_SECONDS = 3;
const RATE_MS = 5_000;
const PATIENCE_MS = 180_000;
const LOOK_MS = 20;

async function until<T>(what: string, look: () => Promise<T | undefined | false>, ms = PATIENCE_MS, pause = 100): Promise<T> {
  for (const end = performance.now() + ms; ; await delay(pause)) {
    const found = await look().catch(() => undefined);
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`);
  }
}

const stateOf = (cell: FleetCell): Promise<CellState> => admin<CellState>(cell.folder, 'GET', '/cells');
const holds = async (cell: FleetCell): Promise<number | undefined> => (await stateOf(cell)).held.find(({ tenant }) => tenant === TENANT)?.epoch;

async function ask<R extends pg.QueryResultRow>(url: string, text: string, values: unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<R>(text, values)).rows;
  } finally {
    await client.end();
  }
}
const open = async (cell: FleetCell): Promise<number> => Number((await ask<{ n: string }>(cell.databaseUrl, 'select count(*) as n from jobs where tenant_id = $1 and due_at is not null', [TENANT]))[0]?.n);
const doneSince = async (cell: FleetCell, at: number): Promise<number[]> =>
  (await ask<{ at: string }>(cell.databaseUrl, 'select recorded_at as at from results where tenant_id = $1 and cell = $2 and recorded_at > $3 order by recorded_at', [TENANT, cell.name, at])).map((row) => Number(row.at));

const counters = (cell: FleetCell) => cell.processes.filter(({ name }) => name.startsWith('counter'));

async function round(holder: FleetCell, other: FleetCell, queued: number, made: Encryptor, drainSeconds: number): Promise<Round> {
  const epoch = await until(`${holder.name} holds the tenant`, () => holds(holder));
  await Promise.all(counters(holder).map((one) => one.halt()));
  note(`failover: ${queued} jobs for ${holder.name}`);
  const ids = await fill({ holder, other, tenant: TENANT, epoch, count: queued, made });
  await until('the copy is there', async () => (await open(other)) >= queued);
  for (const one of counters(holder)) one.start();
  const working = await until('the first is counted', async () => (await doneSince(holder, 0)).length > 0 && Date.now(), PATIENCE_MS, LOOK_MS);
  await delay(RATE_MS);
  const before = (await doneSince(holder, working)).length / ((Date.now() - working) / 1000);
  const waiting = await open(holder);

  note(`failover: kill ${holder.name}, ${waiting} waiting`);
  const killed = Date.now();
  await holder.kill();
  await until(`${other.name} holds the tenant`, () => holds(other), PATIENCE_MS, LOOK_MS);
  const there = Number((await ask<{ n: string }>(other.databaseUrl, 'select count(*) as n from jobs where tenant_id = $1 and job_id = any($2)', [TENANT, ids]))[0]?.n);
  const first = (await until('a job is counted after it', async () => { const all = await doneSince(other, killed); return all.length > 0 && all; }, PATIENCE_MS, LOOK_MS))[0] as number;
  await delay(RATE_MS);
  const window = Date.now();
  const after = (await doneSince(other, killed)).filter((at) => at <= window).length / ((window - first) / 1000);
  let left = await open(other);
  for (const end = killed + drainSeconds * 1000; left > 0 && Date.now() < end; left = await open(other)) await delay(250);
  const last = (await doneSince(other, killed)).at(-1) ?? killed;
  const { phases: noted } = await stateOf(other);
  const phases = Object.fromEntries(TAKE_OVER_PHASES.flatMap((phase) => {
    const at = phase === 'drain' ? undefined : noted.find((event) => event.tenant === TENANT && event.phase === phase && event.at >= killed)?.at;
    return at === undefined ? [] : [[phase, (at - killed) / 1000]];
  }));

  note(`failover: ${holder.name} starts again`);
  await holder.start();
  await until(`${other.name} and ${holder.name} have all of each other`, async () => {
    const [a, b] = await Promise.all([stateOf(holder), stateOf(other)]);
    return a.held.every(({ tenant }) => tenant !== TENANT) && [[a, other.name], [b, holder.name]].every(([state, peer]) => (state as CellState).peers.some((one) => one.peer === peer && one.state === 'streaming' && (one.lagSeconds ?? 1) < 1)) && true;
  });
  return { queued, waiting, missing: ids.length - there, phases, firstDone: (first - killed) / 1000, before, after, drained: left === 0 ? (last - killed) / 1000 : undefined, left };
}

/** As `ccc bench failover` and the part of `npm run bench`. @param rounds how many jobs wait in each */
export async function failover({ rounds, drainSeconds = 120, samples = 200 }: FailoverOptions): Promise<Section> {
  useNativeCrypto();
  const folder = await mkdtemp(join(tmpdir(), 'ccc-bench-failover-'));
  const detector = join(folder, `counts${FIXTURE_ENDING}`);
  const content = JSON.stringify({ counts: { [sha256Hex(PICTURE)]: 3 } });
  await writeFile(detector, content);
  const model = fixtureModel(new TextEncoder().encode(content));
  let fleet: Fleet | undefined;
  try {
    const order = ['aws', 'azure'];
    fleet = await startFleet({
      folder: join(folder, 'fleet'), log: createLog('bench', { write: () => {} }), detector, leaseSeconds: LEASE_SECONDS, onProgress: note,
      policy: (policy) => ({ ...policy, detectors: [...policy.detectors, model] }),
      cells: [
        { name: 'aws', region: 'eu-central-1', platform: 'aws-nitro', counters: 1 }, { name: 'azure', region: 'westeurope', platform: 'azure-cvm', counters: 1 },
        { name: 'gcp', region: 'europe-west4', platform: 'gke', counters: 0 },
      ],
      tenants: [{ id: TENANT, tier: 'async', order }, { id: 'sync', tier: 'sync', order: [...order, 'gcp'] }, { id: 'async', tier: 'async', order: [...order, 'gcp'] }],
    });
    const accepted = samples === 0 ? [] : await acceptPath(fleet, { 'tier sync': { tenant: 'sync', cell: 'aws' }, 'tier async': { tenant: 'async', cell: 'aws' } }, samples, PICTURE);
    const made = await encryptor(fleet, TENANT, 'aws', PICTURE);
    const done: Round[] = [];
    let [holder, other] = [fleet.cell('aws'), fleet.cell('azure')];
    for (const queued of rounds) {
      done.push(await round(holder, other, queued, made, drainSeconds));
      note(JSON.stringify(done.at(-1)));
      [holder, other] = [other, holder];
    }
    return failoverSection(done, accepted, { detector: `${model.name} ${model.digest.slice(0, 16)}`, leaseSeconds: LEASE_SECONDS });
  } finally {
    await fleet?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** One failover drill: three cells, a load, a hurt, the way back; all of it written down. It judges nothing: the auditor does, from the history alone. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bytes } from '../../attestation/bytes.ts';
import { bytes } from '../../attestation/bytes.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import type { Log } from '../../workloads/protocol/log.ts';
import { useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import { startFleet } from '../cell/fleet.ts';
import { UserError } from '../cli/output.ts';
import type { Fleet, FleetCell, FleetTenantSpec } from '../cell/fleet-types.ts';
import { arrivals } from './arrivals.ts';
import { TenantClient } from './client.ts';
import { Matrix, previousReferences, withoutPrevious, withPrevious } from './matrix.ts';
import { CELLS, PLATFORMS, REGIONS, storeOf, targetOf, tenantsOf } from './deployment.ts';
import { phasesOf } from './phases.ts';
import { Network } from './proxy.ts';
import { type Recorder, record } from './record.ts';
import { ask, previousGeneration, type Wanted } from './requesters.ts';
import { arrived, auditHeads, backlog, ciphertextOf, configurationOf, keysOf, rowsOf, sessionsOf, type Step, stepsOf, storedLines, versionOf, writesOf } from './rows.ts';
import { Operator, type Typed } from './runbook.ts';
import type { Felt, Scenario, Stage as ScenarioStage } from './scenarios.ts';
import { watch, type Watch } from './watch.ts';

export interface DrillOptions {
  readonly scenario: Scenario;
  readonly seed: number;
  /** A new folder: cells and history. */
  readonly folder: string;
  /** Jobs per second, of all tenants. */
  readonly rate?: number;
  /** Of epochs. */
  readonly leaseSeconds?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** While the cells still work, at the end. */
  readonly whileUp?: (drill: DrillRecord, cells: readonly FleetCell[]) => Promise<void>;
  readonly onProgress: (text: string) => void;
}

export interface DrillRecord {
  readonly recorder: Recorder;
  /** SHA-256 of the history's file. */
  readonly digest: string;
  readonly began: number;
  readonly leaseSeconds: number;
  readonly postgres: string;
  readonly lags: Watch['lags'];
  readonly alarms: Watch['alarms'];
  readonly unasked: Matrix['unasked'];
  /** Results that clients got and refused. */
  readonly refused: readonly { readonly tenant: string; readonly job: string; readonly code: string }[];
  readonly backlogs: readonly { readonly at: number; readonly jobs: number }[];
  readonly marks: Readonly<Record<string, number>>;
  /** What was seen of the hurt. */
  readonly felt: string;
  /** Lines of runbooks, as they were typed. */
  readonly typed: readonly Typed[];
  /** Waited for and not seen in time: each is in the report, whatever the auditor says. */
  readonly missed: readonly string[];
}

/** Of epochs: short, so that what is measured is the system and not the wait. Production leases are longer, and so is detecting. */
export const LEASE_S = 4;
export const RATE = 3;
const BASELINE_S = 10;
const STEADY_S = 10;
const AFTER_S = 8;
const RECOVER_S = 60;
const SETTLE_S = 45;

export async function runDrill(options: DrillOptions): Promise<DrillRecord> {
  const { scenario, seed, folder, log, signal, onProgress: say } = options;
  useNativeCrypto();
  await mkdir(folder, { recursive: true });
  const network = new Network();
  const stops: (() => Promise<unknown>)[] = [() => network.close()];
  try {
    const names = CELLS[scenario.primary];
    const specs = tenantsOf(names);
    const previous = await previousReferences(names.map((name) => PLATFORMS[name]));
    const end = await scenario.prepare?.(join(folder, 'fleet', names[0]));
    if (end !== undefined) stops.push(end);
    say('starting three cells');
    const starting = startFleet({
      folder: join(folder, 'fleet'), cells: names.map((name) => ({ name, region: REGIONS[name], platform: PLATFORMS[name], counters: 1 })), tenants: specs, zones: [{ name: 'primary-only', cells: [names[0]] }],
      leaseSeconds: options.leaseSeconds ?? LEASE_S, jobLeaseMs: 5_000, via: (link) => network.via(link), log, onProgress: say, policy: (policy) => withPrevious(policy, previous),
    });
    // Also when it is given up while it starts.
    stops.push(() => starting.then((fleet) => fleet.stop(), () => {}));
    const fleet = await starting;
    signal.throwIfAborted();
    return await inFleet({ ...options, fleet, network, specs, stops });
  } finally {
    say('stopping');
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next();
  }
}

interface DrillStage extends DrillOptions { readonly fleet: Fleet; readonly network: Network; readonly specs: readonly FleetTenantSpec[]; readonly stops: (() => Promise<unknown>)[] }

async function inFleet({ scenario, seed, folder, rate = RATE, leaseSeconds = LEASE_S, signal, onProgress: say, whileUp, fleet, network, specs, stops }: DrillStage): Promise<DrillRecord> {
  const cells = [...fleet.cells.values()];
  const [primary, standby] = cells as [FleetCell, FleetCell];
  const began = Date.now();
  const recorder = record(join(folder, 'history.jsonl'), began);
  const missed: string[] = [];
  const unsent = new Map<string, number>();
  const marks: Record<string, number> = {};
  const mark = (name: string): number => (marks[name] = recorder.now());
  const wait = (seconds: number) => sleep(seconds * 1000, undefined, { signal });
  const until = async (what: string, seconds: number, look: () => boolean | Promise<boolean>): Promise<boolean> => {
    for (const end = recorder.now() + seconds * 1000; recorder.now() < end; await wait(0.1)) if (await Promise.resolve(look()).catch(() => false)) return true;
    missed.push(`${what}: not within ${seconds} s`);
    return false;
  };

  /** A step that fails is in the report, and the drill goes on: what comes after says more. */
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => {
      signal.throwIfAborted();
      missed.push(`${what}: ${error instanceof Error ? error.message : 'unknown'}`);
    });
  };

  recorder.write({ kind: 'run', at: began, scenario: scenario.name, seed, source: 'drill', simulatedTees: true });
  for (const { name, cell } of cells) recorder.write({ kind: 'cell', cell: name, cloud: cell.cloud, region: cell.region });
  for (const { id, tier, order } of specs) recorder.write({ kind: 'tenant', tenant: id, tier, cells: [...order] });

  const watching = watch(fleet, recorder);
  stops.push(() => watching.stop());
  const clients = new Map(specs.map(({ id, order }) => {
    const tenant = fleet.tenants.get(id);
    if (tenant === undefined) throw new Error(`the fleet has no tenant ${id}`);
    return [id, new TenantClient({ tenant, cells: order.map((name) => fleet.cell(name)), ownerKey: fleet.ownerKey, recorder, epochOf: (cell) => watching.epochOf(id, cell), cache: join(folder, 'client') })];
  }));
  const client = (id: string): TenantClient => clients.get(id) as TenantClient;
  stops.push(() => Promise.all([...clients.values()].map((one) => one.stop())));
  const backlogs: { at: number; jobs: number }[] = [];
  const sampling = setInterval(() => void backlog(storeOf(cells.find(({ name }) => name === watching.holder('sync-1')?.cell) ?? primary)).then((jobs) => backlogs.push({ at: recorder.now(), jobs }), () => {}), 2_000);
  stops.push(async () => clearInterval(sampling));

  // The load: decided beforehand, and sent at its time whatever the cells do.
  const pictures = (await demoPictures(undefined, say)).filter(({ hard }) => hard !== true).map(({ bytes: data }): Bytes => bytes(new Uint8Array(data)));
  const plan = arrivals({ seed, rate, seconds: 600, tenants: specs.map(({ id }) => id), pictures: pictures.length });
  let loading = true;
  const load = (async () => {
    const start = recorder.now();
    for (const { at, tenant, picture } of plan) {
      const pause = start + at - recorder.now();
      if (pause > 0) await wait(pause / 1000).catch(() => {});
      if (!loading || signal.aborted) return;
      void client(tenant).send(pictures[picture] as Bytes).catch((error: unknown) => {
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
        unsent.set(code, (unsent.get(code) ?? 0) + 1);
      });
    }
  })();
  stops.push(async () => { loading = false; await load; });
  for (const one of clients.values()) one.start();

  const movable = specs.filter(({ order }) => order[0] === primary.name && order.length > 1).map(({ id }) => id);
  const matrix = new Matrix(recorder);
  // Its cell may be gone when it is asked for.
  let foreign: Wanted | undefined;
  const probe = async (cell: FleetCell, tenant: string) => ({ target: targetOf(cell), wanted: await client(tenant).wanted(), ...(cell === primary ? {} : { foreign }) });
  const heads = async () => { for (const cell of cells) await auditHeads(storeOf(cell), recorder.now()).then((found) => recorder.write(...found), () => {}); };
  const finals = (): number => recorder.events.filter(({ kind }) => kind === 'final').length;

  say('baseline');
  mark('baseline');
  await until('the first results', 60, () => finals() >= 5);
  await wait(BASELINE_S);
  foreign = await client('resident').wanted();
  for (const cell of cells) recorder.write(...await configurationOf(cell.name, cell.folder));
  await matrix.at(await probe(primary, 'sync-1'));
  const fenced = await matrix.keep(await probe(primary, 'sync-2'));
  const revoked = await matrix.keep(await probe(primary, 'sync-3'), previousGeneration);
  const kept = await matrix.keep(await probe(primary, 'sync-1'));
  await heads();

  const operator = new Operator({ scenario: scenario.name, words: { FOLDER: fleet.folder }, now: recorder.now, signal });
  const own = await probe(primary, 'sync-1');
  const stage: ScenarioStage = { fleet, network, primary, standby, tenants: movable, operator, kept, signal, ask: () => ask('good', own), now: recorder.now, write: recorder.write };
  await attempt('before the hurt', async () => scenario.ready?.(stage));
  const unhurt = await scenario.felt(stage);
  if (unhurt.hurt) missed.push(`the cell was hurt before anything was done to it: ${unhurt.seen}`);

  const away = movable.filter((tenant) => watching.holder(tenant)?.cell !== primary.name);
  if (away.length > 0) throw new UserError('DRILL_UNREADY', `Before anything was hurt, ${away.join(', ')} had left ${primary.name}: this machine is too busy for epoch leases of ${leaseSeconds} s.`, 'Run it on a quieter machine, or with a longer --lease-seconds.');

  say(`hurting ${primary.name}: ${scenario.what}`);
  // A lease that could have been renewed right after it was last seen lasts a little longer; what is known is the latest that was told.
  const leaseEnd = Math.max(0, ...watching.held(primary.name).filter(({ tenant }) => movable.includes(tenant)).map(({ until: end }) => end));
  const hurtAt = mark('hurt');
  recorder.write({ kind: 'hurt', at: hurtAt, cell: primary.name, what: scenario.name, failover: scenario.failover });
  await attempt('hurting', () => scenario.hurt(stage));
  const feeling: Promise<Felt> = scenario.felt(stage).catch((error: unknown) => ({ hurt: false, seen: error instanceof Error ? error.message : 'unknown' }));
  const byRunbook = () => attempt('the operator, by the runbook', async () => scenario.operator?.(stage));
  if (scenario.handedOver === true) await byRunbook();
  const held = (here: boolean) => movable.every((tenant) => { const cell = watching.holder(tenant)?.cell; return cell !== undefined && (cell === primary.name) === here; });
  const done = (since: number, here?: boolean) => (tenant: string): boolean => recorder.events.some((one) => one.kind === 'final' && one.tenant === tenant && one.at > since && (here === undefined || (one.cell === primary.name) === here));
  /** Usually the next of the order; the third where that one does not have everything, or is slow. */
  let heirs = new Map<FleetCell, string[]>();
  if (scenario.failover) {
    if (await until('every tenant that may move is held by another cell', RECOVER_S, () => held(false))) {
      heirs = Map.groupBy(movable, (tenant) => fleet.cell(watching.holder(tenant)?.cell ?? ''));
      for (const [cell, tenants] of heirs) {
        // What another cell accepted and is here had arrived; what is sent again is this cell's own.
        const at = Math.max(...tenants.map((tenant) => watching.holder(tenant)?.at ?? 0));
        const lag = watching.lags.findLast((one) => one.from === primary.name && one.to === cell.name && one.at <= hurtAt);
        const fence = `failover to ${cell.name}`;
        recorder.write({ kind: 'fence', at, fence, source: primary.name, cell: cell.name, tenants, ...(lag?.bytes === undefined ? {} : { lagBytes: Math.round(lag.bytes) }), ...(lag?.seconds === undefined ? {} : { lagSeconds: lag.seconds }) });
        recorder.write(...storedLines(fence, await arrived(storeOf(cell), primary.name, tenants)));
      }
    }
    await until('a result from another cell for every tenant that moved', RECOVER_S, () => movable.every(done(hurtAt, false)));
  } else await until('a result after the hurt for every tenant', RECOVER_S, () => movable.every(done(hurtAt)));
  mark('recovered');
  say('recovered; going on');
  const felt = await feeling;
  if (!felt.hurt) missed.push(`nothing was felt of the hurt: ${felt.seen}`);
  if (scenario.handedOver !== true) await byRunbook();
  await wait(STEADY_S);
  if (scenario.failover) await attempt('requesters at the cell that took over', async () => matrix.at(await probe(fleet.cell(watching.holder('sync-1')?.cell ?? standby.name), 'sync-1')));
  await heads();

  say(`healing ${primary.name}`);
  await attempt('healing', () => scenario.heal(stage));
  recorder.write({ kind: 'healed', at: mark('healed'), cell: primary.name });
  const answers = () => fetch(`${primary.url}/v1/health`, { signal: AbortSignal.timeout(2_000) }).then(({ ok }) => ok);
  await until(`${primary.name} is healthy again`, SETTLE_S, answers);
  const steps = async (cell: FleetCell): Promise<Step[]> => stepsOf(storeOf(cell)).catch(() => []);
  let backAt: number | undefined;
  if (scenario.failover) {
    // Its time is over, and it is told so: by a client that knows no other cell, and by a counter with the promises of then.
    const answer = await client('sync-1').sendTo(primary.name, pictures[0] as Bytes).catch(() => undefined);
    if (answer === undefined) missed.push(`${primary.name} did not refuse a job after it came back`);
    await attempt('a fenced counter', async () => matrix.late('fenced', await probe(primary, 'sync-2'), fenced));
    const others = cells.filter((cell) => cell !== primary);
    await until(`${primary.name} and the others have all of each other`, SETTLE_S, () => others.every(({ name }) => synced(watching, primary.name, name) && synced(watching, name, primary.name)));
    say(`failing back to ${primary.name}`);
    await attempt('a look before the way back', () => operator.type('failback', 'ccc cells --data FOLDER'));
    backAt = mark('failback');
    await attempt('the way back', () => operator.typeAgain('failback', 'ccc failback --data FOLDER'));
    await until(`every tenant is held by ${primary.name} again`, RECOVER_S, () => held(true));
    await until(`a result from ${primary.name} for every tenant that came back`, RECOVER_S, () => movable.every(done(backAt as number, true)));
    mark('back');
  }
  await until('a result for the tenant that may not move', RECOVER_S, () => done(hurtAt)('resident'));
  await attempt('revoking the image before this one', async () => {
    await fleet.signPolicy(withoutPrevious);
    await matrix.late('revoked', await probe(primary, 'sync-3'), revoked);
  });
  await wait(AFTER_S);

  say('no more load; waiting for every job');
  loading = false;
  mark('last-sent');
  await load;
  await until('every acknowledged job is over', RECOVER_S, () => [...clients.values()].every(({ waiting }) => waiting === 0));
  mark('drained');
  await attempt('requesters at the third cell', async () => matrix.at(await probe(cells[2] as FleetCell, 'elsewhere')));
  await until('all cells have all of each other', SETTLE_S, () => cells.every((a) => cells.every((b) => a === b || synced(watching, a.name, b.name))));
  await Promise.all([...clients.values()].map((one) => one.stop()));
  clearInterval(sampling);

  for (const { runbook, command } of operator.left()) missed.push(`the runbook ${runbook} says \`${command}\`, and nobody typed it`);
  for (const [code, count] of unsent) missed.push(`${count} jobs could not be sent: ${code}`);
  say('reading the stores');
  await watching.stop();
  if (scenario.failover) {
    const history = recorder.events;
    const at = async (cell: FleetCell) => ({ cell: cell.name, steps: await steps(cell), sessions: await sessionsOf(storeOf(cell)) });
    for (const [cell, tenants] of heirs) recorder.write(...phasesOf({ ...await at(cell), tenants, history, direction: 'failover', at: hurtAt, ...(scenario.handedOver === true ? {} : { leaseEnd }), until: backAt ?? Infinity }));
    if (backAt !== undefined) recorder.write(...phasesOf({ ...await at(primary), tenants: movable, history, direction: 'failback', at: backAt, until: Infinity }));
  }
  for (const cell of cells) recorder.write(...writesOf(await steps(cell), began), ...await keysOf(storeOf(cell), recorder.now()), ...await ciphertextOf(storeOf(cell), join(cell.folder, 'store'), recorder.now()), ...await rowsOf(storeOf(cell), recorder.now()));
  const postgres = await versionOf(storeOf(primary));
  recorder.write({ kind: 'end', at: recorder.now() });
  const drill: DrillRecord = {
    recorder, digest: await recorder.close(), began, leaseSeconds, postgres, lags: watching.lags, alarms: watching.alarms, unasked: matrix.unasked, backlogs, marks, missed, felt: felt.seen, typed: operator.typed,
    refused: [...clients].flatMap(([tenant, { refused }]) => refused.map((one) => ({ tenant, ...one }))),
  };
  await whileUp?.(drill, cells);
  return drill;
}

/** What `from` has is at `to`, as `from` last told. */
function synced(watching: Watch, from: string, to: string): boolean {
  const peer = watching.state(from)?.state.peers.find((one) => one.peer === to);
  return peer !== undefined && peer.synced && peer.incoming.whole;
}

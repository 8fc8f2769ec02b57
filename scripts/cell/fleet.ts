/**
 * Several cells of one deployment on this machine, each with a PostgreSQL server, gateway, broker, observer and counters of its own, as real processes. One
 * owner, one directory, replication between all. For `ccc up --cells`, drills and tests.
 */
import { readFile } from 'node:fs/promises';
import { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import type { CellState } from '../../workloads/gateway/cell-routes.ts';
import { type Postgres, startPostgres } from '../../workloads/ledger/postgres.ts';
import { ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { origin } from '../../workloads/protocol/cell.ts';
import { verifyPolicy } from '../../workloads/protocol/documents.ts';
import { UserError } from '../cli/output.ts';
import { addKey, addTenant, admin, SCOPES } from './admin.ts';
import { claimFolder } from './claim.ts';
import { fleetOwner, handOut, here, observerKey, planCell, type PlannedCell, planVendors, policyContent, signDirectory, signPolicy, type Via } from './fleet-documents.ts';
import type { Fleet, FleetCell, FleetOptions, FleetTenant, OwnerPolicyContent } from './fleet-types.ts';
import { at, writeWhole } from './folder.ts';
import { supervise, type Supervised } from './supervise.ts';
import { startVendors, type Vendors } from './vendors.ts';

export type * from './fleet-types.ts';

const READY_WITHIN_MS = 90_000;
const LOOK_MS = 100;
const DEGRADE_SECONDS = 5;

/**
 * Polls: what is waited for are other processes.
 * @param look what is still missing, one text each
 */
async function until(what: string, look: () => Promise<readonly string[]>, ms = READY_WITHIN_MS): Promise<void> {
  for (const end = Date.now() + ms; ; await new Promise((done) => setTimeout(done, LOOK_MS))) {
    const missing = await look().catch((error: unknown) => [error instanceof Error ? error.message : 'unknown']);
    if (missing.length === 0) return;
    if (Date.now() > end) throw new UserError('CELL_NOT_READY', `Not within ${ms / 1000} s: ${what}. Missing: ${missing.join('; ')}.`, 'Read the logs in the folder logs of each cell.');
  }
}

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch { /* it has ended */ }
};

/** With its database running, so that the others can be told where it is. */
interface Seated extends PlannedCell { database: Postgres }

const startDatabase = (folder: string, options: FleetOptions): Promise<Postgres> => startPostgres({ folder: at(folder).postgres, log: options.log, replication: true });

async function writePeers(one: Seated, all: readonly Seated[], options: FleetOptions, via: Via): Promise<void> {
  const from = one.spec.name;
  const others = all.filter((other) => other !== one);
  const peers = await Promise.all(others.map(async ({ spec, cell, database }) => {
    const url = new URL(database.peerUrl as string);
    const postgres = await via({ from, to: spec.name, what: 'postgres', host: url.hostname, port: Number(url.port) });
    [url.hostname, url.port] = [postgres.host, String(postgres.port)];
    return { name: spec.name, database: url.href, gateway: origin(await via({ from, to: spec.name, what: 'gateway', ...cell.gateway.internal })) };
  }));
  const observers = Object.fromEntries(await Promise.all(all.map(async ({ spec, observerPort }) => [spec.name, origin(await via({ from, to: spec.name, what: 'observer', host: here, port: observerPort }))] as const)));
  await writeWhole(`${one.folder}/peers.json`, JSON.stringify({ database: one.database.peerUrl, standbys: others.map(({ spec }) => spec.name), peers, observers, ...(options.lag === undefined ? {} : { lag: options.lag }), ...(options.degradeAfterSeconds === null ? {} : { degradeAfterSeconds: options.degradeAfterSeconds ?? DEGRADE_SECONDS }) }));
}

async function runCell(planned: Seated, options: FleetOptions, url: string, vendors: Vendors | undefined): Promise<FleetCell> {
  const { folder, spec, cell } = planned;
  const { log } = options;
  const program = (role: string, name = role, args: string[] = [], env: Record<string, string> = {}): Supervised => supervise({ name, script: `workloads/${role}/main.ts`, args: ['--data', folder, ...args], env }, folder, log);
  const environment = { DATABASE_URL: planned.database.url };
  const processes = [
    program('observer', 'observer', ['--listen', `${here}:${planned.observerPort}`], environment),
    program('gateway', 'gateway', options.jobLeaseMs === undefined ? [] : ['--lease-ms', String(options.jobLeaseMs)], environment),
    program('broker'),
    ...Array.from({ length: spec.counters }, (_, i) => program('counter', `counter-${i + 1}`, ['--name', `counter-${i + 1}`, ...(options.detector === undefined ? [] : ['--detector', options.detector])])),
  ];
  let down = false;
  const everyPid = async (): Promise<number[]> => [...processes.flatMap((p) => p.pid() ?? []), ...await planned.database.processes()];
  const answers = (): Promise<string[]> => fetch(`${origin(cell.gateway.public)}/v1/health`, { signal: AbortSignal.timeout(2_000) }).then(() => []);
  return {
    name: spec.name, folder, cell, configDigest: planned.configDigest, url, databaseUrl: planned.database.url, adminDatabaseUrl: planned.database.adminUrl, processes, vendors, everyPid,
    pids: () => Object.fromEntries([...processes.map((p) => [p.name, p.pid()] as const), ['postgres', planned.database.pid()] as const].filter((entry): entry is readonly [string, number] => entry[1] !== undefined)),
    process(name) {
      return processes.find((p) => p.name === name) ?? (() => { throw new Error(`no process ${name} in ${spec.name}`); })();
    },
    async kill() {
      down = true;
      await Promise.all([...processes.map((p) => p.halt()), planned.database.kill()]);
    },
    async pause() {
      for (const pid of await everyPid()) signal(pid, 'SIGSTOP');
    },
    async resume() {
      for (const pid of await everyPid()) signal(pid, 'SIGCONT');
    },
    async start() {
      if (!down) return;
      planned.database = await startDatabase(folder, options);
      for (const one of processes) one.start();
      down = false;
      await until(`the gateway of ${spec.name} answers`, answers);
    },
    async stop() {
      if (down) return;
      down = true;
      await Promise.all(processes.filter((p) => p.name.startsWith('counter')).map((p) => p.stop()));
      await Promise.all(processes.map((p) => p.stop()));
      await planned.database.stop();
    },
  };
}


/** What there is not yet of: every tenant has a cell, every cell a whole copy of every other, and the keys of the tenants that it may have. */
async function unsettled(cells: readonly FleetCell[], tenants: readonly FleetTenant[], zones: FleetOptions['zones'] = []): Promise<string[]> {
  const mayHave = (id: string, cell: string): boolean => tenants.some((tenant) => tenant.id === id && (zones.find(({ name }) => name === tenant.zone)?.cells.includes(cell) ?? true));
  const states = await Promise.all(cells.map((cell) => admin<CellState>(cell.folder, 'GET', '/cells')));
  const held = new Set(states.flatMap((state) => state.held.map(({ tenant }) => tenant)));
  return [
    ...tenants.filter(({ id }) => !held.has(id)).map(({ id }) => `no cell holds ${id}`),
    ...states.flatMap(({ cell, unkeyed, peers, degraded }) => [
      ...unkeyed.filter((id) => mayHave(id, cell)).map((id) => `${cell} has no keys of ${id}`),
      ...(degraded === undefined ? [] : [`${cell} does without a standby (${degraded.reason})`]),
      ...(peers.length === cells.length - 1 ? [] : [`${cell} knows ${peers.length} other cells`]),
      ...peers.filter(({ state }) => state !== 'streaming').map(({ peer, state }) => `${cell} to ${peer}: ${state}`),
      ...peers.filter(({ incoming: { whole } }) => !whole).map(({ peer, incoming: { state, errors } }) => `${cell} from ${peer}: ${state}, ${errors} errors`),
    ]),
  ];
}

async function makeTenants(cells: ReadonlyMap<string, FleetCell>, options: FleetOptions): Promise<Map<string, FleetTenant>> {
  const made = new Map<string, FleetTenant>();
  for (const { id, order, tier, zone = 'local' } of options.tenants) {
    const first = cells.get(order[0] ?? '');
    if (first === undefined) throw new UserError('CELL_UNKNOWN', `The tenant ${id} has no cell of this fleet first.`, 'Name cells of the fleet in its order.');
    await addTenant(first.folder, id, zone);
    made.set(id, { id, zone, tier, order, apiKey: (await addKey(first.folder, id, SCOPES)).key });
  }
  return made;
}

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { folder, log } = options;
  const say = options.onProgress ?? (() => {});
  const via: Via = options.via ?? (async ({ host, port }) => ({ host, port }));
  const now = Math.floor(Date.now() / 1000);
  const owner = await fleetOwner(folder);
  const stops: (() => Promise<unknown>)[] = [await claimFolder(folder)];
  const stop = async (): Promise<void> => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next();
  };
  try {
    say('preparing cells, starting a PostgreSQL server for each, checking the detector');
    const detector = ensureDefaultModel(say);
    const page = options.page ? import('../page/build.ts').then(({ buildPage }) => buildPage({ onProgress: say })) : undefined;
    for (const later of [detector, page]) later?.catch(() => {});
    const keys = options.keys ?? new KeyRing();
    const played = await planVendors(owner, options.cells, keys, now);
    const seating = options.cells.map(async (spec): Promise<Seated> => {
      const planned = await planCell(owner, spec, played, keys, now);
      const starting = startDatabase(planned.folder, options);
      stops.push(() => starting.then((database) => database.stop(), () => {}));
      return { ...planned, database: await starting };
    });
    await Promise.allSettled(seating);
    const seated = await Promise.all(seating);
    const observed = await Promise.all(seated.map(async (one) => ({ ...one, observer: await observerKey(one.folder, one.database.url) })));
    const directory = await signDirectory(owner, observed, options, via, now);
    await signPolicy(owner, await policyContent(seated, options, directory.revision, now), now);
    await handOut(owner, seated.map((one) => one.folder));
    await Promise.all(seated.map((one) => writePeers(one, seated, options, via)));
    await Promise.all([detector, page]);

    const vendors = await startVendors({ simulated: true, collateral: played.collateral }, played.machines, Date.now);
    stops.push(async () => vendors?.stop());
    say('starting gateways, brokers, observers and counters');
    const urlOf = (name: string): string => directory.cells.find((entry) => entry.name === name)?.url ?? '';
    const list = await Promise.all(seated.map((one) => runCell(one, options, urlOf(one.spec.name), vendors)));
    stops.push(() => Promise.all(list.map((cell) => cell.stop())));
    const cells = new Map(list.map((cell) => [cell.name, cell]));
    await until('all gateways are ready', () => Promise.all(list.map(async ({ name, cell }) => ((await fetch(`${origin(cell.gateway.public)}/v1/health`, { signal: AbortSignal.timeout(2_000) })).ok ? [] : [name]))).then((all) => all.flat()));
    say('adding tenants, waiting for epochs and copies');
    const tenants = await makeTenants(cells, options);
    await until('every tenant has a cell, and every cell a copy of the others and the keys it may have', () => unsettled(list, [...tenants.values()], options.zones));

    return {
      folder, ownerKey: owner.publicKey, directory, cells, tenants, vendors, stop,
      cell: (name) => cells.get(name) ?? (() => { throw new Error(`no cell ${name}`); })(),
      async signPolicy(change: (policy: OwnerPolicyContent) => OwnerPolicyContent) {
        const at_ = Math.floor(Date.now() / 1000);
        const { policy } = await verifyPolicy((await readFile(at(folder).policy, 'utf8')).trim(), owner.publicKey, at_);
        const { revision: _, notAfter: __, ...held } = policy;
        const revision = await signPolicy(owner, change(held), at_);
        await handOut(owner, list.map((cell) => cell.folder));
        const body = { policy: (await readFile(at(folder).policy, 'utf8')).trim() };
        // A cell that is down reads it from its folder when it starts.
        await Promise.all(list.map((cell) => admin(cell.folder, 'PUT', '/policy', body).catch((error: unknown) => { if (!(error instanceof UserError && error.code === 'UNREACHABLE')) throw error; })));
        log.info('policy signed', { revision });
        return revision;
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts a prepared cell and answers when it is ready. */
import { startPostgres } from '../../workloads/ledger/postgres.ts';
import { ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { origin } from '../../workloads/protocol/cell.ts';
import type { Log } from '../../workloads/protocol/log.ts';
import { metricsAddress } from '../../workloads/protocol/metrics-server.ts';
import { UserError } from '../cli/output.ts';
import { claimFolder } from './claim.ts';
import { at, makeFolders } from './folder.ts';
import { prepareCell, type PreparedCell, type PrepareOptions } from './prepare.ts';
import { supervise, type Supervised } from './supervise.ts';
import { startVendors, type Vendors } from './vendors.ts';

export interface StartOptions extends PrepareOptions {
  readonly counters: number;
  readonly log: Log;
  /** Builds the page if need be, so that the gateway serves it. */
  readonly page?: boolean;
  /** How long a counter has a job without a sign of life; the gateway's default unless told. */
  readonly leaseMs?: number;
  /** The embedded database can replicate to other cells and from them. */
  readonly replication?: boolean;
  /** What is being done, for a progress line. */
  readonly onProgress?: (text: string) => void;
}

export interface RunningCell extends PreparedCell {
  /** The public API and page. */
  readonly url: string;
  /** The embedded server's, or the one that DATABASE_URL names. */
  readonly databaseUrl: string;
  /** The same with the role for peers: only where the embedded server replicates. */
  readonly peerDatabaseUrl?: string | undefined;
  readonly processes: readonly Supervised[];
  /** Played here for a cell whose evidence needs what vendors publish. */
  readonly vendors: Vendors | undefined;
  /** Process id of the embedded database; undefined for a server of somebody else's. */
  databasePid(): number | undefined;
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 60_000;

async function untilReady(url: string, processes: readonly Supervised[], folder: string): Promise<void> {
  const until = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const ready = await fetch(`${url}/v1/health`, { signal: AbortSignal.timeout(2_000) }).then((r) => r.ok, () => false);
    if (ready) return;
    const broken = processes.find((p) => p.restarts() >= 3);
    if (broken !== undefined || Date.now() > until) {
      throw new UserError('CELL_NOT_READY', broken ? `The process ${broken.name} ends again and again.` : 'The cell did not become ready within a minute.', `Read the logs in ${at(folder).logs}, or run: ccc doctor`);
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Which store, and credentials for it: the gateway's alone. */
const STORE_VARIABLES = ['STORE_URL', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE', 'AWS_EC2_METADATA_SERVICE_ENDPOINT', 'GCE_METADATA_HOST'] as const;
const given = (names: readonly string[]): Record<string, string> => (process.env['STORE_URL'] ? Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] as string]]))) : {});

export async function startCell(folder: string, options: StartOptions): Promise<RunningCell> {
  const say = options.onProgress ?? (() => {});
  await makeFolders(folder);
  // Before anything is written: preparing the folder of a running cell would change its configuration under it.
  const stops: (() => Promise<void>)[] = [await claimFolder(folder)];
  const stop = async () => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next();
  };
  try {
    const external = process.env['DATABASE_URL'];
    say(`preparing keys and policy, ${external ? 'reaching the database that DATABASE_URL names' : 'starting PostgreSQL'}, checking the detector`);
    // Side by side, and each process starts as soon as there is what it cannot do without: broker and counters wait for the gateway by themselves.
    const starting = external ? Promise.resolve({ url: external, peerUrl: undefined, pid: () => undefined, stop: async () => {} }) : startPostgres({ folder: at(folder).postgres, log: options.log, replication: options.replication ?? false });
    // Also when something else fails while it starts.
    stops.push(() => starting.then((started) => started.stop(), () => {}));
    const detector = ensureDefaultModel(say);
    const page = options.page ? import('../page/build.ts').then(({ buildPage }) => buildPage({ onProgress: say })) : undefined;
    for (const later of [detector, page]) later?.catch(() => {});
    const prepared = await prepareCell(folder, options);
    const vendors = await startVendors(prepared.cell, prepared.machines, options.now ?? Date.now);
    stops.push(async () => vendors?.stop());

    const metrics = metricsAddress(process.env['METRICS_ADDRESS']);
    const program = (role: string, name: string, args: string[] = [], env: Record<string, string> = {}) => {
      // The gateway's is the one that was given; the others follow it, port by port, in the order of their start.
      const port = role === 'gateway' ? 0 : running.filter((other) => other.name !== 'gateway').length + 1;
      const shown: Record<string, string> = metrics === undefined ? {} : { METRICS_ADDRESS: `${metrics.host.includes(':') ? `[${metrics.host}]` : metrics.host}:${metrics.port + port}` };
      const started = supervise({ name, script: `workloads/${role}/main.ts`, args: ['--data', folder, ...args], env: { ...shown, ...env } }, folder, options.log);
      running.push(started);
      return started;
    };
    const running: Supervised[] = [];
    // Counters first: they give their leases back while there is still somebody to give them to.
    stops.push(async () => {
      await Promise.all(running.filter((p) => p.name.startsWith('counter')).map((p) => p.stop()));
      await Promise.all(running.map((p) => p.stop()));
    });
    say('starting gateway, broker and counters');
    const broker = program('broker', 'broker');
    const [database] = await Promise.all([starting, page]);
    const gateway = program('gateway', 'gateway', options.leaseMs === undefined ? [] : ['--lease-ms', String(options.leaseMs)], { DATABASE_URL: database.url, ...given(STORE_VARIABLES) });
    await detector;
    const counters = Array.from({ length: options.counters }, (_, i) => program('counter', `counter-${i + 1}`, ['--name', `counter-${i + 1}`]));
    const processes = [gateway, broker, ...counters];
    const url = origin(prepared.cell.gateway.public);
    await untilReady(url, processes, folder);
    return { ...prepared, url, databaseUrl: database.url, peerDatabaseUrl: database.peerUrl, processes, vendors, databasePid: () => database.pid(), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

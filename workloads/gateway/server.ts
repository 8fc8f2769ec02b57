/** The gateway's three listeners, wired and not listening: main.ts gives them ports, tests inject. */
import type { FastifyInstance } from 'fastify';
import type { Bytes } from '../../attestation/bytes.ts';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import type { Blobs } from '../ledger/blobs.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Replication } from '../ledger/replication.ts';
import type { CellConfig } from '../protocol/cell.ts';
import type { Clock } from '../protocol/clock.ts';
import type { SigningKey } from '../protocol/jws.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { Metrics } from '../protocol/metrics.ts';
import type { MetricsServerOptions } from '../protocol/metrics-server.ts';
import { adminRoutes } from './admin-routes.ts';
import { cellRoutes } from './cell-routes.ts';
import { authenticate, requireScope } from './api-keys.ts';
import { BrokerClient, BrokerTrust } from './broker.ts';
import { brokerRoutes } from './broker-routes.ts';
import type { Core } from './core.ts';
import { Epochs } from './epochs.ts';
import { guardLedger } from './guard.ts';
import { Health } from './health.ts';
import { createApp } from './http.ts';
import { counterRoutes, type InternalAuth } from './internal-routes.ts';
import { type Limits, LIMITS } from './limits.ts';
import { peerKeyRoutes, relayRoutes } from './key-routes.ts';
import { KeyStates } from './key-states.ts';
import { KeyedTenants } from './keyed.ts';
import { Load } from './load.ts';
import { collect, Lately, meterApp, meterLedger } from './metering.ts';
import { servePage } from './page.ts';
import { type Documents, OwnerDocuments } from './policy.ts';
import { type PhaseEvent, PhaseLog } from './phases.ts';
import { peerRoutes } from './peer-routes.ts';
import { type PublicAuth, publicRoutes } from './public-routes.ts';
import { RateLimiter } from './rate.ts';
import { addRoutes, type Hooks, type Route } from './route.ts';
import { Sessions } from './sessions.ts';
import { Standbys } from './standby.ts';
import { MessageStore } from './store.ts';
import { Zones } from './zones.ts';

export interface GatewayOptions {
  readonly ledger: Ledger;
  readonly blobs: Blobs;
  readonly broker: { readonly origin: string };
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  /** As found in files; the ledger may have newer ones. */
  readonly documents?: Documents;
  readonly now: Clock;
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** What vendors publish, for evidence of the broker and for clients. */
  readonly collateral?: CollateralSupply;
  /** The cell's key of the cell directory, for requests to observers; needed where some are listed. */
  readonly cellKey?: SigningKey | undefined;
  /** With other cells: `blobs` then also fills their stores. */
  readonly peers?: { /** This cell's own store. */ readonly own: Blobs; readonly mayForget: () => Promise<boolean>; readonly replication?: Replication; /** Origins of their internal listeners. */ readonly gateways?: Readonly<Record<string, string>> };
  /** Addresses of observers, by cell, where they are not those of the directory. */
  readonly observers?: Readonly<Record<string, string>> | undefined;
  /** Told of each phase of a take-over. */
  readonly onPhase?: (event: PhaseEvent) => void;
  /** Folder of the built web page. */
  readonly pageFolder?: string;
  /** Called with documents that came into force, to keep copies. */
  readonly keepDocuments?: (documents: Documents) => Promise<void>;
}

export interface Gateway {
  readonly public: FastifyInstance;
  readonly internal: FastifyInstance;
  readonly admin: FastifyInstance;
  /** For the listener of metrics and health. */
  readonly metrics: MetricsServerOptions;
  /** Which tenants this cell may work for; `start` has it ask the observers. */
  readonly epochs: Epochs;
  /** Jobs whose attempts are used up fail; old sessions go. */
  sweep(): Promise<void>;
  /** Notes tenants whose jobs of before their take-over are over. */
  drain(): Promise<void>;
  /** Bytes without a job go. Returns how many. */
  sweepOrphans(): Promise<number>;
  /** Long polls and event streams end, then all listeners close. */
  close(): Promise<void>;
}

export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { blobs, cell, configDigest, now, log } = options;
  const limits: Limits = { ...LIMITS, ...options.limits };
  const metrics = new Metrics();
  const releases = new Lately(now);
  const ledger = meterLedger(guardLedger(options.ledger, limits.ledgerMs), metrics);
  const closing = new AbortController();
  const documents = new OwnerDocuments({ ledger, ownerKey: cell.ownerKey, now, log });
  await documents.load(options.documents ?? {});
  const broker = new BrokerClient({ origin: options.broker.origin, limits });
  const trust = new BrokerTrust({ client: broker, documents, cell, configDigest, limits, now, log, collateral: options.collateral });
  const store = new MessageStore({ blobs, ledger, now, orphanAgeMs: limits.orphanAgeMs });
  const health = new Health({ cell, ledger, broker, trust, store, documents, limits, now });
  const gateways = options.peers?.gateways;
  const keyed = gateways === undefined ? undefined : new KeyedTenants(ledger, cell.cell);
  const phases = new PhaseLog({ cell: cell.cell, now, write: options.onPhase });
  const epochs = new Epochs({ cell, key: options.cellKey, documents, ledger, healthy: () => ableToHold(health, now), observers: options.observers, replication: options.peers?.replication, phases, now, log, ...(keyed === undefined ? {} : { ready: (tenant: string) => keyed.has(tenant) }) });
  const core: Core = {
    cell, configDigest, now, limits, log, ledger, store, zones: new Zones(ledger), keyStates: new KeyStates(ledger, now), documents, broker, trust, collateral: options.collateral,
    sessions: new Sessions({ trust, documents, cell: cell.cell, now }),
    rates: new RateLimiter(now, limits.buckets),
    load: new Load({ ledger, limits, now }),
    health, epochs, replication: options.peers?.replication, standbys: new Standbys(options.peers?.replication), keyed, phases,
    keepDocuments: options.keepDocuments ?? (async () => {}),
    closing: closing.signal,
  };

  const app = (listener: 'public' | 'internal' | 'admin', bodyBytes: number) => {
    const made = createApp({ listener, limits, log, now, bodyBytes });
    meterApp(made, listener, { metrics, releases, now });
    return made;
  };
  const apps = { public: app('public', limits.jsonBytes), internal: app('internal', limits.internalBytes), admin: app('admin', limits.internalBytes) };

  // A stream, not bytes: the handler reads it, with a cap and clocks of its own.
  apps.public.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  addRoutes(apps.public, publicRoutes(core), publicHooks(core));
  if (options.pageFolder !== undefined) await servePage(apps.public, options.pageFolder);
  addRoutes(apps.internal, [...counterRoutes(core), ...brokerRoutes(core)], internalHooks(core));
  if (options.peers !== undefined) {
    const peer = peerRoutes({ cell: cell.cell, directory: () => documents.directory().directory, blobs: options.peers.own, reserve: (size, from) => core.load.reserve(size, from), limits, now });
    apps.internal.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
    addRoutes(apps.internal, [...peer.routes, ...peerKeyRoutes(core)], () => peer.hooks);
  }
  if (gateways !== undefined && keyed !== undefined && options.cellKey !== undefined) addRoutes(apps.internal, relayRoutes(core, { keyed, key: options.cellKey, gateways }), internalHooks(core));
  addRoutes(apps.admin, [...adminRoutes(core), ...cellRoutes(core)], () => ({}));
  await Promise.all(Object.values(apps).map((instance) => instance.ready()));

  return {
    ...apps, epochs,
    metrics: { metrics, collect: () => collect({ metrics, ledger, health, replication: options.peers?.replication, releases, now }), ready: async () => (await health.report()).status === 'ready' },
    async sweep() {
      const { exhausted, sessions } = await ledger.sweep(await epochs.heldTenants());
      if (exhausted + sessions > 0) log.info('swept', { count_jobs: exhausted });
    },
    drain: async () => phases.drain((await epochs.heldTenants() ?? []).map(({ tenantId }) => tenantId), (since) => ledger.undrained(since)),
    sweepOrphans: async () => (await options.peers?.mayForget() === false ? 0 : await store.sweep()),
    async close() {
      closing.abort();
      epochs.stop();
      const servers = Object.values(apps).map(({ server }) => server);
      // A connection whose request just ended is kept alive for a next one: not now.
      const idle = setInterval(() => { for (const server of servers) server.closeIdleConnections(); }, 25);
      const cut = setTimeout(() => { for (const server of servers) server.closeAllConnections(); }, limits.closeMs);
      const ends = await Promise.allSettled(Object.values(apps).map((instance) => instance.close()));
      clearInterval(idle);
      clearTimeout(cut);
      for (const end of ends) if (end.status === 'rejected') log.warn('listener did not close', errorFields(end.reason));
    },
  };
}

/** A broker that is just restarting is waited for this long. */
const BROKER_GRACE_MS = 15_000;
const brokerSeen = new WeakMap<Health, number>();

/** A cell whose ledger or store fails must let go of its epochs, so that another cell can carry on. */
async function ableToHold(health: Health, now: Clock): Promise<boolean> {
  const { checks } = await health.report();
  if (checks.broker === 'ok') brokerSeen.set(health, now());
  return checks.ledger === 'ok' && checks.store === 'ok' && checks.policy === 'ok' && now() - (brokerSeen.get(health) ?? Number.NEGATIVE_INFINITY) < BROKER_GRACE_MS;
}

const publicHooks = (core: Core) => ({ auth }: Route<PublicAuth>): Hooks => (auth === 'open' ? {} : {
  onRequest: [async (request) => {
    request.apiKey = await authenticate(core.ledger, request.headers.authorization, core.now());
    requireScope(request.apiKey, auth.scope);
    core.rates.take(`${auth.rate} ${request.apiKey.id}`, core.limits.rates[auth.rate]);
  }],
});

const internalHooks = (core: Core) => ({ auth }: Route<InternalAuth>): Hooks => {
  if (auth === 'counter') return { onRequest: [(request) => core.sessions.beginCounter(request)], preValidation: [(request) => core.sessions.proveCounter(request)] };
  if (auth === 'broker') return { onRequest: [(request) => core.sessions.beginBroker(request)], preValidation: [(request) => core.sessions.proveBroker(request)] };
  if (auth === 'anonymous') return { onRequest: [async (request) => core.rates.take(`anonymous ${request.ip}`, core.limits.challenge)] };
  return {};
};

/** A gateway on a real PostgreSQL, with a real broker and simulated evidence, all on one clock that tests move. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { b64u, type Bytes, fromB64u, hex, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import type { Attester } from '../../attestation/evidence.ts';
import { createDevelopmentRoot, developmentRoot, simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { createBroker } from '../../workloads/broker/broker.ts';
import { gatewayClient } from '../../workloads/broker/gateway-client.ts';
import { httpServer } from '../../workloads/broker/http.ts';
import { createIdentity, type Identity } from '../../workloads/broker/identity.ts';
import { localFileSealer } from '../../workloads/broker/sealers/local-file.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../../workloads/gateway/server.ts';
import { type Blobs, openBlobs } from '../../workloads/ledger/blobs.ts';
import { type Ledger, openLedger } from '../../workloads/ledger/ledger.ts';
import { startPostgres } from '../../workloads/ledger/postgres.ts';
import { type CellConfig, origin } from '../../workloads/protocol/cell.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type Attested, challengeSchema, type Session, sessionSchema, type TenantKey } from '../../workloads/protocol/messages.ts';
import { DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import { makePop } from '../../workloads/protocol/pop.ts';

export interface TestClock { now: () => number; advance: (ms: number) => void }
const REGISTERS = { broker: { PCR0: 'b0'.repeat(48), PCR1: 'b1'.repeat(48), PCR2: 'b2'.repeat(48) }, counter: { PCR0: 'c0'.repeat(48), PCR1: 'c1'.repeat(48), PCR2: 'c2'.repeat(48) } };
export const owner = await generateSigningKey();
export const resultKey = await generateReceivingKey();
export const LOG_LINES: string[] = [];
const log = createLog('test', { write: (line) => { LOG_LINES.push(line); } });

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<Server>((resolve) => { const s = createServer(); s.listen(0, '127.0.0.1', () => resolve(s)); })));
  const ports = servers.map((s) => (s.address() as { port: number }).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

export const freePort = async (): Promise<number> => (await freePorts(1))[0] as number;

export interface World {
  readonly clock: TestClock;
  readonly folder: string;
  readonly databaseUrl: string;
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  readonly ledger: Ledger;
  readonly blobs: Blobs;
  readonly gateway: Gateway;
  readonly identity: Identity;
  readonly policyOf: (changed?: Partial<OwnerPolicy>) => Promise<string>;
  readonly directory: string;
  readonly publicUrl: string;
  readonly internalUrl: string;
  /** Another gateway on the same ledger and store; closed with the world. */
  another(options: Partial<GatewayOptions>): Promise<Gateway>;
  stopBroker(): Promise<void>;
  startBroker(): Promise<void>;
  tenant(id: string, zone?: string): Promise<TenantKey>;
  apiKey(tenantId: string, scopes?: string[], days?: number): Promise<{ id: string; key: string }>;
  attester(role: 'broker' | 'counter'): Promise<Attester>;
  counter(): Promise<Counter>;
  close(): Promise<void>;
}

/** One of several cells: their directory, with observers. */
export interface Peer { readonly cell: string; readonly key: SigningKey; readonly directory: string }

export async function makeWorld(limits: GatewayOptions['limits'] = {}, peer?: Peer): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-gateway-'));
  let offset = 0;
  const clock: TestClock = { now: () => Date.now() + offset, advance: (ms) => { offset += ms; } };
  const seconds = () => Math.floor(clock.now() / 1000);
  const [postgres] = await Promise.all([
    startPostgres({ folder: join(folder, 'postgres'), log }),
    createDevelopmentRoot(join(folder, 'simulated'), { region: 'local-1', now: seconds() }),
  ]);
  const root = await developmentRoot(join(folder, 'simulated'));
  const [publicPort = 0, internalPort = 0, brokerPort = 0] = await freePorts(3);
  const here = (port: number) => ({ host: '127.0.0.1', port });
  const cell: CellConfig = {
    cell: peer?.cell ?? 'local', cloud: 'local', region: 'local-1', epoch: 1, platform: 'aws-nitro', simulated: true, ownerKey: b64u(owner.publicKey),
    gateway: { public: here(publicPort), internal: here(internalPort) }, broker: here(brokerPort),
  };
  const configDigest = await sha256(utf8(JSON.stringify(cell)));
  const appraisal = (role: 'broker' | 'counter') => ({
    id: `test/${role}`, role, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave' as const], references: [{ id: role, platform: 'aws-nitro' as const, registers: REGISTERS[role] }],
  });
  const policyOf = (changed: Partial<OwnerPolicy> = {}) => signJws(POLICY_TYPE, {
    revision: 1, notAfter: seconds() + 86_400, deployment: 'test', roles: { broker: appraisal('broker'), counter: appraisal('counter') },
    developmentRoots: [{ platform: root.platform, name: root.name, certSha256: root.certSha256, spkiSha256: root.spkiSha256 }], revoked: [],
    zones: [{ name: 'eu', regions: ['local-1'], origin: 'asserted' }, { name: 'us', regions: ['local-1'], origin: 'asserted' }, { name: 'closed', regions: ['local-1'], origin: 'asserted' }],
    tenants: [{ tenant: '*', zones: ['eu', 'us'], classifications: ['public', 'internal', 'confidential'], scopes: ['enclave'], egress: ['count'] }],
    detectors: [{ name: 'test', digest: 'aa'.repeat(32), threshold: 0.5 }], directoryRevision: 1, ...changed,
  } satisfies OwnerPolicy, owner.privateKey);
  const directory = peer?.directory ?? await signJws(DIRECTORY_TYPE, {
    revision: 1, notAfter: seconds() + 86_400, deployment: 'test', cells: [{ name: 'local', cloud: 'local', region: 'local-1', url: origin(cell.gateway.public), configDigest: hex(configDigest), epoch: 1 }],
  }, owner.privateKey);

  const ledger = await openLedger({ url: postgres.url, now: clock.now, cell: cell.cell });
  const blobs = await openBlobs({ folder: join(folder, 'store') });
  const base: GatewayOptions = {
    ledger, blobs, broker: { origin: origin(cell.broker) }, cell, configDigest, documents: { policy: await policyOf(), directory }, now: clock.now, log,
    ...(peer === undefined ? {} : { cellKey: peer.key }), limits: { brokerRetryMs: 0, healthMs: 0, pollMs: 100, eventPollMs: 100, ...limits },
  };
  const gateway = await createGateway(base);
  await gateway.internal.listen(cell.gateway.internal);
  await gateway.public.listen(cell.gateway.public);
  const others: Gateway[] = [];

  const identity = await createIdentity();
  const attester = (role: 'broker' | 'counter') => simulatedAttester({ folder: join(folder, 'simulated'), registers: REGISTERS[role], now: clock.now });
  const client = gatewayClient({ origin: origin(cell.gateway.internal), identity, now: clock.now });
  const broker = createBroker({
    cell, configDigest, identity, attester: await attester('broker'), gateway: client, now: clock.now, log,
    sealer: localFileSealer({ file: join(folder, 'broker', 'sealer.key'), nothingSealed: client.nothingSealed }),
  });
  let server: Server | undefined;
  const startBroker = async () => {
    server = httpServer(broker.routes, log);
    await new Promise<void>((resolve) => server?.listen(brokerPort, '127.0.0.1', resolve));
  };
  const stopBroker = async () => {
    server?.closeAllConnections();
    await new Promise<void>((resolve) => { if (server === undefined) resolve(); else server.close(() => resolve()); });
    server = undefined;
  };
  await startBroker();

  const world: World = {
    clock, folder, databaseUrl: postgres.url, cell, configDigest, ledger, blobs, gateway, identity, policyOf, directory, publicUrl: origin(cell.gateway.public), internalUrl: origin(cell.gateway.internal),
    async another(options) {
      const made = await createGateway({ ...base, ...options, limits: { ...base.limits, ...options.limits } });
      others.push(made);
      return made;
    },
    stopBroker, startBroker, attester,
    async tenant(id, zone = 'eu') {
      const create = () => gateway.admin.inject({ method: 'POST', url: '/tenants', payload: { id, zone } });
      let response = await create();
      // A busy machine may let the broker's time run out: then the same again, as its answer says.
      for (let tries = 0; response.statusCode === 503 && tries < 10; tries++) response = await create();
      if (response.statusCode !== 201) throw new Error(response.body);
      return response.json<{ keys: TenantKey[] }>().keys.find((key) => key.alg === 'X-Wing') as TenantKey;
    },
    async apiKey(tenantId, scopes = ['jobs:write', 'jobs:read', 'keys:read'], days) {
      const response = await gateway.admin.inject({ method: 'POST', url: '/keys', payload: { tenant_id: tenantId, scopes, ...(days === undefined ? {} : { expires_in_days: days }) } });
      if (response.statusCode !== 201) throw new Error(response.body);
      return response.json<{ id: string; key: string }>();
    },
    counter: () => makeCounter(world),
    async close() {
      await Promise.all([gateway, ...others].map((g) => g.close()));
      await stopBroker();
      await ledger.close();
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return world;
}

export const contextOf = (changed: Partial<EncryptionContext> = {}): EncryptionContext => ({
  tenant_id: 'acme', job_id: randomUUID(), purpose: 'count-cats', data_classification: 'confidential', compliance_zone: 'eu', result_key: b64u(resultKey.publicKey), ...changed,
});
export const messageFor = (key: TenantKey, context: EncryptionContext, size = 64): Promise<Bytes> => encryptMessage(randomBytes(size), context, key);
export const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
export const octets = (key: string) => ({ ...bearer(key), 'content-type': 'application/octet-stream' });

export interface Counter {
  readonly session: Session;
  readonly attested: Attested;
  readonly key: CryptoKey;
  call(method: 'GET' | 'POST', path: string, body?: object, changed?: { session?: string; pop?: string; payload?: string; gateway?: Gateway }): Promise<{ statusCode: number; body: string; rawPayload: Buffer; json: <T = any>() => T }>;
  register(): Promise<void>;
}

async function makeCounter(world: World): Promise<Counter> {
  const [signing, receiving, attester] = await Promise.all([generateSigningKey(), generateReceivingKey(), world.attester('counter')]);
  const inject = async (url: string, payload: object) => {
    const response = await world.gateway.internal.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json' } });
    if (response.statusCode !== 200) throw new Error(response.body);
    return response.json<unknown>();
  };
  const challenge = challengeSchema.parse(await inject('/internal/v1/challenge', { role: 'counter', platform: 'aws-nitro' }));
  const binding = {
    platform: 'aws-nitro', role: 'counter', cell: world.cell.cell, challengeId: fromB64u(challenge.challenge_id), nonce: fromB64u(challenge.nonce), audience: challenge.audience,
    receivingKey: receiving.publicKey, signingKey: signing.publicKey, tlsSpkiSha256: new Uint8Array(0), policyDigest: fromB64u(challenge.policy_digest), configDigest: world.configDigest, payloadDigest: new Uint8Array(32),
  } as const;
  const attested = { evidence: fromEvidence(await attester.attest({ binding })), binding: fromBinding(binding) };
  const session = sessionSchema.parse(await inject('/internal/v1/attest', attested));
  const counter: Counter = {
    session, attested, key: signing.privateKey,
    async call(method, path, body, changed = {}) {
      const payload = changed.payload ?? (body === undefined ? '' : JSON.stringify(body));
      const token = changed.session ?? session.session;
      const pop = changed.pop ?? await makePop({ key: signing.privateKey, method, path, body: utf8(payload), session: token, now: Math.floor(world.clock.now() / 1000) });
      return (changed.gateway ?? world.gateway).internal.inject({
        method, url: path, headers: { 'ccc-session': token, 'ccc-pop': pop, ...(payload === '' ? {} : { 'content-type': 'application/json' }) }, ...(payload === '' ? {} : { payload }),
      });
    },
    async register() {
      const response = await counter.call('POST', '/internal/v1/sessions', { ...attested, session: session.session, ear: session.ear });
      if (response.statusCode !== 204) throw new Error(response.body);
    },
  };
  return counter;
}

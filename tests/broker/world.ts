/** One small world for tests of broker and counter: an owner, a development root, a gateway's store in memory, real HTTP, real crypto. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Attester, Role } from '../../attestation/evidence.ts';
import { type Bytes, b64u, fromB64u, hex, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { createDevelopmentRoot, developmentRoot, simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { type Broker, type BrokerOptions, createBroker } from '../../workloads/broker/broker.ts';
import { gatewayClient } from '../../workloads/broker/gateway-client.ts';
import { httpServer } from '../../workloads/broker/http.ts';
import { type Identity, createIdentity } from '../../workloads/broker/identity.ts';
import { localFileSealer } from '../../workloads/broker/sealers/local-file.ts';
import { encryptMessage } from '../../workloads/client/esdk-node.ts';
import type { CellConfig } from '../../workloads/protocol/cell.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { type SigningKey, generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type KeyManifest, RELEASE_PATH, type Session, type StoredKey, type TenantKey } from '../../workloads/protocol/messages.ts';
import { type CellDirectory, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { FakeGateway } from './fake-gateway.ts';

export const DETECTOR = { name: 'test-detector', digest: 'd'.repeat(64), threshold: 0.5 };
const registers = (byte: string) => ({ PCR0: byte.repeat(96), PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) });
export const REGISTERS: Record<Role, ReturnType<typeof registers>> = { broker: registers('1'), counter: registers('2') };
export const OTHER_REGISTERS = registers('3');

let seed: { secret: Buffer; rows: StoredKey[] } | undefined;

export interface RunningBroker { readonly broker: Broker; readonly identity: Identity; readonly origin: string; stop(): Promise<void> }

export class World {
  readonly folder: string;
  readonly owner: SigningKey;
  readonly cell: CellConfig;
  readonly configDigest: Bytes = randomBytes(32);
  readonly gateway: FakeGateway;
  readonly lines: string[] = [];
  /** Epoch ms: time moves when a test says so. */
  time = 1_900_000_000_000;
  readonly now = (): number => this.time;
  #policy: OwnerPolicy;
  readonly #stops: (() => Promise<void>)[] = [];

  private constructor(folder: string, owner: SigningKey, cell: CellConfig, policy: OwnerPolicy, gateway: FakeGateway) {
    this.folder = folder;
    this.owner = owner;
    this.cell = cell;
    this.#policy = policy;
    this.gateway = gateway;
    gateway.now = this.now;
  }

  static async create(): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-broker-'));
    const owner = await generateSigningKey();
    const time = 1_900_000_000;
    await createDevelopmentRoot(join(folder, 'simulated'), { region: 'test-1', now: time });
    const root = await developmentRoot(join(folder, 'simulated'));
    const at = { host: '127.0.0.1', port: 1 };
    const cell: CellConfig = {
      cell: 'test', cloud: 'local', region: 'test-1', epoch: 1, platform: 'aws-nitro', simulated: true, ownerKey: b64u(owner.publicKey), gateway: { public: at, internal: at }, broker: at,
    };
    const role = (name: Role) => ({
      id: `test/${name}`, role: name, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave' as const], references: [{ id: name, platform: 'aws-nitro' as const, registers: REGISTERS[name] }],
    });
    const policy: OwnerPolicy = {
      revision: 1, notAfter: time + 30 * 86_400, deployment: 'test', roles: { broker: role('broker'), counter: role('counter') },
      developmentRoots: [{ platform: root.platform, name: root.name, certSha256: root.certSha256, spkiSha256: root.spkiSha256 }],
      revoked: [],
      zones: [{ name: 'here', regions: ['test-1'], origin: 'asserted' }, { name: 'elsewhere', regions: ['mars-1'], origin: 'asserted' }, { name: 'proven', regions: ['test-1'], origin: 'proven' }],
      tenants: [{ tenant: 'acme', zones: ['here', 'elsewhere', 'proven'], classifications: ['internal', 'confidential'], scopes: ['enclave'], egress: ['count', 'boxes'] }, { tenant: 'globex', zones: ['here'], classifications: ['public'], scopes: ['vm'], egress: ['count'] }],
      detectors: [DETECTOR], directoryRevision: 1,
    };
    const gateway = new FakeGateway();
    const world = new World(folder, owner, cell, policy, gateway);
    const directory = await signJws(DIRECTORY_TYPE, {
      revision: 1, notAfter: policy.notAfter, deployment: 'test', cells: [{ name: cell.cell, cloud: cell.cloud, region: cell.region, url: 'http://127.0.0.1:1', configDigest: hex(world.configDigest), epoch: cell.epoch }],
    } satisfies CellDirectory, owner.privateKey);
    gateway.routes.set('GET /directory', async () => ({ directory }));
    await gateway.listen();
    await world.setPolicy({});
    return world;
  }

  get policy(): OwnerPolicy {
    return this.#policy;
  }

  /** Signs a changed policy and gives it to the gateway. */
  async setPolicy(change: Partial<OwnerPolicy>, key = this.owner): Promise<void> {
    this.#policy = { ...this.#policy, ...change };
    this.gateway.policy = await signJws(POLICY_TYPE, this.#policy, key.privateKey);
  }

  attester(role: Role, of = REGISTERS[role]): Promise<Attester> {
    return simulatedAttester({ folder: join(this.folder, 'simulated'), registers: of, now: this.now });
  }

  get sealerFile(): string {
    return join(this.folder, 'broker', 'sealer.key');
  }

  async startBroker(more: Partial<BrokerOptions> = {}): Promise<RunningBroker> {
    const identity = await createIdentity();
    const gateway = gatewayClient({ origin: this.gateway.origin, identity, now: this.now, timeoutMs: 2_000 });
    const log = createLog('broker', { now: this.now, write: (line) => void this.lines.push(line) });
    const broker = createBroker({
      cell: this.cell, configDigest: this.configDigest, identity, attester: await this.attester('broker'), gateway,
      sealer: localFileSealer({ file: this.sealerFile, nothingSealed: gateway.nothingSealed }), now: this.now, log, ...more,
    });
    const server = httpServer(broker.routes, log);
    const origin = await listen(server);
    this.gateway.trust(identity.instance, identity.signing.publicKey, origin);
    await broker.policy.refresh();
    const running = { broker, identity, origin, stop: () => close(server) };
    this.#stops.push(running.stop);
    return running;
  }

  /** Keys of `acme`, made once per test file (RSA takes its time) and put into this world's ledger as a restored backup would be. */
  async seedKeys(broker: RunningBroker): Promise<TenantKey[]> {
    if (seed === undefined) {
      await tenantKeys(broker.origin);
      seed = { secret: await readFile(this.sealerFile), rows: [...this.gateway.keys] };
    } else {
      await mkdir(dirname(this.sealerFile), { recursive: true });
      await writeFile(this.sealerFile, seed.secret, { mode: 0o600 });
      this.gateway.keys.push(...seed.rows);
    }
    return seed.rows.map(({ id, alg, state, public: publicKey, not_after }) => ({ id, alg, state, public: publicKey, not_after }));
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.reverse()) await stop();
    await this.gateway.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export const listen = (server: Server): Promise<string> => new Promise((resolve) => {
  server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
});

export const close = (server: Server): Promise<void> => new Promise((resolve) => {
  server.close(() => resolve());
  server.closeAllConnections();
});

export interface Answer<T = Record<string, unknown>> { readonly status: number; readonly body: T & { code?: string; reasons?: { code: string; path: string }[] } }

export async function post<T = Record<string, unknown>>(origin: string, path: string, body: object | string, headers: Record<string, string> = {}): Promise<Answer<T>> {
  const response = await fetch(origin + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });
  return { status: response.status, body: await response.json() as Answer<T>['body'] };
}

/** A counter as the broker sees one. */
export async function makeCounter(world: World, registersOf = REGISTERS.counter) {
  const [signing, receiving, attester] = await Promise.all([generateSigningKey(), generateReceivingKey(), world.attester('counter', registersOf)]);

  async function challenge(origin: string, role: Role = 'counter') {
    return (await post<{ challenge_id: string; nonce: string; audience: string; policy_digest: string; expires_at: number }>(origin, '/v1/challenge', { role, platform: 'aws-nitro' })).body;
  }
  async function answer(of: { challenge_id: string; nonce: string; audience: string; policy_digest: string }, change: Record<string, unknown> = {}) {
    const binding = {
      platform: 'aws-nitro' as const, role: 'counter' as Role, cell: world.cell.cell, challengeId: fromB64u(of.challenge_id), nonce: fromB64u(of.nonce), audience: of.audience,
      receivingKey: receiving.publicKey, signingKey: signing.publicKey, tlsSpkiSha256: new Uint8Array(0), policyDigest: fromB64u(of.policy_digest),
      configDigest: world.configDigest, payloadDigest: new Uint8Array(32), ...change,
    };
    return { evidence: fromEvidence(await attester.attest({ binding })), binding: fromBinding(binding) };
  }
  async function attest(origin: string): Promise<Session> {
    const { status, body } = await post<Session>(origin, '/v1/attest', await answer(await challenge(origin)));
    if (status !== 200) throw new Error(`attest: ${body.code}`);
    return body;
  }
  async function pop(body: string, session: string, more: { path?: string; key?: CryptoKey } = {}): Promise<string> {
    return makePop({ key: more.key ?? signing.privateKey, method: 'POST', path: more.path ?? RELEASE_PATH, body: utf8(body), session, now: Math.floor(world.time / 1000) });
  }
  async function release(origin: string, session: string, items: object[]) {
    const body = JSON.stringify({ items });
    return post<{ items: ReleaseAnswer[] }>(origin, '/v1/release', body, { 'ccc-session': session, 'ccc-pop': await pop(body, session) });
  }
  return { signing, receiving, challenge, answer, attest, pop, release };
}

export interface ReleaseAnswer { job_id: string; ok: boolean; permanent?: boolean; data_key?: { enc: string; ct: string }; receipt?: string; problem?: { code: string } }

export const newJobId = (): string => crypto.randomUUID();

export async function makeMessage(keys: readonly TenantKey[], change: Partial<EncryptionContext> = {}, plaintext: Uint8Array = utf8('a picture')) {
  const result = await generateReceivingKey();
  const context: EncryptionContext = {
    tenant_id: 'acme', job_id: newJobId(), purpose: 'count-cats', data_classification: 'confidential', compliance_zone: 'here', result_key: b64u(result.publicKey), ...change,
  };
  const key = keys.find(({ alg }) => alg === 'X-Wing') as TenantKey;
  return { bytes: await encryptMessage(plaintext, context, key), context, result };
}

export async function tenantKeys(origin: string, tenant = 'acme', zone = 'here'): Promise<TenantKey[]> {
  const { status, body } = await post<{ keys: TenantKey[] }>(origin, '/v1/tenant-keys', { tenant_id: tenant, zone });
  if (status !== 200) throw new Error(`tenant-keys: ${body.code}`);
  return body.keys;
}

export async function getManifest(origin: string, tenant = 'acme') {
  const asked = { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'https://client.test', tenant_id: tenant };
  const { status, body } = await post<{ manifest: string; evidence: { platform: 'aws-nitro'; document: string }; binding: never }>(origin, '/v1/manifest', asked);
  const bytes = status === 200 ? fromB64u(body.manifest) : new Uint8Array(0);
  return { status, body, asked, bytes, digest: await sha256(bytes), manifest: status === 200 ? JSON.parse(new TextDecoder().decode(bytes)) as KeyManifest : undefined };
}

/**
 * A whole deployment in memory, with real keys, signatures and simulated evidence: an owner with policy and directory, a broker and a counter
 * with attesters of their own, a tenant's key. Every piece can be made wrong, so that a test plays a hostile gateway with one lie at a time.
 *
 *   const f = await createFixture();
 *   const response = await f.respond(newManifestRequest('here'), { manifest: { tenant_id: 'globex' } });
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bytes, b64u, fromB64u, hex, randomBytes, sha256, utf8 } from '../../attestation/bytes.ts';
import { claimsDigest } from '../../attestation/claims-digest.ts';
import { signEar } from '../../attestation/ear.ts';
import type { Attester, BindingFields, Role } from '../../attestation/evidence.ts';
import { createDevelopmentRoot, developmentRoot, simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { BROKER_RECEIPT_TYPE, RESULT_TYPE, type Sent } from '../../workloads/client/result.ts';
import { verifyAttested } from '../../workloads/protocol/appraised.ts';
import { fromBinding, fromEvidence, toBinding } from '../../workloads/protocol/evidence.ts';
import { generateReceivingKey, type ReceivingKey, seal } from '../../workloads/protocol/hpke.ts';
import { generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { resultAad, resultInfo } from '../../workloads/protocol/labels.ts';
import type { Attested, BrokerReceipt, KeyManifest, ManifestResponse, ResultPayload, Sealed, TenantKey } from '../../workloads/protocol/messages.ts';
import { type CellDirectory, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';
import type { UnwrapKey } from '../../workloads/protocol/wrap.ts';

export const NOW = 1_900_000_000;
export const TENANT = 'acme';
export const ZONE = 'here';
export const CELL = 'north';
const DETECTOR = { name: 'test-detector', digest: 'd'.repeat(64), threshold: 0.5 };
const registers = (digit: string) => ({ PCR0: digit.repeat(96), PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) });
export const REGISTERS: Record<Role, ReturnType<typeof registers>> = { broker: registers('1'), counter: registers('2') };

export interface Workload { readonly role: Role; readonly signing: SigningKey; readonly receiving: ReceivingKey; readonly attester: Attester }
export interface CounterSession extends Attested { readonly ear: string; readonly claimsDigest: string }

export interface Fixture {
  readonly folder: string;
  /** Epoch seconds; move it. */
  now: number;
  readonly owner: SigningKey;
  readonly configDigest: Bytes;
  readonly policy: OwnerPolicy;
  readonly directory: CellDirectory;
  readonly broker: Workload & { instance: string };
  readonly counter: Workload;
  readonly tenantKey: TenantKey;
  /** Private halves of tenant keys by id, as a broker has them. */
  readonly privateKeys: Record<string, UnwrapKey>;
  /** Evidence of the same measurements by a process of its own. */
  workload(role: Role, measured?: ReturnType<typeof registers>): Promise<Workload>;
  /** `by` signs in the owner's place. */
  signPolicy(changed?: Partial<OwnerPolicy>, by?: SigningKey): Promise<string>;
  signDirectory(changed?: Partial<CellDirectory>, by?: SigningKey): Promise<string>;
  attest(workload: Workload, changed?: Partial<BindingFields>): Promise<Attested>;
  respond(request: { challenge_id: string; nonce: string; audience: string }, lies?: ManifestLies): Promise<ManifestResponse>;
  session(lies?: { binding?: Partial<BindingFields>; counter?: Workload; issuer?: string; by?: SigningKey; policyJws?: string }): Promise<CounterSession>;
  resultPayload(sent: Sent, session: Pick<CounterSession, 'claimsDigest'>, changed?: Partial<ResultPayload>): ResultPayload;
  signResult(payload: object, by?: SigningKey): Promise<string>;
  sealResult(jws: string, resultKey: Uint8Array, sent: Pick<Sent, 'tenant_id' | 'job_id'>): Promise<Sealed>;
  brokerReceipt(sent: Sent, session: Pick<CounterSession, 'claimsDigest'>, changed?: Partial<BrokerReceipt>, by?: SigningKey): Promise<string>;
  dispose(): Promise<void>;
}

export interface ManifestLies {
  readonly policyJws?: string;
  readonly directoryJws?: string;
  readonly manifest?: Partial<KeyManifest>;
  /** Bytes in the manifest's place. */
  readonly exact?: Bytes;
  readonly binding?: Partial<BindingFields>;
  readonly workload?: Workload;
  /** Sent instead, after the evidence was made. */
  readonly swapped?: Bytes;
}

export async function createFixture(): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-client-'));
  await createDevelopmentRoot(folder, { region: 'test-1', now: NOW - 10 });
  const root = await developmentRoot(folder);
  const owner = await generateSigningKey();
  const configDigest = await sha256(utf8('cell.json'));
  const xWing = await generateReceivingKey();

  const appraisal = (role: Role) => ({
    id: `test/${role}`, role, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave' as const], references: [{ id: `${role}@test`, platform: 'aws-nitro' as const, registers: REGISTERS[role] }],
  });
  const policy: OwnerPolicy = {
    revision: 7, notAfter: NOW + 86_400, deployment: 'test', roles: { broker: appraisal('broker'), counter: appraisal('counter') },
    developmentRoots: [{ platform: root.platform, name: root.name, certSha256: root.certSha256, spkiSha256: root.spkiSha256 }],
    revoked: [], zones: [{ name: ZONE, regions: ['test-1'], origin: 'asserted' }, { name: 'there', regions: ['mars-1'], origin: 'asserted' }],
    tenants: [{ tenant: '*', zones: [ZONE], classifications: ['public', 'internal', 'confidential'], scopes: ['enclave'], egress: ['count', 'boxes', 'scores', 'image'] }],
    detectors: [DETECTOR], directoryRevision: 3,
  };
  const directory: CellDirectory = {
    revision: 3, notAfter: NOW + 86_400, deployment: 'test',
    cells: [{ name: CELL, cloud: 'local', region: 'test-1', url: 'http://127.0.0.1:1', configDigest: hex(configDigest), epoch: 2 },
      { name: 'south', cloud: 'local', region: 'test-2', url: 'http://127.0.0.1:2', configDigest: 'e'.repeat(64), epoch: 1 }],
  };
  const tenantKey: TenantKey = { id: 'acme.x-wing.1', alg: 'X-Wing', state: 'active', public: b64u(xWing.publicKey), not_after: NOW + 86_400 };
  const workload = async (role: Role, measured = REGISTERS[role]): Promise<Workload> => ({
    role, signing: await generateSigningKey(), receiving: await generateReceivingKey(), attester: await simulatedAttester({ folder, registers: measured, now: () => f.now * 1000 }),
  });
  const policyDigest = async (jws?: string) => sha256(utf8(jws ?? (await f.signPolicy())));

  const f: Fixture = {
    folder, now: NOW, owner, configDigest, policy, directory, tenantKey, workload,
    // Placeholders until their attesters exist, a few lines below.
    broker: undefined as unknown as Fixture['broker'], counter: undefined as unknown as Workload,
    privateKeys: { [tenantKey.id]: { alg: 'X-Wing', privateKey: xWing.privateKey } },
    signPolicy: (changed = {}, by = owner) => signJws(POLICY_TYPE, { ...policy, ...changed }, by.privateKey),
    signDirectory: (changed = {}, by = owner) => signJws(DIRECTORY_TYPE, { ...directory, ...changed }, by.privateKey),
    async attest(from, changed = {}) {
      const binding: BindingFields = {
        platform: 'aws-nitro', role: from.role, cell: CELL, challengeId: randomBytes(16), nonce: randomBytes(32), audience: f.broker.instance, receivingKey: from.receiving.publicKey,
        signingKey: from.signing.publicKey, tlsSpkiSha256: new Uint8Array(0), policyDigest: await policyDigest(), configDigest, payloadDigest: new Uint8Array(32), ...changed,
      };
      return { evidence: fromEvidence(await from.attester.attest({ binding })), binding: fromBinding(binding) };
    },
    async respond(request, lies = {}) {
      const policyJws = lies.policyJws ?? (await f.signPolicy());
      const from = lies.workload ?? f.broker;
      const digest = await policyDigest(policyJws);
      const body: KeyManifest = {
        v: 'ccc-manifest/v1', tenant_id: TENANT, zone: ZONE, cell: CELL, epoch: 2,
        broker: { instance: f.broker.instance, signing_key: b64u(from.signing.publicKey), receiving_key: b64u(from.receiving.publicKey) },
        policy_digest: b64u(digest), policy_revision: decode<OwnerPolicy>(policyJws).revision,
        receipts_head: { seq: 5, digest: b64u(new Uint8Array(32).fill(5)) }, keys: [tenantKey], issued_at: f.now, ...lies.manifest,
      };
      const exact = lies.exact ?? utf8(JSON.stringify(body));
      const attested = await f.attest(from, {
        challengeId: fromB64u(request.challenge_id), nonce: fromB64u(request.nonce), audience: request.audience, policyDigest: digest, payloadDigest: await sha256(exact), ...lies.binding,
      });
      return { ...attested, manifest: b64u(lies.swapped ?? exact), policy: policyJws, directory: lies.directoryJws ?? (await f.signDirectory()) };
    },
    async session(lies = {}) {
      const from = lies.counter ?? f.counter;
      const policyJws = lies.policyJws ?? (await f.signPolicy());
      const attested = await f.attest(from, { policyDigest: await policyDigest(policyJws), ...lies.binding });
      const binding = toBinding(attested.binding);
      const verified = await verifyAttested({ attested, policy: decode<OwnerPolicy>(policyJws), now: f.now, mode: 'live', expect: { ...binding } });
      const ear = await signEar({ appraisal: verified, binding, key: (lies.by ?? f.broker.signing).privateKey, issuer: lies.issuer ?? f.broker.instance, now: f.now, ttlSeconds: 600 });
      return { ...attested, ear, claimsDigest: await claimsDigest(verified.claims) };
    },
    resultPayload: (sent, session, changed = {}) => ({
      v: 'ccc-result/v1', ...sent, outcome: 'completed',
      result: { count: 2, method: 'object-detection', model: DETECTOR, boxes: [{ x: 1, y: 2, w: 3, h: 4, score: 0.9 }, { x: 5, y: 6, w: 7, h: 8, score: 0.8 }], image: { width: 64, height: 48 } },
      model_digest: DETECTOR.digest, claims_digest: session.claimsDigest, cell: CELL, epoch: 2, policy_revision: policy.revision, at: f.now, ...changed,
    }),
    signResult: (payload, by = f.counter.signing) => signJws(RESULT_TYPE, payload, by.privateKey),
    async sealResult(jws, resultKey, { tenant_id, job_id }) {
      return seal(resultKey, resultInfo(), resultAad(tenant_id, job_id), utf8(jws.padEnd(Math.ceil(jws.length / 4096) * 4096, ' ')));
    },
    brokerReceipt: (sent, session, changed = {}, by = f.broker.signing) => signJws(BROKER_RECEIPT_TYPE, {
      v: 'ccc-broker-receipt/v1', instance: f.broker.instance, seq: 6, prev: b64u(new Uint8Array(32).fill(5)), operation: 'released', tenant_id: sent.tenant_id, job_id: sent.job_id,
      key_id: tenantKey.id, zone: ZONE, origin: 'asserted', session: 's', claims_digest: session.claimsDigest, message_id: sent.message_id, policy_revision: policy.revision, at: f.now, ...changed,
    }, by.privateKey),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
  const broker = { ...(await workload('broker')), instance: 'broker-1' };
  return Object.assign(f, { broker, counter: await workload('counter') });
}

const decode = <T>(jws: string): T => JSON.parse(new TextDecoder().decode(fromB64u(jws.split('.')[1] ?? ''))) as T;

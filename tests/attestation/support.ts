import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Expectation, TrustContext, TrustRoot } from '../../attestation/adapter.ts';
import { d64, ed25519Spki } from '../../attestation/binding.ts';
import { type Bytes, bytes, hex, sha256 } from '../../attestation/bytes.ts';
import type { BindingFields, Evidence } from '../../attestation/evidence.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { encodePayload, entriesOf, type NsmFields, type SignOptions, signDocument } from '../../attestation/platforms/simulated/nsm.ts';
import { type ChainOptions, makeChain, type SimulatedChain } from '../../attestation/platforms/simulated/pki.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';

/** 2026-05-28, epoch seconds. */
export const NOW = 1_780_000_000;
export const INSTANCE = 'i-0123456789abcdef0';
export const MODULE = `${INSTANCE}-enc0123456789abcdef`;
export const REGION = 'eu-central-1';

export const filled = (length: number, value: number): Bytes => new Uint8Array(length).fill(value);

export const BINDING: BindingFields = {
  platform: 'aws-nitro', role: 'counter', cell: 'cell-a', challengeId: filled(16, 1), nonce: filled(32, 2), audience: 'broker-1',
  receivingKey: filled(1216, 3), signingKey: filled(32, 4), tlsSpkiSha256: filled(0, 0), policyDigest: filled(32, 5), configDigest: filled(32, 6), payloadDigest: filled(32, 0),
};
export const EXPECT: Expectation = { platform: 'aws-nitro', binding: BINDING, maxAgeSeconds: 300 };
export const REGISTERS = { PCR0: 'a0'.repeat(48), PCR1: 'a1'.repeat(48), PCR2: 'a2'.repeat(48) };

export function registers(change: Record<number, Bytes> = {}): Map<number, Bytes> {
  const pcrs = new Map<number, Bytes>(Array.from({ length: 16 }, (_, i) => [i, filled(48, i < 3 ? 0xa0 + i : 0)]));
  for (const [i, value] of Object.entries(change)) pcrs.set(Number(i), value);
  return pcrs;
}

export async function trustRoot(certificate: Bytes, anchor: TrustRoot['anchor'] = 'production'): Promise<TrustRoot> {
  const { spki } = parseCertificate(certificate, 'root');
  return { name: 'test root', purpose: 'aws-nitro', platform: 'aws-nitro', anchor, certSha256: hex(await sha256(certificate)), spkiSha256: hex(await sha256(spki)) };
}

export interface World { readonly chain: SimulatedChain; readonly root: TrustRoot; readonly trust: TrustContext }

/** A chain made at NOW under a root that is pinned. */
export async function world(options: Partial<ChainOptions> = {}, anchor: TrustRoot['anchor'] = 'production'): Promise<World> {
  const chain = await makeChain({ region: REGION, instanceId: INSTANCE, moduleId: MODULE, now: NOW, ...options });
  const root = await trustRoot(chain.cabundle[0] as Bytes, anchor);
  return { chain, root, trust: { roots: [root], revoked: [], now: NOW } };
}

/** The fields of a document that verifies: each test changes one. */
export async function fieldsOf({ chain }: World, change: Partial<NsmFields> = {}): Promise<NsmFields> {
  return {
    moduleId: MODULE, timestamp: NOW * 1000, pcrs: registers(), certificate: chain.certificate, cabundle: chain.cabundle,
    publicKey: ed25519Spki(BINDING.signingKey), userData: await d64(BINDING), nonce: BINDING.nonce, ...change,
  };
}

export async function evidence(w: World, change: Partial<NsmFields> = {}, sign: SignOptions & { key?: CryptoKey } = {}): Promise<Evidence> {
  const payload = encodePayload(entriesOf(await fieldsOf(w, change)));
  return { platform: 'aws-nitro', document: await signDocument(payload, sign.key ?? w.chain.leafKey, sign) };
}

/** Exactly these codes, in any order, each at least once; every reason says what to do. */
export async function refused(work: Promise<unknown> | (() => unknown), ...codes: RefusalCode[]): Promise<Refusal> {
  let error: unknown;
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (thrown) {
    error = thrown;
  }
  expect(error, 'a refusal').toBeInstanceOf(Refusal);
  const refusal = error as Refusal;
  expect([...new Set(refusal.codes)].sort()).toEqual([...codes].sort());
  for (const reason of refusal.reasons) expect(reason.next.length).toBeGreaterThan(10);
  return refusal;
}

export const VECTORS = new URL('../../../shared/vectors/', import.meta.url);
const present = existsSync(new URL('MANIFEST.json', VECTORS));
if (!present && process.env['REQUIRE_ENGINES'] === '1') throw new Error('REQUIRE_ENGINES=1, and ../shared/vectors is absent');
/** For `describe.skipIf`: shown as skipped where the corpus is absent. */
export const NO_VECTORS = !present;
export const vector = (file: string): Bytes => bytes(readFileSync(new URL(file, VECTORS)));

export interface ManifestEntry { readonly file: string; readonly platform: string; readonly kind: string; readonly role: string; readonly expected: 'valid' | 'invalid'; readonly verified_at: string | null; readonly facts?: Record<string, unknown> }
export const manifest = (): ManifestEntry[] => (present ? (JSON.parse(readFileSync(new URL('MANIFEST.json', VECTORS), 'utf8')) as ManifestEntry[]) : []);

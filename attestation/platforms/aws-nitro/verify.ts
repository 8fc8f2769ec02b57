/**
 * AWS Nitro Enclaves: an attestation document in, normalized claims or a refusal out. The checks are in the order in which they are
 * made: bytes, certificates, signature, origin, time, binding. All that fail are reported together, except that bytes which do not
 * parse end it. Whether the measurements are the right ones, and whether debug mode or a development root is acceptable, is
 * for the appraisal (attestation/appraise.ts).
 *
 * AWS publishes revocation lists for regional and zonal certificates but they are not fetched here (no I/O); claims say
 * `revocation: unchecked`. Certificates named in `trust.revoked` are refused.
 */
import type { AttestationAdapter, Expectation, TrustContext } from '../../adapter.ts';
import { ed25519Spki, transcript } from '../../binding.ts';
import { type Bytes, bytes, equal, hex, sha256, sha512 } from '../../bytes.ts';
import { allChecks } from '../../check-ids.ts';
import { CheckList, checkPlatform } from '../../checks.ts';
import type { Check, Measurement, NormalizedClaims } from '../../claims.ts';
import type { BindingFields, Evidence } from '../../evidence.ts';
import { parseCoseSign1, verifyCoseSign1 } from '../../formats/cose.ts';
import { type NsmPayload, parseNsmPayload } from '../../formats/nsm.ts';
import type { Certificate } from '../../formats/x509.ts';
import { printable, refuse } from '../../refusal.ts';
import { checkChain, checkChainSignatures, type NitroChain, PLATFORM } from './chain.ts';

/** A document may be this much ahead of the verifier's clock, seconds (A0). */
const MAX_AHEAD = 300;
const NEXT_DOCUMENT = 'Attest again inside the enclave with the verifier\'s challenge.';

/** A document whose bytes, chain, validity and signature hold. */
export interface VerifiedDocument {
  readonly payload: NsmPayload;
  readonly chain: NitroChain;
  readonly checks: readonly Check[];
}

/** Signature, chain and validity at `trust.now`; neither binding nor age nor measurements. @throws Refusal */
export async function verifyDocument(document: Bytes, trust: TrustContext): Promise<VerifiedDocument> {
  const checks = new CheckList();
  const { payload, chain } = await checkDocument(bytes(document), trust, () => trust.now, checks);
  checks.refuseIfFailed();
  return { payload, chain: chain as NitroChain, checks: checks.done };
}

async function verify(evidence: Evidence, expect: Expectation, trust: TrustContext): Promise<NormalizedClaims> {
  const checks = new CheckList();
  const document = checkPlatform(PLATFORM, 'NITRO', evidence, expect, checks);
  const digests = digestsOf(document, expect.binding);
  const { payload, chain } = await checkDocument(document, trust, () => trust.now, checks);
  checkOrigin(payload, chain, checks);
  checkNotAhead(payload, trust, checks);
  const age = trust.now - payload.timestamp / 1000;
  checks.that('NITRO-AGE', 'document.timestamp', age <= expect.maxAgeSeconds, () => ({ code: 'STALE', have: `${Math.ceil(age)} s old`, need: `at most ${expect.maxAgeSeconds} s`, next: NEXT_DOCUMENT }));
  await checkBinding(payload, expect.binding, await digests, checks);
  checks.refuseIfFailed();
  return toClaims(document, payload, chain as NitroChain, expect.binding, await digests, trust, 'challenge', checks.done);
}

async function verifyReplay(evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext): Promise<NormalizedClaims> {
  const checks = new CheckList();
  const document = checkPlatform(PLATFORM, 'NITRO', evidence, expect, checks);
  const digests = digestsOf(document, expect.binding);
  const { payload, chain } = await checkDocument(document, trust, (p) => Math.floor(p.timestamp / 1000), checks);
  checkOrigin(payload, chain, checks);
  checkNotAhead(payload, trust, checks);
  checks.skipped('NITRO-AGE', 'document.timestamp');
  await checkBinding(payload, expect.binding, await digests, checks);
  checks.refuseIfFailed();
  return toClaims(document, payload, chain as NitroChain, expect.binding, await digests, trust, 'none', checks.done);
}

export const awsNitro: AttestationAdapter = { platform: PLATFORM, verify, verifyReplay };

/** Bytes, chain, signature. Payload fields are meaningless to the caller unless `checks` holds no failure in the end. */
async function checkDocument(document: Bytes, trust: TrustContext, at: (payload: NsmPayload) => number, checks: CheckList): Promise<{ payload: NsmPayload; chain: NitroChain | undefined }> {
  const cose = checks.parse('NITRO-COSE', 'document', () => parseCoseSign1(document, 'document'));
  const payload = cose === undefined ? undefined : checks.parse('NITRO-PAYLOAD', 'document.payload', () => parseNsmPayload(cose.payload, 'document'));
  if (cose === undefined || payload === undefined) {
    checks.refuseIfFailed();
    return refuse('INTERNAL', 'document', 'Report this.');
  }
  const chain = await checkChain(payload.cabundle, payload.certificate, trust, at(payload), checks);
  if (chain === undefined) return { payload, chain };
  // Side by side, recorded in order
  const signed = verifyCoseSign1(cose, leafOf(chain));
  await checkChainSignatures(chain, trust.chainCache, checks);
  checks.that('NITRO-SIGNATURE', 'document.signature', await signed, () => ({ code: 'SIG_INVALID', have: 'a signature that the leaf\'s key does not verify', need: 'one over exactly these bytes', next: NEXT_DOCUMENT }));
  return { payload, chain };
}

const leafOf = (chain: NitroChain): Certificate => chain.certificates.at(-1) as Certificate;

/** The names in the certificates agree with each other and with the document; names of a chain that does not verify mean nothing. */
function checkOrigin(payload: NsmPayload, chain: NitroChain | undefined, checks: CheckList): void {
  if (chain === undefined || checks.failed) return;
  const region = regionOf(chain);
  checks.that('NITRO-REGION', 'document.cabundle', region !== undefined, () => ({ code: 'CLOUD_ORIGIN', have: chain.certificates.slice(1).map((c) => printable(c.commonName, 64)).join(', '), need: 'one region in all names', next: NEXT_DOCUMENT }));
  checks.that('NITRO-MODULE', 'document.module_id', instanceOf(payload.moduleId) !== undefined && leafOf(chain).commonName.startsWith(`${payload.moduleId}.`), () => ({ code: 'CLOUD_ORIGIN', have: printable(payload.moduleId), need: printable(leafOf(chain).commonName), next: NEXT_DOCUMENT }));
}

function checkNotAhead(payload: NsmPayload, trust: TrustContext, checks: CheckList): void {
  const ahead = payload.timestamp / 1000 - trust.now;
  checks.that('NITRO-NOT-AHEAD', 'document.timestamp', ahead <= MAX_AHEAD, () => ({ code: 'CLOCK_FUTURE', have: `${Math.ceil(ahead)} s ahead`, need: `at most ${MAX_AHEAD} s`, next: 'Set the clock of the verifier.' }));
}

interface Digests { /** Of the transcript, SHA-512; the others are SHA-256, hex. */ readonly d64: Bytes; readonly transcript: string; readonly document: string; readonly signingKey: string; readonly receivingKey: string }

/** Computed while signatures are verified; nothing is decided before these are. @throws Refusal FMT_FIELD when awaited */
function digestsOf(document: Bytes, binding: BindingFields): Promise<Digests> {
  const compute = async (): Promise<Digests> => {
    const whole = await transcript(binding);
    const [d64, ...others] = await Promise.all([sha512(whole), sha256(whole), sha256(document), sha256(binding.signingKey), sha256(binding.receivingKey)]);
    const [transcriptSha256, documentSha256, signingKey, receivingKey] = others.map(hex) as [string, string, string, string];
    return { d64, transcript: transcriptSha256, document: documentSha256, signingKey, receivingKey };
  };
  const digests = compute();
  digests.catch(() => {}); // a document that is refused before is refused for that
  return digests;
}

/** A10: nonce = the challenge's, user_data = D64, public_key = the Ed25519 key as SubjectPublicKeyInfo. */
async function checkBinding(payload: NsmPayload, binding: BindingFields, { d64 }: Digests, checks: CheckList): Promise<void> {
  const expected = [
    ['NITRO-NONCE', 'document.nonce', payload.nonce, binding.nonce, 'NONCE_ABSENT', 'NONCE_MISMATCH'],
    ['NITRO-TRANSCRIPT', 'document.user_data', payload.userData, d64, 'BINDING_ABSENT', 'BINDING_MISMATCH'],
    ['NITRO-KEY', 'document.public_key', payload.publicKey, ed25519Spki(binding.signingKey), 'BINDING_ABSENT', 'BINDING_MISMATCH'],
  ] as const;
  for (const [id, path, have, need, absent, mismatch] of expected) {
    checks.that(id, path, have !== undefined && equal(have, need), () => ({ code: have === undefined ? absent : mismatch, have: have === undefined ? 'null' : hex(have), need: hex(need), next: NEXT_DOCUMENT }));
  }
}

function toClaims(document: Bytes, payload: NsmPayload, chain: NitroChain, binding: BindingFields, digests: Digests, trust: TrustContext, freshness: 'challenge' | 'none', checks: readonly Check[]): NormalizedClaims {
  return {
    schema: 'https://confidential-cat-counter.dev/claims/v1',
    platform: PLATFORM,
    anchor: chain.root.anchor,
    evidence: [{ kind: 'nitro-attestation-document', sha256: digests.document, bytes: document.length, role: 'root' }],
    time: { verifiedAt: Math.floor(trust.now), evidenceAt: Math.floor(payload.timestamp / 1000), freshness, challengeId: hex(binding.challengeId), nonce: hex(binding.nonce) },
    hardware: {
      vendor: 'aws', technology: 'nitro', generation: null,
      signer: { kind: 'nsm', leafSerial: leafOf(chain).serial, rootSha256: chain.root.certSha256 },
      revocation: { status: 'unchecked' },
    },
    tcb: { status: 'NotReported' },
    guest: { debug: isDebug(payload), migratable: false, vmpl: null, smt: null, secureBoot: null },
    measurements: [...payload.pcrs].map(([index, value]): Measurement => ({ register: `PCR${index}`, alg: 'sha384', value: hex(value), covers: COVERS[index] ?? 'other', quoted: true })),
    workload: { imageDigestSource: 'measured', configDigest: hex(binding.configDigest), binding: { scope: 'enclave' } },
    key: { alg: 'Ed25519', publicKeySha256: digests.signingKey, receivingKeySha256: digests.receivingKey, boundIn: 'public_key', transcriptSha256: digests.transcript },
    cloud: {
      provider: 'aws', region: regionOf(chain), instanceId: instanceOf(payload.moduleId), moduleId: payload.moduleId,
      // Under a development root a region is only what somebody typed.
      origin: chain.root.anchor === 'production' ? 'proven' : 'asserted',
    },
    checks: allChecks(PLATFORM, checks),
  };
}

/** PCR0 is the whole image, 1 kernel and boot ramdisk, 2 the application; 3 (role), 4 (instance) and 8 (signer) are not code. */
const COVERS: Readonly<Record<number, Measurement['covers']>> = { 0: 'container', 1: 'kernel', 2: 'app' };

/** An enclave started with --debug-mode reports zeros (attestation_process.md, section 3.2). */
function isDebug(payload: NsmPayload): boolean {
  return [0, 1, 2].every((index) => payload.pcrs.get(index)?.every((byte) => byte === 0) === true);
}

/** "i-…" of "i-…-enc…". */
const instanceOf = (moduleId: string): string | undefined => /^(i-[0-9a-f]{8,32})-enc[0-9a-f]{8,32}$/.exec(moduleId)?.[1];

/** AWS: "us-east-1"; a development cell may call its region anything that fits into a name. */
const REGION = '([a-z][a-z0-9-]{1,62})';
/** Common names after the root's, in the chain's order. */
const NAMES = [`[0-9a-f]+\\.${REGION}\\.aws\\.nitro-enclaves`, `[0-9a-f]+\\.zonal\\.${REGION}\\.aws\\.nitro-enclaves`, `i-[0-9a-f]+\\.${REGION}\\.aws\\.nitro-enclaves`, `i-[0-9a-f]+-enc[0-9a-f]+\\.${REGION}\\.aws`]
  .map((name) => new RegExp(`^${name}$`));

/** The region that all four names carry. */
function regionOf(chain: NitroChain): string | undefined {
  const found = NAMES.map((name, i) => name.exec(chain.certificates[i + 1]?.commonName ?? '')?.[1]);
  return found.every((region) => region === found[0]) ? found[0] : undefined;
}

/**
 * Confidential GKE nodes (SEV-SNP, TDX, SEV): evidence in, normalized claims or a refusal out. What proves a node is in evidence.ts; here are what was
 * expected and the claims. The scope is always `node`: no measurement covers a pod's image, and any pod that gets the device gets the evidence.
 *
 * Binding: report_data = D64 of the transcript, all 64 bytes (SEV-SNP, TDX); extraData = D32 (SEV). Nothing in the evidence has a date: a live
 * verification is as fresh as its challenge, and stored evidence is judged at the time of the verifier, because it cannot say when it was made.
 */
import type { AttestationAdapter, Expectation, TrustContext, TrustRoot } from '../../adapter.ts';
import { transcript } from '../../binding.ts';
import { type Bytes, hex, sha256, sha512 } from '../../bytes.ts';
import { allChecks } from '../../check-ids.ts';
import { CheckList, checkPlatform } from '../../checks.ts';
import type { Check, Measurement, NormalizedClaims } from '../../claims.ts';
import type { BindingFields, Evidence } from '../../evidence.ts';
import { snpGuest, snpHardware, snpMeasurement, snpTcb } from '../../hardware/snp/claims.ts';
import { tdxClaims } from '../../hardware/tdx/claims.ts';
import { type GkeParts, parseGkeEvidence } from './container.ts';
import { type NodeFacts, type SevNode, verifyNode } from './evidence.ts';

export const PLATFORM = 'gke' as const;

const verify = (evidence: Evidence, expect: Expectation, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, 'challenge');
const verifyReplay = (evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, 'none');

export const gke: AttestationAdapter = { platform: PLATFORM, verify, verifyReplay };

type Expected = Omit<Expectation, 'maxAgeSeconds'>;
type Freshness = 'challenge' | 'none';

async function judge(evidence: Evidence, expect: Expected, trust: TrustContext, freshness: Freshness): Promise<NormalizedClaims> {
  const checks = new CheckList();
  const document = checkPlatform(PLATFORM, 'GKE', evidence, expect, checks);
  const parts = checks.parse('GKE-CONTAINER', 'evidence', () => parseGkeEvidence(document, 'evidence'));
  if (parts === undefined) checks.refuseIfFailed();
  checkExpected(parts as GkeParts, expect, checks);
  const whole = await transcript(expect.binding);
  const [d64, d32] = await Promise.all([sha512(whole), sha256(whole)]);
  const node = await verifyNode(parts as GkeParts, { d64, d32 }, expect, trust, trust.now, checks);
  if (node !== undefined) checkBoot(node, expect, checks);
  checks.refuseIfFailed();
  return toClaims(parts as GkeParts, node as NodeFacts, expect.binding, d32, trust, freshness, checks.done);
}

/** A register of the technology that only its evidence proves. */
const REGISTER: Readonly<Record<GkeParts['technology'], RegExp>> = { 'sev-snp': /^LAUNCH$/, tdx: /^MRTD$/, sev: /^vTPM:PCR\d+$/ };

/** The policy decides which technologies are acceptable, never the evidence. */
function checkExpected({ technology }: GkeParts, { registers = [] }: Expected, checks: CheckList): void {
  checks.that('GKE-REQUIRED', 'expect.registers', registers.some((r) => REGISTER[technology].test(r)), () => ({ code: 'POLICY_EMPTY', have: registers.join(', ') || 'no register', need: `registers of ${technology}`, next: `Put a reference of a ${technology} node into the policy, or use a node pool of the technology that is there.` }));
}

function checkBoot(node: NodeFacts, { boot }: Expected, checks: CheckList): void {
  if (boot === undefined) return;
  const clock = node.technology === 'sev' ? node.quote.clock : undefined;
  checks.that('GKE-BOOT', 'evidence.message.clockInfo', clock?.resetCount === boot.resetCount && clock.restartCount === boot.restartCount, () => ({ code: 'REBOOTED', have: clock === undefined ? 'evidence without a TPM' : `reset ${clock.resetCount}, restart ${clock.restartCount}`, need: `reset ${boot.resetCount}, restart ${boot.restartCount}`, next: 'Attest again on the node with the verifier\'s challenge.' }));
}

type Machine = Pick<NormalizedClaims, 'hardware' | 'tcb' | 'guest' | 'measurements'> & Partial<Pick<NormalizedClaims, 'tpm' | 'boot'>> & { readonly collateral: NonNullable<NormalizedClaims['collateral']>; readonly roots: readonly TrustRoot[]; readonly cloud: Omit<NormalizedClaims['cloud'], 'provider' | 'origin'>; readonly proven: boolean };

function machineOf(node: NodeFacts, now: number): Machine {
  if (node.technology === 'sev') return sevMachine(node, now);
  const { endorsement } = node;
  const endorsed = endorsement === null ? { roots: [], collateral: [] } : { roots: [endorsement.root], collateral: [endorsement.collateral] };
  if (node.technology === 'sev-snp') {
    const { snp } = node;
    return { hardware: snpHardware(snp, now), tcb: snpTcb(snp), guest: snpGuest(snp), measurements: [snpMeasurement(snp)], collateral: [...snp.collateral, ...endorsed.collateral], roots: [snp.root, ...endorsed.roots], cloud: {}, proven: endorsement !== null };
  }
  const { tdx, host, instance, boot } = node;
  const { hardware, tcb, guest, measurements, collateral = [] } = tdxClaims(tdx, now, boot === null ? 'unexplained' : 'replayed');
  return {
    hardware, tcb, guest: { ...guest, secureBoot: boot?.secureBoot ?? null }, measurements, collateral: [...collateral, ...endorsed.collateral], roots: [tdx.pck.root, ...endorsed.roots],
    ...(boot === null ? {} : { boot }), proven: endorsement !== null || host !== null,
    cloud: instance === null ? {} : { ...placeOf(instance.zone), accountOrProject: String(instance.numericalProjectId), instanceId: String(instance.instanceId) },
  };
}

/** COS measures its loader and kernel into 4, GRUB the command line into 8 and files into 9. */
const COVERS: Readonly<Record<number, Measurement['covers']>> = { 0: 'firmware', 1: 'firmware', 2: 'firmware', 3: 'firmware', 4: 'kernel', 5: 'firmware', 6: 'firmware', 7: 'firmware', 8: 'cmdline', 9: 'initrd', 11: 'kernel', 12: 'cmdline', 13: 'rootfs' };

/** Plain SEV: no report of hardware, so nothing is known of debugging, migration or a TCB; appraisal never lets it above a warning. */
function sevMachine({ quote, ak, boot }: SevNode, now: number): Machine {
  const { instance, leaf, root, revocation } = ak;
  return {
    hardware: {
      vendor: 'amd', technology: 'sev', generation: null, signer: { kind: 'ak-cert', leafSerial: leaf.serial, rootSha256: root.certSha256 },
      revocation: { status: revocation, ...(revocation === 'good' ? { checkedAt: now } : {}), ...(ak.crlNumber === null ? {} : { crlNumber: ak.crlNumber }) },
    },
    tcb: { status: 'NotReported' },
    guest: { debug: null, migratable: null, vmpl: null, smt: null, secureBoot: boot.secureBoot },
    measurements: [...quote.pcrs].map(([i, value]): Measurement => ({ register: `vTPM:PCR${i}`, alg: 'sha256', value: hex(value), covers: COVERS[i] ?? 'other', quoted: true })),
    collateral: [], roots: [root], boot, proven: true,
    cloud: { ...placeOf(instance.zone), accountOrProject: String(instance.projectNumber), instanceId: String(instance.instanceId) },
    tpm: {
      bank: quote.bank, pcrDigest: hex(quote.pcrDigest), resetCount: quote.clock.resetCount, restartCount: quote.clock.restartCount, firmwareVersion: quote.firmwareVersion.toString(16),
      ak: { alg: leaf.key.kind === 'RSA' ? 'RS256' : 'ES256', spkiSha256: quote.akSpkiSha256, provenance: ['certificate'], certificate: { serial: leaf.serial, commonName: leaf.commonName, issuer: leaf.issuerText, notAfter: leaf.notAfter } },
    },
  };
}

/** "us-central1-f" is in "us-central1". */
const placeOf = (zone: string): { zone: string; region: string } => ({ zone, region: zone.replace(/-[a-z]$/, '') });

async function toClaims(parts: GkeParts, node: NodeFacts, binding: BindingFields, transcriptDigest: Bytes, trust: TrustContext, freshness: Freshness, checks: readonly Check[]): Promise<NormalizedClaims> {
  const now = Math.floor(trust.now);
  const { roots, cloud, proven, collateral, ...machine } = machineOf(node, now);
  const anchor = roots.every((r) => r.anchor === 'production') ? 'production' : 'development';
  const [publicKeySha256, receivingKeySha256] = await Promise.all([sha256(binding.signingKey), sha256(binding.receivingKey)]);
  return {
    schema: 'https://confidential-cat-counter.dev/claims/v1',
    platform: PLATFORM,
    anchor,
    evidence: await evidenceList(parts),
    ...(collateral.length === 0 ? {} : { collateral }),
    time: { verifiedAt: now, evidenceAt: now, freshness, challengeId: hex(binding.challengeId), nonce: hex(binding.nonce) },
    ...machine,
    workload: { imageDigestSource: 'none', configDigest: hex(binding.configDigest), binding: { scope: 'node' } },
    key: { alg: 'Ed25519', publicKeySha256: hex(publicKeySha256), receivingKeySha256: hex(receivingKeySha256), boundIn: parts.technology === 'sev' ? 'extraData' : 'report_data', transcriptSha256: hex(transcriptDigest) },
    // Under a development root what Google is said to say is only what somebody typed
    cloud: { provider: 'gcp', ...cloud, origin: proven && anchor === 'production' ? 'proven' : 'asserted' },
    checks: allChecks(`${PLATFORM}/${node.technology}`, checks),
  };
}

async function evidenceList(parts: GkeParts): Promise<NormalizedClaims['evidence']> {
  const list: [kind: string, data: Bytes | undefined, role: 'root' | 'bound' | 'corroborating'][] = parts.technology === 'sev-snp' ? [['snp-report', parts.report, 'root']]
    : parts.technology === 'tdx' ? [['tdx-quote', parts.tdQuote, 'root'], ['ccel', parts.ccel, 'bound']]
      : [['ak-certificate', parts.ak[0], 'root'], ['tpm-quote', parts.message, 'bound'], ['event-log', parts.eventLog, 'bound']];
  return Promise.all(list.flatMap(([kind, data, role]) => (data === undefined ? [] : [sha256(data).then((digest) => ({ kind, sha256: hex(digest), bytes: data.length, role }))])));
}

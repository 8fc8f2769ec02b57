/**
 * Azure Confidential VMs (SEV-SNP and TDX below Microsoft's paravisor): evidence in, normalized claims or a refusal out. The chain of
 * statements is in evidence.ts; here are what was expected, the binding and the claims.
 *
 * The binding is in the quote alone: extraData = D32 of the transcript, exactly. Nothing in the evidence has a date: a live verification is as fresh as its
 * challenge, and stored evidence is judged at the time of the verifier, because it cannot say when it was made.
 */
import type { AttestationAdapter, Expectation, TrustContext } from '../../adapter.ts';
import { d32 } from '../../binding.ts';
import { type Bytes, hex, sha256 } from '../../bytes.ts';
import { allChecks } from '../../check-ids.ts';
import { CheckList, checkPlatform } from '../../checks.ts';
import type { Check, Measurement, NormalizedClaims } from '../../claims.ts';
import type { BindingFields, Evidence } from '../../evidence.ts';
import { snpGuest, snpHardware, snpMeasurement, snpTcb } from '../../hardware/snp/claims.ts';
import { tdxClaims } from '../../hardware/tdx/claims.ts';
import { vtpmIndexes } from '../../registers.ts';
import { type AzureParts, parseAzureEvidence } from './container.ts';
import { type AzureFacts, verifyAzureParts } from './evidence.ts';

export const PLATFORM = 'azure-cvm' as const;
const NEXT = 'Attest again inside the VM with the verifier\'s challenge.';

const verify = (evidence: Evidence, expect: Expectation, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, 'challenge');
const verifyReplay = (evidence: Evidence, expect: Omit<Expectation, 'maxAgeSeconds'>, trust: TrustContext): Promise<NormalizedClaims> => judge(evidence, expect, trust, 'none');

export const azureCvm: AttestationAdapter = { platform: PLATFORM, verify, verifyReplay };

type Expected = Omit<Expectation, 'maxAgeSeconds'>;

async function judge(evidence: Evidence, expect: Expected, trust: TrustContext, freshness: 'challenge' | 'none'): Promise<NormalizedClaims> {
  const checks = new CheckList();
  const document = checkPlatform(PLATFORM, 'AZURE', evidence, expect, checks);
  const required = vtpmIndexes(expect.registers ?? []);
  checks.that('AZURE-REQUIRED', 'expect.registers', required.length > 0, () => ({ code: 'POLICY_EMPTY', have: 'no vTPM register expected', need: 'those that the policy compares', next: 'Put the vTPM registers of the released image into the policy.' }));
  const parts = checks.parse('AZURE-CONTAINER', 'evidence', () => parseAzureEvidence(document, 'evidence'));
  if (parts === undefined) checks.refuseIfFailed();
  const binding = await d32(expect.binding);
  const facts = await verifyAzureParts(parts as AzureParts, { extraData: binding, required, tcb: 'require', signature: 'tpmt' }, trust, trust.now, checks);
  if (facts !== undefined) checkBoot(facts, expect, checks);
  checks.refuseIfFailed();
  return toClaims(parts as AzureParts, facts as AzureFacts, expect.binding, binding, trust, freshness, checks.done);
}

function checkBoot({ quote }: AzureFacts, { boot }: Expected, checks: CheckList): void {
  if (boot === undefined) return;
  const { resetCount, restartCount } = quote.clock;
  checks.that('AZURE-BOOT', 'evidence.message.clockInfo', resetCount === boot.resetCount && restartCount === boot.restartCount, () => ({ code: 'REBOOTED', have: `reset ${resetCount}, restart ${restartCount}`, need: `reset ${boot.resetCount}, restart ${boot.restartCount}`, next: NEXT }));
}

/** What boots an Azure image measures into the PCRs of the firmware (0 to 7), of GRUB (8, 9) or of systemd-stub (11 to 13). */
const COVERS: Readonly<Record<number, Measurement['covers']>> = { 0: 'firmware', 1: 'firmware', 2: 'firmware', 3: 'firmware', 4: 'kernel', 5: 'firmware', 6: 'firmware', 7: 'firmware', 8: 'cmdline', 9: 'initrd', 11: 'kernel', 12: 'cmdline', 13: 'rootfs' };

function measurements({ hardware, quote }: AzureFacts, at: number): Measurement[] {
  // A paravisor's RTMRs are zero: what says something of the guest are the PCRs
  const launch = hardware.technology === 'sev-snp' ? [snpMeasurement(hardware.snp)] : tdxClaims(hardware.tdx, at).measurements.filter((m) => m.register === 'MRTD');
  return [...launch, ...[...quote.pcrs].map(([i, value]): Measurement => ({ register: `vTPM:PCR${i}`, alg: 'sha256', value: hex(value), covers: COVERS[i] ?? 'other', quoted: true }))];
}

function hardwareClaims({ hardware }: AzureFacts, at: number): Pick<NormalizedClaims, 'hardware' | 'tcb' | 'guest' | 'collateral' | 'anchor'> {
  if (hardware.technology === 'tdx') {
    const { anchor, hardware: chip, tcb, guest, collateral } = tdxClaims(hardware.tdx, at);
    return { anchor, hardware: chip, tcb, guest, collateral };
  }
  const { snp } = hardware;
  return { anchor: snp.root.anchor, hardware: snpHardware(snp, at), tcb: snpTcb(snp), guest: snpGuest(snp), collateral: snp.collateral };
}

/** Measured by the log and stated by the paravisor: on only where nobody says otherwise. */
function secureBootOf({ boot, hcl }: AzureFacts): boolean | null {
  const said = [boot?.secureBoot ?? null, hcl.runtime.configuration.secureBoot].filter((s) => s !== null);
  return said.length === 0 ? null : said.every(Boolean);
}

async function toClaims(parts: AzureParts, facts: AzureFacts, binding: BindingFields, transcript: Bytes, trust: TrustContext, freshness: 'challenge' | 'none', checks: readonly Check[]): Promise<NormalizedClaims> {
  const { hcl, quote, ak, boot } = facts;
  const { configuration } = hcl.runtime;
  const now = Math.floor(trust.now);
  const { anchor, hardware, tcb, guest, collateral } = hardwareClaims(facts, now);
  const development = anchor === 'development' || ak?.root.anchor === 'development';
  const console = configuration.consoleEnabled === true || configuration.interactiveConsoleEnabled === true;
  const [publicKeySha256, receivingKeySha256] = await Promise.all([sha256(binding.signingKey), sha256(binding.receivingKey)]);
  return {
    schema: 'https://confidential-cat-counter.dev/claims/v1',
    platform: PLATFORM,
    anchor: development ? 'development' : 'production',
    evidence: await evidenceList(parts, facts),
    ...(collateral === undefined || collateral.length === 0 ? {} : { collateral }),
    time: { verifiedAt: now, evidenceAt: now, freshness, challengeId: hex(binding.challengeId), nonce: hex(binding.nonce) },
    hardware, tcb,
    guest: { ...guest, secureBoot: secureBootOf(facts), consoleEnabled: console },
    measurements: measurements(facts, now),
    workload: { imageDigestSource: 'none', configDigest: hex(binding.configDigest), binding: { scope: 'vm' } },
    key: { alg: 'Ed25519', publicKeySha256: hex(publicKeySha256), receivingKeySha256: hex(receivingKeySha256), boundIn: 'extraData', transcriptSha256: hex(transcript) },
    cloud: {
      provider: 'azure', ...(configuration.vmUniqueId === null ? {} : { instanceId: configuration.vmUniqueId.toLowerCase() }),
      // Under a development root the name in the certificate is only what somebody typed
      origin: ak !== null && ak.root.anchor === 'production' ? 'proven' : 'asserted',
    },
    tpm: {
      bank: quote.bank, pcrDigest: hex(quote.pcrDigest), resetCount: quote.clock.resetCount, restartCount: quote.clock.restartCount, firmwareVersion: quote.firmwareVersion.toString(16),
      ak: {
        alg: 'RS256', spkiSha256: quote.akSpkiSha256, provenance: ak === null ? ['hcl'] : ['hcl', 'certificate'],
        ...(ak === null ? {} : { certificate: { serial: ak.serial, commonName: ak.commonName, issuer: ak.issuer, notAfter: ak.notAfter } }),
      },
    },
    ...(boot === null ? {} : { boot }),
    vmConfiguration: configuration,
    checks: allChecks(`${PLATFORM}/${facts.hardware.technology}`, checks),
  };
}

async function evidenceList(parts: AzureParts, { hardware }: AzureFacts): Promise<NormalizedClaims['evidence']> {
  const list: [kind: string, data: Bytes | undefined, role: 'root' | 'bound' | 'corroborating'][] = [
    ['hcl-report', parts.hcl, hardware.technology === 'sev-snp' ? 'root' : 'bound'], ['tdx-quote', parts.tdQuote, 'root'], ['tpm-quote', parts.message, 'bound'], ['ak-certificate', parts.ak?.[0], 'corroborating'], ['event-log', parts.eventLog, 'bound'],
  ];
  return Promise.all(list.flatMap(([kind, data, role]) => (data === undefined ? [] : [sha256(data).then((digest) => ({ kind, sha256: hex(digest), bytes: data.length, role }))])));
}

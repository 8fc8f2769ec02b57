/** The parts of normalized claims that come from an SNP report; adapters put them together with what else they have verified. */
import { hex } from '../../bytes.ts';
import type { Measurement, NormalizedClaims } from '../../claims.ts';
import { hexOf } from '../../formats/snp-report.ts';
import type { SnpFacts } from './verify.ts';

/** @param checkedAt when revocation was judged, epoch seconds */
export function snpHardware(facts: SnpFacts, checkedAt: number): NormalizedClaims['hardware'] {
  const { report, signer, revocation } = facts;
  const number = revocation.crls.find((crl) => crl.number !== null)?.number;
  return {
    vendor: 'amd', technology: 'sev-snp', generation: facts.generation, reportVersion: report.version, chipId: facts.chipId, chipIdMasked: facts.chipIdMasked, platformInfo: hexOf(report.platformInfoBits),
    signer: { kind: signer.kind, leafSerial: signer.leafSerial, rootSha256: facts.root.certSha256, ...(signer.cspId === undefined ? {} : { cspId: signer.cspId }) },
    revocation: { status: revocation.status, ...(revocation.status === 'good' ? { checkedAt } : {}), ...(number === undefined || number === null ? {} : { crlNumber: number }) },
  };
}

/** AMD publishes no status of a TCB: floors are the policy's (appraise-snp.ts). */
export function snpTcb({ report, tcb }: SnpFacts): NormalizedClaims['tcb'] {
  const version = ({ major, minor, build }: { major: number; minor: number; build: number }): string => `${major}.${minor}.${build}`;
  return {
    status: 'NotReported', components: tcb, firmware: { current: version(report.currentVersion), committed: version(report.committedVersion) },
    ...(report.mitigations === null ? {} : { mitigations: { launch: hexOf(report.mitigations.launch), current: hexOf(report.mitigations.current) } }),
  };
}

/** `secureBoot` and the console are for whoever has a vTPM or runtime data. */
export function snpGuest({ report }: SnpFacts): NormalizedClaims['guest'] {
  const { policy, platformInfo } = report;
  return {
    debug: policy.debug, migratable: policy.migrateMa, vmpl: report.vmpl, smt: platformInfo.smtEnabled, secureBoot: null,
    singleSocket: policy.singleSocket, ciphertextHiding: platformInfo.ciphertextHiding, aliasCheck: platformInfo.aliasCheckComplete, abi: { major: policy.abiMajor, minor: policy.abiMinor },
    guestSvn: report.guestSvn, attributes: hexOf(report.policyBits), hostData: hex(report.hostData), idKeyDigest: hex(report.idKeyDigest), authorKeyDigest: hex(report.authorKeyDigest),
  };
}

/** What the firmware measured at launch: the guest's firmware, and a kernel only where that is launched directly. */
export const snpMeasurement = ({ report }: SnpFacts): Measurement => ({ register: 'LAUNCH', alg: 'sha384', value: hex(report.measurement), covers: 'firmware', quoted: true });

export const snpEvidence = ({ sha256, report }: SnpFacts, role: 'root' | 'bound' | 'corroborating'): NormalizedClaims['evidence'][number] => ({ kind: 'snp-report', sha256, bytes: report.bytes.length, role });

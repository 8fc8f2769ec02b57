/**
 * SEV-SNP reports in AMD's format under a development PKI (snp-pki.ts), every field settable: a test changes exactly one thing under a signature that
 * verifies. Isomorphic.
 */
import { type Bytes, bytes, concat } from '../../bytes.ts';
import type { TcbComponents } from '../../claims.ts';
import { encodeTcb } from '../../hardware/snp/generation.ts';
import type { AmdProduct } from '../../trust/purposes.ts';
import { type SigningKey, signRaw } from './keys.ts';

/** See formats/snp-report.ts. Byte strings are written from their offset on, whatever their length. */
export interface SnpReportFields {
  readonly version: number; readonly guestSvn: number; readonly policy: bigint; readonly familyId: Bytes; readonly imageId: Bytes; readonly vmpl: number; readonly signatureAlgo: number;
  readonly currentTcb: Bytes; readonly platformInfo: bigint; readonly signerInfo: number; readonly reportData: Bytes; readonly measurement: Bytes; readonly hostData: Bytes;
  readonly idKeyDigest: Bytes; readonly authorKeyDigest: Bytes; readonly reportId: Bytes; readonly reportIdMa: Bytes; readonly reportedTcb: Bytes;
  /** Family, model, stepping. */
  readonly cpuid: readonly [number, number, number];
  readonly chipId: Bytes; readonly committedTcb: Bytes;
  /** Build, minor, major. */
  readonly currentVersion: readonly [number, number, number]; readonly committedVersion: readonly [number, number, number];
  readonly launchTcb: Bytes; readonly launchMitVector: bigint; readonly currentMitVector: bigint;
  /** Whatever else, by offset, signed too. */
  readonly patches: readonly (readonly [offset: number, value: Bytes])[];
}

/** Security versions of a chip that nothing is wrong with. */
export const SIMULATED_TCB: Readonly<Record<AmdProduct, TcbComponents>> = {
  Milan: { bootloader: 4, tee: 0, snp: 27, microcode: 222 }, Genoa: { bootloader: 10, tee: 0, snp: 27, microcode: 88 }, Turin: { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 71 },
};
const CPUIDS: Readonly<Record<AmdProduct, readonly [number, number, number]>> = { Milan: [0x19, 0x01, 1], Genoa: [0x19, 0x11, 1], Turin: [0x1a, 0x02, 1] };
/** SMT off and not allowed, bit 17, ABI 1.51. */
export const SIMULATED_POLICY = 0x20133n;
/** ECC and TSME on, alias check complete. */
export const SIMULATED_PLATFORM = 0x26n;

export function simulatedChipId(product: AmdProduct, seed = 0x5a): Bytes {
  const id = new Uint8Array(64);
  id.fill(seed, 0, product === 'Turin' ? 8 : 64);
  return id;
}

/** Fields of a report that verifies and that a strict policy accepts. */
export function snpReportFields(product: AmdProduct, kind: 'vcek' | 'vlek' = 'vcek', change: Partial<SnpReportFields> = {}): SnpReportFields {
  const tcb = encodeTcb(SIMULATED_TCB[product], product);
  const filled = (length: number, value: number): Bytes => new Uint8Array(length).fill(value);
  return {
    version: 5, guestSvn: 1, policy: SIMULATED_POLICY, familyId: filled(16, 1), imageId: filled(16, 2), vmpl: 0, signatureAlgo: 1, currentTcb: tcb, platformInfo: SIMULATED_PLATFORM, signerInfo: kind === 'vlek' ? 4 : 0,
    reportData: filled(64, 3), measurement: filled(48, 4), hostData: filled(32, 5), idKeyDigest: filled(48, 6), authorKeyDigest: filled(48, 7), reportId: filled(32, 8), reportIdMa: filled(32, 0xff),
    reportedTcb: tcb, cpuid: CPUIDS[product], chipId: kind === 'vlek' ? new Uint8Array(64) : simulatedChipId(product), committedTcb: tcb, currentVersion: [55, 55, 1], committedVersion: [55, 55, 1], launchTcb: tcb,
    launchMitVector: 0xbn, currentMitVector: 0xbn, patches: [], ...change,
  };
}

/** The report without its signature. */
export function encodeSnpReport(f: SnpReportFields): Bytes {
  const out = new Uint8Array(0x4a0);
  const view = new DataView(out.buffer);
  view.setUint32(0x00, f.version, true);
  view.setUint32(0x04, f.guestSvn, true);
  view.setBigUint64(0x08, f.policy, true);
  view.setUint32(0x30, f.vmpl, true);
  view.setUint32(0x34, f.signatureAlgo, true);
  view.setBigUint64(0x40, f.platformInfo, true);
  view.setUint32(0x48, f.signerInfo, true);
  const parts: (readonly [number, ArrayLike<number>])[] = [
    [0x10, f.familyId], [0x20, f.imageId], [0x38, f.currentTcb], [0x50, f.reportData], [0x90, f.measurement], [0xc0, f.hostData], [0xe0, f.idKeyDigest], [0x110, f.authorKeyDigest], [0x140, f.reportId],
    [0x160, f.reportIdMa], [0x180, f.reportedTcb], [0x1a0, f.chipId], [0x1e0, f.committedTcb], [0x1e8, f.currentVersion], [0x1ec, f.committedVersion], [0x1f0, f.launchTcb],
    ...(f.version >= 3 ? [[0x188, f.cpuid] as const] : []), ...f.patches,
  ];
  if (f.version >= 5) {
    view.setBigUint64(0x1f8, f.launchMitVector, true);
    view.setBigUint64(0x200, f.currentMitVector, true);
  }
  for (const [offset, value] of parts) out.set(value, offset);
  return out;
}

/** Signs the first 0x2a0 bytes; r and s go in little-endian, 72 bytes each. @param raw r ‖ s to write instead */
export async function signSnpReport(report: Bytes, key: SigningKey, raw?: Bytes): Promise<Bytes> {
  const signature = raw ?? await signRaw(key, 'ES384', report.slice(0, 0x2a0));
  const little = (part: Bytes): Bytes => concat(part.toReversed(), bytes(new Uint8Array(24)));
  return concat(report.subarray(0, 0x2a0), little(signature.subarray(0, 48)), little(signature.subarray(48)), report.subarray(0x330));
}

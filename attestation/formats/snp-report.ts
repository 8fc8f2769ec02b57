/**
 * SEV-SNP attestation report (AMD 56860, table "ATTESTATION_REPORT"), versions 2 to 5, 1,184 bytes, little-endian:
 *
 * | offset | bytes | field | |
 * |---|---|---|---|
 * | 0x000 | 4 | version | 2 to 5 |
 * | 0x004 | 4 | guest_svn | |
 * | 0x008 | 8 | policy | {@link GuestPolicy}; bit 17 is one, bits 26 to 63 are zero |
 * | 0x010 | 16, 16 | family_id, image_id | |
 * | 0x030 | 4 | vmpl | 0 to 3; 0xffffffff is a report that the host asked for |
 * | 0x034 | 4 | signature_algo | 1: ECDSA P-384 with SHA-384 |
 * | 0x038 | 8 | current_tcb | layout by generation: hardware/snp/generation.ts (so for the other three) |
 * | 0x040 | 8 | platform_info | {@link PlatformInfo}; unknown bits are kept |
 * | 0x048 | 4 | signer_info | bit 0 author_key_en, 1 mask_chip_key, 2 to 4 signing_key (0 VCEK, 1 VLEK, 7 none), others zero |
 * | 0x04c | 4 | reserved | zero |
 * | 0x050 | 64 | report_data | the guest's |
 * | 0x090 | 48 | measurement | of the launch |
 * | 0x0c0 | 32 | host_data | the host's, at launch |
 * | 0x0e0 | 48, 48 | id_key_digest, author_key_digest | |
 * | 0x140 | 32, 32 | report_id, report_id_ma | |
 * | 0x180 | 8 | reported_tcb | what the signing key is derived from |
 * | 0x188 | 3 | CPUID family, model, stepping | version 3 on; zero before |
 * | 0x18b | 21 | reserved | zero |
 * | 0x1a0 | 64 | chip_id | zero: masked |
 * | 0x1e0 | 8 | committed_tcb | |
 * | 0x1e8 | 3, 1 | current build, minor, major, reserved | zero |
 * | 0x1ec | 3, 1 | committed build, minor, major, reserved | zero |
 * | 0x1f0 | 8 | launch_tcb | |
 * | 0x1f8 | 8, 8 | launch_mit_vector, current_mit_vector | version 5; zero before |
 * | 0x208 | 152 | reserved | zero |
 * | 0x2a0 | 72, 72 | signature r, s | little-endian, the upper 24 bytes zero |
 * | 0x330 | 368 | reserved | zero |
 *
 * Version 1 (2022) is refused: it has no committed and launch TCB, and its layout was never final.
 */
import { type Bytes, concat, hex } from '../bytes.ts';
import { type Reason, Refusal, type RefusalCode, refuse } from '../refusal.ts';

export const SNP_REPORT_LENGTH = 0x4a0;
/** The signature covers the bytes before this. */
const SIGNED_LENGTH = 0x2a0;
const VERSIONS = [2, 3, 4, 5] as const;
const NEXT = 'Send the report exactly as the firmware returned it.';

export type SnpVersion = (typeof VERSIONS)[number];
export type SigningKeyKind = 'vcek' | 'vlek' | 'none';

/** What the guest's owner demanded at launch; the firmware enforces it. */
export interface GuestPolicy {
  /** Least version of the ABI. */
  readonly abiMajor: number; readonly abiMinor: number;
  readonly smt: boolean; readonly migrateMa: boolean; readonly debug: boolean; readonly singleSocket: boolean; readonly cxlAllowed: boolean;
  readonly aes256Xts: boolean; readonly raplDisabled: boolean; readonly ciphertextHiding: boolean; readonly pageSwapDisabled: boolean;
}

/** What the platform is like. */
export interface PlatformInfo {
  readonly smtEnabled: boolean; readonly tsmeEnabled: boolean; readonly eccEnabled: boolean; readonly raplDisabled: boolean; readonly ciphertextHiding: boolean; readonly aliasCheckComplete: boolean;
}

export interface FirmwareVersion { readonly major: number; readonly minor: number; readonly build: number }

export interface SnpReport {
  readonly bytes: Bytes;
  /** What is signed, as received. */
  readonly signed: Bytes;
  readonly version: SnpVersion;
  readonly guestSvn: number;
  readonly policy: GuestPolicy; readonly policyBits: bigint;
  readonly platformInfo: PlatformInfo; readonly platformInfoBits: bigint;
  readonly familyId: Bytes; readonly imageId: Bytes;
  readonly vmpl: number;
  readonly signer: { readonly authorKey: boolean; readonly maskChipKey: boolean; readonly key: SigningKeyKind };
  readonly reportData: Bytes; readonly measurement: Bytes; readonly hostData: Bytes; readonly idKeyDigest: Bytes; readonly authorKeyDigest: Bytes; readonly reportId: Bytes; readonly reportIdMa: Bytes;
  /** Eight bytes each, undecoded. */
  readonly currentTcb: Bytes; readonly reportedTcb: Bytes; readonly committedTcb: Bytes; readonly launchTcb: Bytes;
  /** `null` in version 2. */
  readonly cpuid: { readonly family: number; readonly model: number; readonly stepping: number } | null;
  readonly chipId: Bytes;
  readonly currentVersion: FirmwareVersion; readonly committedVersion: FirmwareVersion;
  /** `null` before version 5. */
  readonly mitigations: { readonly launch: bigint; readonly current: bigint } | null;
  /** r ‖ s, 48 bytes each, big-endian, as WebCrypto takes them; not checked to be in range. */
  readonly signature: Bytes;
}

/** @throws Refusal FMT_SIZE, FMT_VERSION; then every FMT_FIELD and FMT_RESERVED together */
export function parseSnpReport(report: Bytes, path: string): SnpReport {
  if (report.length !== SNP_REPORT_LENGTH) refuse('FMT_SIZE', path, NEXT, { have: `${report.length} bytes`, need: `${SNP_REPORT_LENGTH}` });
  const view = new DataView(report.buffer, report.byteOffset, report.byteLength);
  const at = (offset: number, length: number): Bytes => report.subarray(offset, offset + length);
  const [u32, u64] = [(offset: number) => view.getUint32(offset, true), (offset: number) => view.getBigUint64(offset, true)];

  const version = u32(0);
  if (!VERSIONS.includes(version as SnpVersion)) refuse('FMT_VERSION', `${path}.version`, NEXT, { have: String(version), need: `${VERSIONS[0]} to ${VERSIONS.at(-1)}` });
  const reasons: Reason[] = [];
  const bad = (code: RefusalCode, field: string, have: string, need: string): void => void reasons.push({ code, path: `${path}.${field}`, have, need, next: NEXT });
  const zero = (field: string, offset: number, length: number): void => {
    let end = offset;
    while (end < offset + length && report[end] === 0) end++;
    if (end < offset + length) bad('FMT_RESERVED', field, hex(at(offset, length)), 'zero');
  };

  const policyBits = u64(0x08);
  if (policyBits >> 26n !== 0n) bad('FMT_RESERVED', 'policy', hexOf(policyBits), 'bits 26 to 63 zero');
  if (!bit(policyBits, 17)) bad('FMT_RESERVED', 'policy', hexOf(policyBits), 'bit 17 one');
  const vmpl = u32(0x30);
  if (vmpl > 3) bad('FMT_FIELD', 'vmpl', vmpl === 0xffffffff ? 'a report that the host asked for' : String(vmpl), '0 to 3');
  if (u32(0x34) !== 1) bad('FMT_FIELD', 'signature_algo', String(u32(0x34)), '1: ECDSA P-384 with SHA-384');
  const signerInfo = u32(0x48);
  const key = SIGNING_KEYS[(signerInfo >> 2) & 7];
  if (key === undefined || signerInfo >>> 5 !== 0) bad('FMT_RESERVED', 'signer_info', signerInfo.toString(16), 'signing key 0, 1 or 7, other bits zero');
  zero('reserved_4c', 0x4c, 4);
  if (version < 3) zero('cpuid', 0x188, 3);
  zero('reserved_18b', 0x18b, 21);
  zero('reserved_1eb', 0x1eb, 1);
  zero('reserved_1ef', 0x1ef, 1);
  if (version < 5) zero('mit_vectors', 0x1f8, 16);
  zero('reserved_208', 0x208, 0x98);
  zero('signature.r', 0x2a0 + 48, 24);
  zero('signature.s', 0x2e8 + 48, 24);
  zero('signature.reserved', 0x330, 0x170);
  if (reasons.length > 0) throw new Refusal(reasons);

  const firmware = (offset: number): FirmwareVersion => ({ major: view.getUint8(offset + 2), minor: view.getUint8(offset + 1), build: view.getUint8(offset) });
  const platformInfoBits = u64(0x40);
  return {
    bytes: report, signed: at(0, SIGNED_LENGTH), version: version as SnpVersion, guestSvn: u32(4),
    policy: decodePolicy(policyBits), policyBits, platformInfo: decodePlatformInfo(platformInfoBits), platformInfoBits,
    familyId: at(0x10, 16), imageId: at(0x20, 16), vmpl,
    signer: { authorKey: (signerInfo & 1) === 1, maskChipKey: (signerInfo & 2) === 2, key: key as SigningKeyKind },
    reportData: at(0x50, 64), measurement: at(0x90, 48), hostData: at(0xc0, 32), idKeyDigest: at(0xe0, 48), authorKeyDigest: at(0x110, 48), reportId: at(0x140, 32), reportIdMa: at(0x160, 32),
    currentTcb: at(0x38, 8), reportedTcb: at(0x180, 8), committedTcb: at(0x1e0, 8), launchTcb: at(0x1f0, 8),
    cpuid: version < 3 ? null : { family: view.getUint8(0x188), model: view.getUint8(0x189), stepping: view.getUint8(0x18a) },
    chipId: at(0x1a0, 64), currentVersion: firmware(0x1e8), committedVersion: firmware(0x1ec),
    mitigations: version < 5 ? null : { launch: u64(0x1f8), current: u64(0x200) },
    signature: concat(at(0x2a0, 48).toReversed(), at(0x2e8, 48).toReversed()),
  };
}

/** Size of the header of IGVM request data, which follows the report in Azure's NV area. */
const IGVM_HEADER = 20;

/**
 * The report of a buffer: alone, or with the header of Azure's request data behind it (size, version 1, report type 2, hash type 1 to 3, length of
 * the data; five 32-bit words), as some collectors cut it. @throws Refusal FMT_SIZE, FMT_TRAILING
 */
export function cutSnpReport(buffer: Bytes, path: string): Bytes {
  if (buffer.length !== SNP_REPORT_LENGTH + IGVM_HEADER) return buffer;
  const view = new DataView(buffer.buffer, buffer.byteOffset + SNP_REPORT_LENGTH, IGVM_HEADER);
  const [size, version, type, hash, length] = [0, 4, 8, 12, 16].map((offset) => view.getUint32(offset, true)) as [number, number, number, number, number];
  const known = size === length + IGVM_HEADER && version === 1 && type === 2 && hash >= 1 && hash <= 3;
  if (!known) refuse('FMT_TRAILING', path, NEXT, { have: hex(buffer.subarray(SNP_REPORT_LENGTH)), need: `${SNP_REPORT_LENGTH} bytes, or the header of IGVM request data behind them` });
  return buffer.subarray(0, SNP_REPORT_LENGTH);
}

const SIGNING_KEYS: readonly (SigningKeyKind | undefined)[] = ['vcek', 'vlek', undefined, undefined, undefined, undefined, undefined, 'none'];

const bit = (bits: bigint, position: number): boolean => ((bits >> BigInt(position)) & 1n) === 1n;
/** Sixteen digits. */
export const hexOf = (bits: bigint): string => bits.toString(16).padStart(16, '0');

export const decodePolicy = (bits: bigint): GuestPolicy => ({
  abiMinor: Number(bits & 0xffn), abiMajor: Number((bits >> 8n) & 0xffn), smt: bit(bits, 16), migrateMa: bit(bits, 18), debug: bit(bits, 19), singleSocket: bit(bits, 20), cxlAllowed: bit(bits, 21),
  aes256Xts: bit(bits, 22), raplDisabled: bit(bits, 23), ciphertextHiding: bit(bits, 24), pageSwapDisabled: bit(bits, 25),
});

export const decodePlatformInfo = (bits: bigint): PlatformInfo => ({
  smtEnabled: bit(bits, 0), tsmeEnabled: bit(bits, 1), eccEnabled: bit(bits, 2), raplDisabled: bit(bits, 3), ciphertextHiding: bit(bits, 4), aliasCheckComplete: bit(bits, 5),
});

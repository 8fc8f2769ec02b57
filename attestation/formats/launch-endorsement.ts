/**
 * What Google says of the firmware of its confidential VMs (gce-tcb-verifier, proto/endorsement.proto), as protobuf:
 *
 *   VMLaunchEndorsement  1 serialized_uefi_golden (what is signed, as received) · 2 signature, RSASSA-PSS with SHA-256
 *   VMGoldenMeasurement  1 timestamp {1 seconds, 2 nanos} · 2 cl_spec · 3 commit · 4 cert (DER, signs this) · 5 digest, SHA-384 of the UEFI ·
 *                        6 ca_bundle (PEM, root first) · 7 sev_snp · 8 tdx
 *   VMSevSnp             1 svn · 2 measurements {1 vCPUs, 2 MEASUREMENT} · 3 family_id (16) · 4 image_id (16) · 5 policy · 6 ca_bundle · 7 svsm_measurement
 *   VMTdx                1 svn · 2 measurements {1 ram_gib, 2 early_accept, 3 MRTD}
 *
 * The SNP policy is not handed out: Google's value allows a migration agent, which the guests' own policies do not. The outer message is closed;
 * inside of what is signed, fields of a newer version are passed over.
 */
import { type Bytes, hex, text } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { readPem } from './pem.ts';
import { type Fields, type Message, readMessage } from './protobuf.ts';

export interface SnpRow { readonly vcpus: number; readonly measurement: Bytes }
export interface TdxRow { readonly ramGib: number; readonly earlyAccept: boolean; readonly measurement: Bytes }
export interface LaunchEndorsement {
  /** What is signed, as received. */
  readonly golden: Bytes;
  readonly signature: Bytes;
  /** Epoch seconds. */
  readonly timestamp: number;
  readonly clSpec: bigint;
  /** Hex; empty where it says none. */
  readonly commit: string;
  /** DER. */
  readonly cert: Bytes;
  /** DER, in their order; a bundle may be absent. */
  readonly caBundle: readonly Bytes[];
  /** SHA-384. */
  readonly digest: Bytes;
  readonly snp: { readonly svn: number; readonly familyId: Bytes; readonly imageId: Bytes; readonly rows: readonly SnpRow[] } | null;
  readonly tdx: { readonly svn: number; readonly rows: readonly TdxRow[] } | null;
}

const MAX_SIZE = 64 * 1024;
const NEXT = 'Fetch the endorsement again from Google, and keep it byte for byte.';
const ENDORSEMENT: Fields = { 1: { name: 'serialized_uefi_golden', kind: 'bytes' }, 2: { name: 'signature', kind: 'bytes' } };
const TIMESTAMP: Fields = { 1: { name: 'seconds', kind: 'varint' }, 2: { name: 'nanos', kind: 'varint' } };
const GOLDEN: Fields = {
  1: { name: 'timestamp', kind: 'bytes' }, 2: { name: 'cl_spec', kind: 'varint' }, 3: { name: 'commit', kind: 'bytes' }, 4: { name: 'cert', kind: 'bytes' },
  5: { name: 'digest', kind: 'bytes' }, 6: { name: 'ca_bundle', kind: 'bytes' }, 7: { name: 'sev_snp', kind: 'bytes' }, 8: { name: 'tdx', kind: 'bytes' },
};
const SEV_SNP: Fields = {
  1: { name: 'svn', kind: 'varint' }, 2: { name: 'measurements', kind: 'bytes', repeated: true }, 3: { name: 'family_id', kind: 'bytes' }, 4: { name: 'image_id', kind: 'bytes' },
  5: { name: 'policy', kind: 'varint' }, 6: { name: 'ca_bundle', kind: 'bytes' }, 7: { name: 'svsm_measurement', kind: 'bytes' },
};
const SNP_ROW: Fields = { 1: { name: 'vcpus', kind: 'varint' }, 2: { name: 'measurement', kind: 'bytes' } };
const TDX: Fields = { 1: { name: 'svn', kind: 'varint' }, 2: { name: 'measurements', kind: 'bytes', repeated: true } };
const TDX_ROW: Fields = { 1: { name: 'ram_gib', kind: 'varint' }, 2: { name: 'early_accept', kind: 'varint' }, 3: { name: 'mrtd', kind: 'bytes' } };

/** @throws Refusal ENDORSEMENT_FORMAT, FMT_PEM */
export function parseLaunchEndorsement(data: Bytes, path: string): LaunchEndorsement {
  if (data.length > MAX_SIZE) refuse('ENDORSEMENT_FORMAT', path, NEXT, { have: `${data.length} bytes`, need: `at most ${MAX_SIZE}` });
  const outer = readMessage(data, ENDORSEMENT, { path, code: 'ENDORSEMENT_FORMAT', next: NEXT, unknown: 'refuse', maxFields: 2 });
  const golden = present(outer, 'serialized_uefi_golden', path);
  const signature = present(outer, 'signature', path);
  const at = `${path}.golden`;
  const message = read(golden, GOLDEN, at);
  const time = read(present(message, 'timestamp', at), TIMESTAMP, `${at}.timestamp`);
  const timestamp = time.varint('seconds');
  if (timestamp === 0n || timestamp > 0xffff_ffff_ffn || time.varint('nanos') > 999_999_999n) refuse('ENDORSEMENT_FORMAT', `${at}.timestamp`, NEXT, { have: `${timestamp} s`, need: 'a time after 1970' });
  const bundle = message.bytes('ca_bundle');
  const [snp, tdx] = [message.bytes('sev_snp'), message.bytes('tdx')];
  return {
    golden, signature, timestamp: Number(timestamp), clSpec: message.varint('cl_spec'), commit: hex(message.bytes('commit') ?? new Uint8Array(0)), cert: present(message, 'cert', at),
    caBundle: bundle === undefined || bundle.length === 0 ? [] : readPem(latin(bundle, `${at}.ca_bundle`), 'CERTIFICATE', `${at}.ca_bundle`, 4),
    digest: sized(message, 'digest', 48, at), snp: snp === undefined ? null : readSnp(snp, `${at}.sev_snp`), tdx: tdx === undefined ? null : readTdx(tdx, `${at}.tdx`),
  };
}

const read = (data: Bytes, fields: Fields, path: string): Message => readMessage(data, fields, { path, code: 'ENDORSEMENT_FORMAT', next: NEXT, unknown: 'skip', maxFields: 1024 });
const present = (message: Message, name: string, path: string): Bytes => message.bytes(name) ?? refuse('ENDORSEMENT_FORMAT', `${path}.${name}`, NEXT, { have: 'nothing' });

function sized(message: Message, name: string, length: number, path: string): Bytes {
  const value = present(message, name, path);
  return value.length === length ? value : refuse('ENDORSEMENT_FORMAT', `${path}.${name}`, NEXT, { have: `${value.length} bytes`, need: `${length}` });
}

function u32(message: Message, name: string, path: string): number {
  const value = message.varint(name);
  return value <= 0xffff_ffffn ? Number(value) : refuse('ENDORSEMENT_FORMAT', `${path}.${name}`, NEXT, { have: String(value), need: '32 bits' });
}

function latin(data: Bytes, path: string): string {
  try {
    return text(data);
  } catch {
    return refuse('ENDORSEMENT_FORMAT', path, NEXT, { have: 'bytes that are not text', need: 'PEM' });
  }
}

function readSnp(data: Bytes, path: string): NonNullable<LaunchEndorsement['snp']> {
  const message = read(data, SEV_SNP, path);
  const rows = message.all('measurements').map((row, i): SnpRow => {
    const at = `${path}.measurements[${i}]`;
    const entry = read(row, SNP_ROW, at);
    const vcpus = u32(entry, 'vcpus', at);
    // A row that names no size would fit every machine
    return vcpus === 0 ? refuse('ENDORSEMENT_FORMAT', `${at}.vcpus`, NEXT, { have: '0', need: 'at least 1' }) : { vcpus, measurement: sized(entry, 'measurement', 48, at) };
  });
  if (new Set(rows.map((r) => r.vcpus)).size !== rows.length) refuse('ENDORSEMENT_FORMAT', `${path}.measurements`, NEXT, { have: 'a number of vCPUs twice', need: 'once' });
  return { svn: u32(message, 'svn', path), familyId: sized(message, 'family_id', 16, path), imageId: sized(message, 'image_id', 16, path), rows };
}

function readTdx(data: Bytes, path: string): NonNullable<LaunchEndorsement['tdx']> {
  const message = read(data, TDX, path);
  const rows = message.all('measurements').map((row, i): TdxRow => {
    const at = `${path}.measurements[${i}]`;
    const entry = read(row, TDX_ROW, at);
    const early = entry.varint('early_accept');
    if (early > 1n) refuse('ENDORSEMENT_FORMAT', `${at}.early_accept`, NEXT, { have: String(early), need: '0 or 1' });
    return { ramGib: u32(entry, 'ram_gib', at), earlyAccept: early === 1n, measurement: sized(entry, 'mrtd', 48, at) };
  });
  return { svn: u32(message, 'svn', path), rows };
}

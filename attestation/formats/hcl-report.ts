/**
 * Azure's host compatibility layer (HCL) report, NV index 0x01400001 of a Confidential VM's vTPM, little endian:
 *
 *   | offset | bytes | field                                                                        |
 *   |--------|-------|------------------------------------------------------------------------------|
 *   | 0      | 4     | "HCLA"                                                                       |
 *   | 4      | 4     | version: 1, 2                                                                |
 *   | 8      | 4     | report size: 1236 + length of the runtime data                               |
 *   | 12     | 4     | request type: 2                                                              |
 *   | 16     | 16    | status and reserved: zeros                                                   |
 *   | 32     | 1184  | hardware report: an SNP report, or a TDREPORT (1024) and zeros               |
 *   | 1216   | 4     | size: 20 + length of the runtime data                                        |
 *   | 1220   | 4     | version: 1                                                                   |
 *   | 1224   | 4     | report type: 2 SNP, 4 TDX                                                    |
 *   | 1228   | 4     | hash type: 1 SHA-256                                                         |
 *   | 1232   | 4     | length of the runtime data                                                   |
 *   | 1236   | n     | runtime data, JSON; what follows in the NV area is zeros                     |
 *
 * The first half of the report's report_data is the SHA-256 of the runtime data, byte for byte; the second half is zero. The runtime data:
 *
 *   keys               JWKs (RSA 2048, e 65537): HCLAkPub signs the vTPM's quotes, HCLEkPub decrypts; each kid once. Reports of early 2023 have HCLAkPub
 *                      alone, with key_ops ["encrypt"]
 *   vm-configuration   console-enabled, secure-boot, tpm-enabled, tpm-persisted, interactive-console-enabled, root-cert-thumbprint, vmUniqueId, ...
 *   user-data          64 bytes in hex, of either case
 */
import { type Bytes, bytes, fromB64u, fromHex, sha256 } from '../bytes.ts';
import { printable, refuse } from '../refusal.ts';
import { ByteReader } from './byte-reader.ts';
import { readDer } from './der.ts';
import { readJsonObject } from './json-span.ts';
import { readPublicKey, type Verifier } from './signature.ts';
import { rsaSpki } from './spki.ts';

export type HclReportType = 'snp' | 'tdx';

export interface VmConfiguration {
  /** `null`: not stated. */
  readonly secureBoot: boolean | null;
  readonly tpmEnabled: boolean | null;
  readonly tpmPersisted: boolean | null;
  readonly consoleEnabled: boolean | null;
  readonly interactiveConsoleEnabled: boolean | null;
  readonly rootCertThumbprint: string | null;
  readonly vmUniqueId: string | null;
}

export interface HclReport {
  readonly version: number;
  readonly type: HclReportType;
  /** 1184 bytes: the SNP report, or a TDREPORT and zeros. */
  readonly hardwareReport: Bytes;
  /** report_data of the hardware report. */
  readonly reportData: Bytes;
  /** As hashed. */
  readonly runtimeData: Bytes;
}

export interface RuntimeData {
  readonly ak: Verifier;
  /** `null` in reports of early 2023. */
  readonly ek: Verifier | null;
  readonly configuration: VmConfiguration;
  /** 64 bytes, or `null` where the field is absent. */
  readonly userData: Bytes | null;
}

export const HCL_HEADER = 32;
export const HCL_HARDWARE_REPORT = 1184;
export const HCL_REQUEST = 20;
const MAX_SIZE = 4096;
const MAX_RUNTIME = 2600;
const TYPES: Readonly<Record<number, HclReportType>> = { 2: 'snp', 4: 'tdx' };
/** Offset of report_data. */
const REPORT_DATA: Readonly<Record<HclReportType, number>> = { snp: 0x50, tdx: 128 };
const TDREPORT = 1024;
const NEXT = 'Send the NV index 0x01400001 of the vTPM exactly as it reads.';

/** @throws Refusal HCL_FORMAT, HCL_REPORT_TYPE */
export function parseHclReport(data: Bytes, path: string): HclReport {
  const r = new ByteReader(data, { path, code: 'HCL_FORMAT', next: NEXT, endian: 'little' });
  if (data.length > MAX_SIZE) r.fail('', `${data.length} bytes`, `at most ${MAX_SIZE}`);
  r.expect('signature', r.u32('signature'), 0x414c4348);
  const version = r.u32('version');
  r.expect('version', version, 1, 2);
  const size = r.u32('reportSize');
  r.expect('requestType', r.u32('requestType'), 2);
  if (r.take(16, 'reserved').some((b) => b !== 0)) r.fail('reserved', 'bits that are not zero', 'zeros');
  const hardwareReport = r.take(HCL_HARDWARE_REPORT, 'hardwareReport');
  const requestSize = r.u32('request.size');
  r.expect('request.version', r.u32('request.version'), 1);
  const typeNumber = r.u32('request.reportType');
  const type = TYPES[typeNumber];
  if (type === undefined) return refuse('HCL_REPORT_TYPE', `${path}.request.reportType`, NEXT, { have: String(typeNumber), need: '2 (SNP) or 4 (TDX)' });
  r.expect('request.hashType', r.u32('request.hashType'), 1);
  const length = r.u32('request.runtimeDataSize');
  if (length === 0 || length > MAX_RUNTIME) r.fail('request.runtimeDataSize', String(length), `1 to ${MAX_RUNTIME}`);
  if (requestSize !== HCL_REQUEST + length || size !== HCL_HEADER + HCL_HARDWARE_REPORT + requestSize) r.fail('reportSize', `${size} and ${requestSize} for ${length} bytes of runtime data`, 'sizes that add up');
  const runtimeData = r.take(length, 'runtimeData');
  if (r.take(r.left, 'padding').some((b) => b !== 0)) r.fail('padding', 'bytes behind the runtime data', 'zeros');
  checkKind(hardwareReport, type, path);
  return { version, type, hardwareReport, reportData: hardwareReport.slice(REPORT_DATA[type], REPORT_DATA[type] + 64), runtimeData };
}

/** A report of the other kind must not be read at this one's offsets: a TDREPORT begins with type 0x81, an SNP report with a small version. */
function checkKind(report: Bytes, type: HclReportType, path: string): void {
  const first = new DataView(report.buffer, report.byteOffset).getUint32(0, true);
  const isTdx = (first & 0xff) === 0x81 && report.subarray(TDREPORT).every((b) => b === 0);
  const isSnp = first >= 1 && first <= 16;
  if (type === 'tdx' ? !isTdx : !isSnp) {
    refuse('HCL_REPORT_TYPE', `${path}.hardwareReport`, NEXT, { have: `a report that begins with ${first.toString(16)}`, need: type === 'snp' ? 'an SNP report, as the request says' : 'a TDREPORT, as the request says' });
  }
}

/** report_data[0..32] = SHA-256(runtime data), report_data[32..64] = 0. */
export async function expectedReportData(runtimeData: Bytes): Promise<Bytes> {
  const out = new Uint8Array(64);
  out.set(await sha256(runtimeData));
  return out;
}

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws Refusal HCL_FORMAT, HCL_KEY, CHAIN_ALGORITHM */
export function parseRuntimeData(data: Bytes, path: string): RuntimeData {
  const members = readJsonObject(data, path, { maxBytes: MAX_RUNTIME, maxDepth: 4, code: 'HCL_FORMAT', next: NEXT });
  const keys = members.get('keys')?.value;
  const configuration = members.get('vm-configuration')?.value;
  if (!Array.isArray(keys) || keys.length > 8 || !isObject(configuration)) return refuse('HCL_FORMAT', path, NEXT, { have: [...members.keys()].map((k) => printable(k, 32)).join(', '), need: 'keys (a list) and vm-configuration (an object)' });
  const ak = readKey(keys, 'HCLAkPub', path);
  if (ak === null) return refuse('HCL_KEY', `${path}.keys`, NEXT, { have: 'no HCLAkPub', need: 'one' });
  return { ak, ek: readKey(keys, 'HCLEkPub', path), configuration: readConfiguration(configuration, path), userData: readUserData(members.get('user-data')?.value, path) };
}

/** The one key of this name. */
function readKey(keys: readonly unknown[], kid: string, path: string): Verifier | null {
  const found = keys.filter((k): k is Json => isObject(k) && k['kid'] === kid);
  const [jwk] = found;
  if (jwk === undefined) return null;
  const at = `${path}.keys.${kid}`;
  if (found.length > 1) refuse('HCL_KEY', at, NEXT, { have: `${found.length} keys of this name`, need: 'one' });
  const { kty, e, n } = jwk;
  let modulus: Bytes | undefined;
  try {
    modulus = typeof n === 'string' ? fromB64u(n) : undefined;
  } catch { /* said below */ }
  if (kty !== 'RSA' || e !== 'AQAB' || modulus === undefined || modulus.length < 256 || (modulus[0] as number) < 0x80) return refuse('HCL_KEY', at, NEXT, { have: `kty ${printable(String(kty), 16)}, e ${printable(String(e), 16)}, n of ${modulus?.length ?? 'no'} bytes`, need: 'an RSA key of 2048 bits or more, e 65537' });
  const spki = rsaSpki(modulus, 65537);
  return { spki, key: readPublicKey(readDer(spki, at), at) };
}

function readConfiguration(value: Json, path: string): VmConfiguration {
  const pick = <T>(name: string, type: 'boolean' | 'string'): T | null => {
    const found = value[name];
    if (found !== undefined && typeof found !== type) refuse('HCL_FORMAT', `${path}.vm-configuration.${name}`, NEXT, { have: typeof found, need: type });
    return (found ?? null) as T | null;
  };
  const flag = (name: string): boolean | null => pick<boolean>(name, 'boolean');
  const word = (name: string): string | null => pick<string>(name, 'string');
  return {
    secureBoot: flag('secure-boot'), tpmEnabled: flag('tpm-enabled'), tpmPersisted: flag('tpm-persisted'), consoleEnabled: flag('console-enabled'),
    interactiveConsoleEnabled: flag('interactive-console-enabled'), rootCertThumbprint: word('root-cert-thumbprint'), vmUniqueId: word('vmUniqueId'),
  };
}

/** Upper case on SNP, lower case on TDX: the bytes count. */
function readUserData(value: unknown, path: string): Bytes | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' || !/^(?:[0-9a-fA-F]{2}){64}$/.test(value)) return refuse('HCL_FORMAT', `${path}.user-data`, NEXT, { have: typeof value === 'string' ? `text of ${value.length} characters` : typeof value, need: '64 bytes in hex' });
  return bytes(fromHex(value.toLowerCase()));
}

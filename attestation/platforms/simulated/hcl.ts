/** Builds HCL reports: the writing side of formats/hcl-report.ts, every field settable. Isomorphic. */
import { type Bytes, concat, hex, utf8 } from '../../bytes.ts';
import { HCL_HARDWARE_REPORT, type HclReportType } from '../../formats/hcl-report.ts';
import { u32le } from './binary.ts';
import type { SigningKey } from './keys.ts';
import { publicJwk } from './tpm.ts';

export interface RuntimeFields {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
  readonly 'vm-configuration': Readonly<Record<string, unknown>>;
  readonly 'user-data': string;
}

/** Runtime data as Azure writes it: no white space, in this order. */
export async function runtimeFields(ak: SigningKey, ek: SigningKey, type: HclReportType, change: Partial<RuntimeFields> = {}): Promise<RuntimeFields> {
  const jwk = async (kid: string, key: SigningKey, operation: string) => ({ kid, key_ops: [operation], kty: 'RSA', e: 'AQAB', n: (await publicJwk(key)).n });
  return {
    keys: [await jwk('HCLAkPub', ak, 'sign'), await jwk('HCLEkPub', ek, 'encrypt')],
    'vm-configuration': { 'console-enabled': false, 'root-cert-thumbprint': '', 'secure-boot': true, 'tpm-enabled': true, 'tpm-persisted': true, vmUniqueId: '26F8BC30-774E-4290-8E7A-535F3B672AEE' },
    // Upper case on SNP, lower case on TDX
    'user-data': type === 'snp' ? hex(new Uint8Array(64).fill(0xab)).toUpperCase() : hex(new Uint8Array(64).fill(0xab)),
    ...change,
  };
}

export const runtimeBytes = (fields: RuntimeFields | Readonly<Record<string, unknown>>): Bytes => utf8(JSON.stringify(fields));

export interface HclFields {
  readonly signature: Bytes;
  readonly version: number;
  readonly reportSize: number;
  readonly requestType: number;
  readonly reserved: Bytes;
  readonly hardwareReport: Bytes;
  readonly requestSize: number;
  readonly requestVersion: number;
  readonly reportType: number;
  readonly hashType: number;
  readonly runtimeSize: number;
  readonly runtimeData: Bytes;
  readonly area: number;
  readonly padding: number;
}

/** @param hardwareReport 1184 bytes, or a TDREPORT of 1024 */
export function buildHcl(type: HclReportType, hardwareReport: Bytes, runtimeData: Bytes, change: Partial<HclFields> = {}): Bytes {
  const f: HclFields = {
    signature: utf8('HCLA'), version: type === 'snp' ? 1 : 2, reportSize: 1236 + runtimeData.length, requestType: 2, reserved: new Uint8Array(16),
    hardwareReport: concat(hardwareReport, new Uint8Array(HCL_HARDWARE_REPORT - hardwareReport.length)), requestSize: 20 + runtimeData.length, requestVersion: 1, reportType: type === 'snp' ? 2 : 4, hashType: 1,
    runtimeSize: runtimeData.length, runtimeData, area: 2600, padding: 0, ...change,
  };
  const body = concat(f.signature, u32le(f.version), u32le(f.reportSize), u32le(f.requestType), f.reserved, f.hardwareReport, u32le(f.requestSize), u32le(f.requestVersion), u32le(f.reportType), u32le(f.hashType), u32le(f.runtimeSize), f.runtimeData);
  return concat(body, new Uint8Array(Math.max(0, f.area - body.length)).fill(f.padding));
}

/** A TDREPORT (REPORTMACSTRUCT, TEE_TCB_INFO, TDINFO) that holds this report_data; nobody outside a machine can verify its MAC. */
export function buildTdReport(reportData: Bytes): Bytes {
  const out = new Uint8Array(1024);
  out[0] = 0x81;
  out.set(reportData, 128);
  return out;
}

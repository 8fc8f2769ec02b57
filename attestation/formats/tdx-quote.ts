/**
 * DCAP quotes (Intel TDX DCAP Quoting Library API, appendix A; for SGX: Intel SGX ECDSA QuoteLibReference, appendix A), little endian:
 *
 *   | header 48 | version 2 (SGX: 3; TDX: 4, 5) · attestation key type 2 (2: ECDSA P-256) · TEE type 4 (TDX: 0x81, SGX: 0) · reserved 4 ·
 *   |           | QE vendor 16 · user data 20; a version 3 has the SVNs of QE and PCE in place of the reserved bytes
 *   | body      | version 3: SGX report 384 · version 4: TD 1.0 584 · version 5: type 2, size 4, then type 2: TD 1.0 584, type 3: TD 1.5 648
 *   | length 4  | of what follows
 *   | signature | 64, of header and body · attestation key 64 (x ‖ y) · versions 4 and 5: type 2 = 6, size 4 · QE report 384 · its signature 64 ·
 *   |           | auth data length 2, auth data · type 2 = 5, size 4, PEM chain of the PCK, maybe with NULs behind
 *
 * Every inner length fills its outer one exactly. Bytes behind the quote are no part of it: kernels hand out quotes in fixed buffers, so
 * zeros are accepted by default and counted; nothing behind the quote is ever read.
 *
 *   TD body: |   0 TEE_TCB_SVN 16 |  16 MRSEAM 48 |  64 MRSIGNERSEAM 48 | 112 SEAMATTRIBUTES 8 | 120 TDATTRIBUTES 8 | 128 XFAM 8 | 136 MRTD 48
 *            | 184 MRCONFIGID 48  | 232 MROWNER 48 | 280 MROWNERCONFIG 48 | 328 RTMR0..3 48 each | 520 REPORTDATA 64 | TD 1.5: 584 TEE_TCB_SVN_2 16, 600 MRSERVICETD 48
 */
import { type Bytes, hex } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { ByteReader } from './byte-reader.ts';
import { parseSgxReport, SGX_REPORT_SIZE, type SgxReport } from './sgx-report.ts';

export interface TdBody {
  readonly kind: 'td-1.0' | 'td-1.5';
  /** Security versions when the TD was started: [0] of the module, [1] its major version, [2] microcode. */
  readonly teeTcbSvn: Bytes;
  readonly mrSeam: Bytes;
  readonly mrSignerSeam: Bytes;
  readonly seamAttributes: Bytes;
  readonly tdAttributes: Bytes;
  readonly xfam: Bytes;
  readonly mrTd: Bytes;
  readonly mrConfigId: Bytes;
  readonly mrOwner: Bytes;
  readonly mrOwnerConfig: Bytes;
  readonly rtmrs: readonly Bytes[];
  readonly reportData: Bytes;
  /** TD 1.5: security versions when the quote was made. */
  readonly teeTcbSvn2?: Bytes;
  /** TD 1.5: hash of the migration TD, zero without one. */
  readonly mrServiceTd?: Bytes;
}

interface Signed {
  /** The quote without what is behind it. */
  readonly bytes: Bytes;
  /** Header and body: what the attestation key signed. */
  readonly signed: Bytes;
  readonly userData: Bytes;
  readonly signature: Bytes;
  /** x ‖ y on P-256. */
  readonly attestationKey: Bytes;
  readonly qeReport: SgxReport;
  readonly qeSignature: Bytes;
  readonly authData: Bytes;
  /** PEM: PCK certificate, its CA, the root. */
  readonly pckChain: Bytes;
  /** How many bytes were behind the quote. */
  readonly trailing: number;
}
export interface TdxQuote extends Signed { readonly version: 4 | 5; readonly body: TdBody }
export interface SgxQuote extends Signed { readonly version: 3; readonly report: SgxReport }

/** What may be behind the quote: nothing, zeros, anything. */
export type Trailing = 'none' | 'zeros' | 'any';

const HEADER = 48;
const TD10 = 584;
const TD15 = 648;
/** Above the largest buffer of a kernel (16 KiB). */
const MAX_SIZE = 65_536;
const MAX_AUTH_DATA = 1024;
const MAX_CHAIN = 16_384;
const KEY_P256 = 2;
const TEE_TDX = 0x81;
const CERT_QE_REPORT = 6;
const CERT_PCK_CHAIN = 5;
const INTEL = '939a7233f79c4ca9940a0db3957f0607';
const NEXT = 'Send the quote exactly as the quoting service made it.';

/** @throws Refusal FMT_SIZE, FMT_VERSION, FMT_RESERVED, FMT_FIELD, FMT_LENGTH, FMT_TRAILING */
export function parseTdxQuote(data: Bytes, path: string, trailing: Trailing = 'zeros'): TdxQuote {
  const { version, header, reader } = readHeader(data, path, [4, 5], TEE_TDX);
  if (header.subarray(8, 12).some((b) => b !== 0)) refuse('FMT_RESERVED', `${path}.header.reserved`, NEXT, { have: hex(header.subarray(8, 12)), need: 'zeros' });
  let size = TD10;
  if (version === 5) {
    const type = reader.u16('body.type');
    if (type !== 2 && type !== 3) refuse('FMT_VERSION', `${path}.body.type`, NEXT, { have: String(type), need: '2 (TD 1.0) or 3 (TD 1.5)' });
    size = type === 2 ? TD10 : TD15;
    const declared = reader.u32('body.size');
    if (declared !== size) refuse('FMT_LENGTH', `${path}.body.size`, NEXT, { have: String(declared), need: String(size) });
  }
  const body = parseTdBody(reader.take(size, 'body'));
  return { version: version as 4 | 5, body, ...readSigned(data, header, reader, path, trailing, 'nested') };
}

/** @throws Refusal as {@link parseTdxQuote} */
export function parseSgxQuote(data: Bytes, path: string, trailing: Trailing = 'zeros'): SgxQuote {
  const { header, reader } = readHeader(data, path, [3], 0);
  const report = parseSgxReport(reader.take(SGX_REPORT_SIZE, 'body'), `${path}.body`);
  return { version: 3, report, ...readSigned(data, header, reader, path, trailing, 'flat') };
}

const readerOf = (data: Bytes, path: string): ByteReader => new ByteReader(data, { path, code: 'FMT_LENGTH', next: NEXT, endian: 'little' });

function readHeader(data: Bytes, path: string, versions: readonly number[], tee: number): { version: number; header: Bytes; reader: ByteReader } {
  if (data.length > MAX_SIZE) refuse('FMT_SIZE', path, NEXT, { have: `${data.length} bytes`, need: `at most ${MAX_SIZE}` });
  const reader = readerOf(data, path);
  const header = reader.take(HEADER, 'header');
  const view = new DataView(header.buffer, header.byteOffset, HEADER);
  const expect = (field: string, have: string, need: readonly string[]): void => {
    if (!need.includes(have)) refuse('FMT_VERSION', `${path}.header.${field}`, NEXT, { have, need: need.join(' or ') });
  };
  const version = view.getUint16(0, true);
  expect('version', String(version), versions.map(String));
  expect('attestationKeyType', String(view.getUint16(2, true)), [String(KEY_P256)]);
  expect('teeType', `0x${view.getUint32(4, true).toString(16)}`, [`0x${tee.toString(16)}`]);
  expect('qeVendor', hex(header.subarray(12, 28)), [INTEL]);
  return { version, header, reader };
}

function parseTdBody(raw: Bytes): TdBody {
  const at = (offset: number, length: number): Bytes => raw.subarray(offset, offset + length);
  return {
    kind: raw.length === TD15 ? 'td-1.5' : 'td-1.0',
    teeTcbSvn: at(0, 16), mrSeam: at(16, 48), mrSignerSeam: at(64, 48), seamAttributes: at(112, 8), tdAttributes: at(120, 8), xfam: at(128, 8), mrTd: at(136, 48), mrConfigId: at(184, 48), mrOwner: at(232, 48),
    mrOwnerConfig: at(280, 48), rtmrs: [0, 1, 2, 3].map((i) => at(328 + 48 * i, 48)), reportData: at(520, 64),
    ...(raw.length === TD15 ? { teeTcbSvn2: at(584, 16), mrServiceTd: at(600, 48) } : {}),
  };
}

function readSigned(data: Bytes, header: Bytes, reader: ByteReader, path: string, trailing: Trailing, form: 'nested' | 'flat'): Signed {
  const signed = data.subarray(0, reader.at);
  const outer = readerOf(reader.take(reader.u32('signatureData.length'), 'signatureData'), path);
  const end = reader.at;
  const signature = outer.take(64, 'signature');
  const attestationKey = outer.take(64, 'attestationKey');
  const type = (r: ByteReader, field: string, need: number): void => {
    const have = r.u16(field);
    if (have !== need) refuse('FMT_FIELD', `${path}.${field}`, NEXT, { have: String(have), need: String(need) });
  };
  let inner = outer;
  if (form === 'nested') {
    type(outer, 'certificationData.type', CERT_QE_REPORT);
    inner = readerOf(outer.take(outer.u32('certificationData.size'), 'certificationData'), path);
    outer.end('certificationData.size');
  }
  const qeReport = parseSgxReport(inner.take(SGX_REPORT_SIZE, 'qeReport'), `${path}.qeReport`);
  const qeSignature = inner.take(64, 'qeSignature');
  const authData = inner.sized16('authData', MAX_AUTH_DATA);
  type(inner, 'pckChain.type', CERT_PCK_CHAIN);
  const size = inner.u32('pckChain.size');
  if (size > MAX_CHAIN) inner.fail('pckChain.size', String(size), `at most ${MAX_CHAIN}`);
  const pckChain = withoutNuls(inner.take(size, 'pckChain'));
  inner.end('pckChain.size');

  const rest = data.subarray(end);
  if (trailing !== 'any' && rest.length > 0 && (trailing === 'none' || rest.some((b) => b !== 0))) {
    refuse('FMT_TRAILING', path, NEXT, { have: `${rest.length} bytes after the quote`, need: trailing === 'none' ? 'none' : 'none but zeros' });
  }
  return { bytes: data.subarray(0, end), signed, userData: header.subarray(28, 48), signature, attestationKey, qeReport, qeSignature, authData, pckChain, trailing: rest.length };
}

function withoutNuls(chain: Bytes): Bytes {
  let end = chain.length;
  while (end > 0 && chain[end - 1] === 0) end -= 1;
  return chain.subarray(0, end);
}

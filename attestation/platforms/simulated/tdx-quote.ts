/** Quotes of TDs and enclaves as the quoting service writes them, every field and every length settable. The writing side of formats/tdx-quote.ts. */
import { type Bytes, bytes, concat, fromHex, sha256, utf8 } from '../../bytes.ts';
import { type SigningKey, signRaw } from './keys.ts';

export interface TdFields {
  readonly teeTcbSvn: Bytes; readonly mrSeam: Bytes; readonly mrSignerSeam: Bytes; readonly seamAttributes: Bytes; readonly tdAttributes: Bytes; readonly xfam: Bytes; readonly mrTd: Bytes;
  readonly mrConfigId: Bytes; readonly mrOwner: Bytes; readonly mrOwnerConfig: Bytes; readonly rtmrs: readonly Bytes[]; readonly reportData: Bytes;
  /** TD 1.5 only. */
  readonly teeTcbSvn2: Bytes; readonly mrServiceTd: Bytes;
}
export interface EnclaveFields { readonly cpuSvn: Bytes; readonly miscSelect: Bytes; readonly attributes: Bytes; readonly mrEnclave: Bytes; readonly mrSigner: Bytes; readonly isvProdId: number; readonly isvSvn: number; readonly reportData: Bytes }

const filled = (length: number, value: number): Bytes => new Uint8Array(length).fill(value);
const zeros = (length: number): Bytes => new Uint8Array(length);
const u16 = (value: number): Bytes => bytes([value & 255, value >> 8]);
const u32 = (value: number): Bytes => concat(u16(value % 65_536), u16(Math.floor(value / 65_536)));

/** SEPT_VE_DISABLE on, debugging off. */
export const TD_FIELDS: TdFields = {
  teeTcbSvn: fromHex('06010300000000000000000000000000'), mrSeam: filled(48, 0x51), mrSignerSeam: zeros(48), seamAttributes: zeros(8), tdAttributes: fromHex('0000001000000000'), xfam: fromHex('e702060000000000'),
  mrTd: filled(48, 0x3d), mrConfigId: zeros(48), mrOwner: zeros(48), mrOwnerConfig: zeros(48), rtmrs: [filled(48, 0xa0), filled(48, 0xa1), filled(48, 0xa2), zeros(48)], reportData: filled(64, 0xd4),
  teeTcbSvn2: fromHex('06010300000000000000000000000000'), mrServiceTd: zeros(48),
};

/** Intel's TD quoting enclave by the simulated identity: attributes INITTED, MODE64BIT, PROVISION_KEY. */
export const QE_FIELDS: EnclaveFields = {
  cpuSvn: filled(16, 3), miscSelect: zeros(4), attributes: fromHex('1500000000000000e700000000000000'), mrEnclave: filled(32, 0xe1), mrSigner: fromHex('dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5'),
  isvProdId: 2, isvSvn: 6, reportData: zeros(64),
};

export const encodeTd = (f: TdFields, kind: 'td-1.0' | 'td-1.5'): Bytes => concat(
  f.teeTcbSvn, f.mrSeam, f.mrSignerSeam, f.seamAttributes, f.tdAttributes, f.xfam, f.mrTd, f.mrConfigId, f.mrOwner, f.mrOwnerConfig, ...f.rtmrs, f.reportData, ...(kind === 'td-1.5' ? [f.teeTcbSvn2, f.mrServiceTd] : []),
);
export const encodeEnclave = (f: EnclaveFields): Bytes => concat(
  f.cpuSvn, f.miscSelect, zeros(28), f.attributes, f.mrEnclave, zeros(32), f.mrSigner, zeros(96), u16(f.isvProdId), u16(f.isvSvn), zeros(60), f.reportData,
);

export interface QuoteOptions {
  readonly version?: 3 | 4 | 5;
  /** Body of a version 5. */
  readonly kind?: 'td-1.0' | 'td-1.5';
  readonly td?: Partial<TdFields>;
  /** Body of a version 3. */
  readonly enclave?: Partial<EnclaveFields>;
  readonly qe?: Partial<EnclaveFields>;
  readonly authData?: Bytes;
  readonly header?: { readonly version?: number; readonly keyType?: number; readonly tee?: number; readonly reserved?: Bytes; readonly vendor?: Bytes; readonly userData?: Bytes };
  readonly bodyType?: number;
  readonly bodySize?: number;
  /** Lengths and types as written; the true ones by default. */
  readonly lengths?: { readonly signatureData?: number; readonly certification?: number; readonly authData?: number; readonly chain?: number };
  readonly types?: { readonly certification?: number; readonly chain?: number };
  /** Behind the chain and inside of `certification`; behind that and inside of the signature data; behind the quote. */
  readonly padding?: { readonly chain?: Bytes; readonly certification?: Bytes; readonly quote?: Bytes };
  readonly pckChain: string | Bytes;
  readonly attestationKey: SigningKey;
  readonly pckKey: SigningKey;
  /** Sign with other keys than the ones in the quote. */
  readonly signWith?: SigningKey;
  readonly qeSignWith?: SigningKey;
  /** Report data of the QE; the right one by default. */
  readonly qeReportData?: Bytes;
}

export async function encodeQuote(o: QuoteOptions): Promise<Bytes> {
  const { version = 4, kind = version === 5 ? 'td-1.5' : 'td-1.0', header = {}, lengths = {}, types = {}, padding = {} } = o;
  const head = concat(
    u16(header.version ?? version), u16(header.keyType ?? 2), u32(header.tee ?? (version === 3 ? 0 : 0x81)), header.reserved ?? (version === 3 ? bytes([10, 0, 15, 0]) : zeros(4)),
    header.vendor ?? fromHex('939a7233f79c4ca9940a0db3957f0607'), header.userData ?? zeros(20),
  );
  const content = version === 3 ? encodeEnclave({ ...QE_FIELDS, ...o.enclave }) : encodeTd({ ...TD_FIELDS, ...o.td }, kind);
  const body = version === 5 ? concat(u16(o.bodyType ?? (kind === 'td-1.5' ? 3 : 2)), u32(o.bodySize ?? content.length), content) : content;
  const signed = concat(head, body);
  const key = o.attestationKey.spki.slice(-64);
  const authData = o.authData ?? Uint8Array.from({ length: 32 }, (_, i) => i);
  const reportData = o.qeReportData ?? concat(await sha256(concat(key, authData)), zeros(32));
  const report = encodeEnclave({ ...QE_FIELDS, ...o.qe, reportData });
  const chain = typeof o.pckChain === 'string' ? utf8(o.pckChain) : o.pckChain;
  const quoting = concat(
    report, await signRaw(o.qeSignWith ?? o.pckKey, 'ES256', report), u16(lengths.authData ?? authData.length), authData, u16(types.chain ?? 5), u32(lengths.chain ?? chain.length), chain, padding.chain ?? zeros(0),
  );
  const certification = version === 3 ? quoting : concat(u16(types.certification ?? 6), u32(lengths.certification ?? quoting.length), quoting);
  const data = concat(await signRaw(o.signWith ?? o.attestationKey, 'ES256', signed), key, certification, padding.certification ?? zeros(0));
  return concat(signed, u32(lengths.signatureData ?? data.length), data, padding.quote ?? zeros(0));
}

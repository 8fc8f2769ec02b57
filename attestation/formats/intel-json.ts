/**
 * What Intel's Provisioning Certification Service says of platforms and of quoting enclaves (Intel PCS API, version 4: "Get TDX TCB Info",
 * "Get Quoting Enclave Identity"), as sent:
 *
 *   {"tcbInfo": {...}, "signature": "<r ‖ s, 128 hex digits>"}            {"enclaveIdentity": {...}, "signature": "..."}
 *
 *   | TCB info, version 3   | id TDX or SGX · issueDate, nextUpdate · fmspc (6 bytes hex) · pceId (2) · tcbType 0 · tcbEvaluationDataNumber · tdxModule {mrsigner,
 *   |                       | attributes, attributesMask} · tdxModuleIdentities [{id TDX_<major version>, the same three, tcbLevels [{tcb {isvsvn}, ...}]}] ·
 *   |                       | tcbLevels [{tcb {sgxtcbcomponents [16 × {svn}], pcesvn, tdxtcbcomponents [16 × {svn}]}, tcbDate, tcbStatus, advisoryIDs}], best first
 *   | QE identity, version 2 | id TD_QE or QE · issueDate, nextUpdate · tcbEvaluationDataNumber · miscselect, attributes with masks · mrsigner · isvprodid · tcbLevels [{tcb {isvsvn}, ...}]
 *
 * The signature is over the inner object's text as it was sent. Members that are not in the table are passed over: they are signed, and new
 * ones are announced by a new version.
 */
import { type Bytes, fromHex, utf8 } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { FieldError, integer, listOf, mapped, objectOf, oneOf, type Read, type Reader, textOf, that } from './json-fields.ts';
import { readJsonObject } from './json-span.ts';

export const INTEL_STATUSES = ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded', 'Revoked'] as const;
export type IntelStatus = (typeof INTEL_STATUSES)[number];

/** Epoch seconds. */
const date = mapped(
  that(textOf(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a UTC time in seconds'), (v) => !Number.isNaN(Date.parse(v)) && new Date(v).toISOString() === v.replace('Z', '.000Z'), 'a time of the calendar'),
  (v) => Date.parse(v) / 1000,
);
const hexOf = (length: number) => mapped(textOf(new RegExp(`^[0-9a-fA-F]{${2 * length}}$`), `${length} bytes in hex`), (v) => v.toLowerCase());
const raw = (length: number) => mapped(hexOf(length), fromHex);
const u16 = integer(0, 65_535);
const level = { tcbDate: date, tcbStatus: oneOf(...INTEL_STATUSES) };
const advisories = { advisoryIDs: listOf(textOf(/^[\x21-\x7e]{1,64}$/, 'the name of an advisory'), 0, 1024) };
const components = listOf(mapped(objectOf({ svn: integer(0, 255) }), (c) => c.svn), 16, 16);
const moduleShape = { mrsigner: raw(48), attributes: raw(8), attributesMask: raw(8) };
const isvLevels = listOf(objectOf({ tcb: objectOf({ isvsvn: u16 }), ...level }, advisories), 1, 256);
const header = { issueDate: date, nextUpdate: date, tcbEvaluationDataNumber: integer(0, 0xffff_ffff) };

const common = { ...header, version: oneOf(3), fmspc: hexOf(6), pceId: hexOf(2), tcbType: oneOf(0) };
const modules = listOf(objectOf({ id: textOf(/^TDX_[0-9A-F]{2}$/, 'TDX_ and a major version'), ...moduleShape, tcbLevels: isvLevels }), 0, 256);
const tdxTcbInfo = objectOf({
  ...common, id: oneOf('TDX'), tdxModule: objectOf(moduleShape),
  tcbLevels: listOf(objectOf({ tcb: objectOf({ sgxtcbcomponents: components, pcesvn: u16, tdxtcbcomponents: components }), ...level }, advisories), 1, 1024),
}, { tdxModuleIdentities: that(modules, (list) => new Set(list.map((m) => m.id)).size === list.length, 'each module once') });
const sgxTcbInfo = objectOf({
  ...common, id: oneOf('SGX'), tcbLevels: listOf(objectOf({ tcb: objectOf({ sgxtcbcomponents: components, pcesvn: u16 }), ...level }, advisories), 1, 1024),
});
const qeIdentity = {
  ...header, version: oneOf(2), miscselect: raw(4), miscselectMask: raw(4), attributes: raw(16), attributesMask: raw(16), mrsigner: raw(32), isvprodid: u16, tcbLevels: isvLevels,
};
const tdQeIdentity = objectOf({ ...qeIdentity, id: oneOf('TD_QE') });
const sgxQeIdentity = objectOf({ ...qeIdentity, id: oneOf('QE') });

export type Tee = 'tdx' | 'sgx';
export type TdxTcbInfo = Read<typeof tdxTcbInfo>;
export type SgxTcbInfo = Read<typeof sgxTcbInfo>;
export type TcbInfo = TdxTcbInfo | SgxTcbInfo;
export type ModuleIdentity = NonNullable<TdxTcbInfo['tdxModuleIdentities']>[number];
export type QeIdentity = Read<typeof tdQeIdentity> | Read<typeof sgxQeIdentity>;
export type IsvLevel = Read<typeof isvLevels>[number];

export interface Signed<T> {
  readonly value: T;
  /** What is signed, as received. */
  readonly signed: Bytes;
  /** r ‖ s. */
  readonly signature: Bytes;
}

const LIMITS = { maxBytes: 256 * 1024, maxDepth: 8, code: 'COLLATERAL_FORMAT', next: 'Fetch it again from Intel, and keep it byte for byte.' } as const;

/** @throws Refusal COLLATERAL_FORMAT */
export const parseTcbInfo = (data: Bytes | string, tee: Tee, path: string): Signed<TcbInfo> => read<TcbInfo>(data, 'tcbInfo', tee === 'tdx' ? tdxTcbInfo : sgxTcbInfo, path);

/** @throws Refusal COLLATERAL_FORMAT */
export const parseQeIdentity = (data: Bytes | string, tee: Tee, path: string): Signed<QeIdentity> => read<QeIdentity>(data, 'enclaveIdentity', tee === 'tdx' ? tdQeIdentity : sgxQeIdentity, path);

function read<T>(data: Bytes | string, name: string, schema: Reader<T>, path: string): Signed<T> {
  const members = readJsonObject(data, path, LIMITS);
  const [inner, signature] = [members.get(name), members.get('signature')];
  if (inner === undefined || signature === undefined || members.size !== 2) return refuse(LIMITS.code, path, LIMITS.next, { have: [...members.keys()].join(', ').slice(0, 64), need: `${name}, signature` });
  if (typeof signature.value !== 'string' || !/^[0-9a-fA-F]{128}$/.test(signature.value)) return refuse(LIMITS.code, `${path}.signature`, LIMITS.next, { have: 'another form', need: '64 bytes in hex' });
  try {
    return { value: schema(inner.value), signed: utf8(inner.source), signature: fromHex(signature.value.toLowerCase()) };
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    return refuse(LIMITS.code, [path, name, ...error.path].join('.'), LIMITS.next, { need: error.need });
  }
}

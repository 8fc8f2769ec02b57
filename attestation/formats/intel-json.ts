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
import { z } from 'zod';
import { type Bytes, fromHex, utf8 } from '../bytes.ts';
import { refuse } from '../refusal.ts';
import { readJsonObject } from './json-span.ts';

export const INTEL_STATUSES = ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded', 'OutOfDate', 'OutOfDateConfigurationNeeded', 'Revoked'] as const;
export type IntelStatus = (typeof INTEL_STATUSES)[number];

/** Epoch seconds. */
const date = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a UTC time in seconds').transform((value, context) => {
  const time = Date.parse(value);
  if (Number.isNaN(time) || new Date(time).toISOString() !== value.replace('Z', '.000Z')) context.addIssue('a time of the calendar');
  return time / 1000;
});
const hexOf = (length: number) => z.string().regex(new RegExp(`^[0-9a-fA-F]{${2 * length}}$`), `${length} bytes in hex`).transform((value) => value.toLowerCase());
const raw = (length: number) => hexOf(length).transform((value) => fromHex(value));
const u16 = z.int().min(0).max(65_535);
const advisories = z.array(z.string().regex(/^[\x21-\x7e]{1,64}$/)).max(1024).optional();
const level = { tcbDate: date, tcbStatus: z.enum(INTEL_STATUSES), advisoryIDs: advisories };
const components = z.array(z.object({ svn: z.int().min(0).max(255) })).length(16).transform((list) => list.map((c) => c.svn));
const moduleShape = { mrsigner: raw(48), attributes: raw(8), attributesMask: raw(8) };
const isvLevels = z.array(z.object({ tcb: z.object({ isvsvn: u16 }), ...level })).min(1).max(256);
const header = { issueDate: date, nextUpdate: date, tcbEvaluationDataNumber: z.int().min(0).max(0xffff_ffff) };

const common = { ...header, version: z.literal(3), fmspc: hexOf(6), pceId: hexOf(2), tcbType: z.literal(0) };
const tdxTcbInfo = z.object({
  ...common, id: z.literal('TDX'), tdxModule: z.object(moduleShape),
  tdxModuleIdentities: z.array(z.object({ id: z.string().regex(/^TDX_[0-9A-F]{2}$/), ...moduleShape, tcbLevels: isvLevels })).max(256)
    .refine((list) => new Set(list.map((m) => m.id)).size === list.length, 'each module once').optional(),
  tcbLevels: z.array(z.object({ tcb: z.object({ sgxtcbcomponents: components, pcesvn: u16, tdxtcbcomponents: components }), ...level })).min(1).max(1024),
});
const sgxTcbInfo = z.object({
  ...common, id: z.literal('SGX'), tcbLevels: z.array(z.object({ tcb: z.object({ sgxtcbcomponents: components, pcesvn: u16 }), ...level })).min(1).max(1024),
});
const qeIdentity = z.object({
  ...header, version: z.literal(2), miscselect: raw(4), miscselectMask: raw(4), attributes: raw(16), attributesMask: raw(16), mrsigner: raw(32), isvprodid: u16, tcbLevels: isvLevels,
});
const tdQeIdentity = qeIdentity.extend({ id: z.literal('TD_QE') });
const sgxQeIdentity = qeIdentity.extend({ id: z.literal('QE') });

export type Tee = 'tdx' | 'sgx';
export type TdxTcbInfo = z.output<typeof tdxTcbInfo>;
export type SgxTcbInfo = z.output<typeof sgxTcbInfo>;
export type TcbInfo = TdxTcbInfo | SgxTcbInfo;
export type ModuleIdentity = NonNullable<TdxTcbInfo['tdxModuleIdentities']>[number];
export type QeIdentity = z.output<typeof tdQeIdentity> | z.output<typeof sgxQeIdentity>;
export type IsvLevel = z.output<typeof isvLevels>[number];

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

function read<T>(data: Bytes | string, name: string, schema: z.ZodType<T>, path: string): Signed<T> {
  const members = readJsonObject(data, path, LIMITS);
  const [inner, signature] = [members.get(name), members.get('signature')];
  if (inner === undefined || signature === undefined || members.size !== 2) return refuse(LIMITS.code, path, LIMITS.next, { have: [...members.keys()].join(', ').slice(0, 64), need: `${name}, signature` });
  if (typeof signature.value !== 'string' || !/^[0-9a-fA-F]{128}$/.test(signature.value)) return refuse(LIMITS.code, `${path}.signature`, LIMITS.next, { have: 'another form', need: '64 bytes in hex' });
  const parsed = schema.safeParse(inner.value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuse(LIMITS.code, [path, name, ...(issue?.path ?? [])].join('.'), LIMITS.next, { need: issue?.message ?? 'another form' });
  }
  return { value: parsed.data, signed: utf8(inner.source), signature: fromHex(signature.value.toLowerCase()) };
}

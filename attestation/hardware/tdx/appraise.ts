/**
 * What a policy says of a verified TD: its TCB and its attributes, every refusal with its own code. The defaults are those of production; each
 * weakening has to be stated.
 *
 *   TDATTRIBUTES: bit 0 DEBUG · 1-27 reserved · 28 SEPT_VE_DISABLE · 29 MIGRATABLE · 30 PKS · 31 KL · 32-62 reserved · 63 PERFMON
 *   XFAM: bits 0 and 1 (x87, SSE) always on; others of 0x0006dbe7 may be (Intel TDX Module Base Architecture Specification, 11.8.3)
 */
import { hex } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import type { IntelStatus } from '../../formats/intel-json.ts';
import type { TdBody } from '../../formats/tdx-quote.ts';
import { iso } from '../../judge.ts';
import type { TcbFacts } from './facts.ts';

export interface TcbPolicy {
  /** Accepted statuses. */
  readonly statuses: readonly IntelStatus[];
  /** Advisories that an accepted platform may have; absent: any that its status leaves. */
  readonly advisories?: readonly string[];
  /** The earliest tcbDate, epoch seconds. */
  readonly minDate?: number;
  /** Lowest tcbEvaluationDataNumber of the collateral. */
  readonly minEvaluationNumber?: number;
  /** How old the collateral may be at `at`, seconds. */
  readonly maxCollateralAgeSeconds?: number;
}

export interface TdPolicy {
  /** Features that may be on. */
  readonly allow: readonly ('PKS' | 'KL' | 'PERFMON' | 'MIGRATABLE')[];
  /** `false` takes a TD whose virtualization exceptions the host can provoke. */
  readonly requireSeptVeDisable: boolean;
  /** `true` takes a TD that whoever runs the machine can read. */
  readonly allowDebug: boolean;
}

export const STRICT_TCB: TcbPolicy = { statuses: ['UpToDate'] };
/** Whatever is not behind Intel's fixes: hardening and configuration are for the policy to judge. */
export const CURRENT_TCB: TcbPolicy = { statuses: ['UpToDate', 'SWHardeningNeeded', 'ConfigurationNeeded', 'ConfigurationAndSWHardeningNeeded'] };
export const STRICT_TD: TdPolicy = { allow: [], requireSeptVeDisable: true, allowDebug: false };

const UPDATE = 'Update firmware and TDX module of the platform and restart the workload, or move it to another machine.';
const RELAUNCH = 'The platform has been updated under the running TD: restart the workload.';
const START = 'Start the TD with the attributes that the policy asks for.';
const FETCH = 'Fetch the current collateral of this platform from Intel or from the cloud\'s cache of it.';

export function checkTcb(tcb: TcbFacts | null, policy: TcbPolicy, at: number, checks: CheckList, path = 'tcb'): boolean {
  const known = checks.that('TDX-TCB-STATUS', `${path}.status`, tcb !== null && policy.statuses.includes(tcb.status), () => ({
    code: tcb === null ? 'COLLATERAL_ABSENT' : tcb.status === 'Revoked' ? 'TCB_REVOKED' : tcb.status.startsWith('OutOfDate') ? 'TCB_OUT_OF_DATE' : 'TCB_STATUS',
    have: tcb?.status ?? 'a TCB that nobody evaluated', need: policy.statuses.join(' or ') || 'no status: the policy accepts none', next: tcb?.relaunchAdvised === true ? RELAUNCH : UPDATE,
  }));
  if (tcb === null) return false;
  const { advisories: allowed, minDate, minEvaluationNumber: floor, maxCollateralAgeSeconds: maxAge } = policy;
  const others = allowed === undefined ? [] : tcb.advisories.filter((a) => !allowed.includes(a));
  const advised = checks.that('TDX-TCB-ADVISORIES', `${path}.advisories`, others.length === 0, () => ({ code: 'TCB_ADVISORY', have: others.join(', '), need: allowed?.join(', ') || 'no advisory', next: UPDATE }));
  const dated = minDate === undefined || checks.that('TDX-TCB-DATE', `${path}.date`, tcb.date >= minDate, () => ({ code: 'TCB_OUT_OF_DATE', have: iso(tcb.date), need: `from ${iso(minDate)}`, next: UPDATE }));
  const evaluated = floor === undefined || checks.that('TDX-TCB-EVALUATION', `${path}.evaluationNumber`, tcb.evaluationNumber >= floor, () => ({ code: 'COLLATERAL_EVALUATION', have: String(tcb.evaluationNumber), need: `at least ${floor}`, next: FETCH }));
  const young = maxAge === undefined || checks.that('TDX-COLLATERAL-AGE', `${path}.issued`, at - tcb.issued <= maxAge, () => ({ code: 'COLLATERAL_EXPIRED', have: `${at - tcb.issued} s`, need: `at most ${maxAge} s`, next: FETCH }));
  return known && advised && dated && evaluated && young;
}

const BITS = { DEBUG: 0, SEPT_VE_DISABLE: 28, MIGRATABLE: 29, PKS: 30, KL: 31, PERFMON: 63 } as const;
const KNOWN = Object.values(BITS).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
const XFAM_ON = 0x3n;
const XFAM_KNOWN = 0x0006dbe7n;

export interface TdAttributes {
  readonly debug: boolean; readonly septVeDisable: boolean; readonly migratable: boolean; readonly pks: boolean; readonly kl: boolean; readonly perfmon: boolean;
  /** Bits that are reserved and yet set, in hex; "0": none. */
  readonly reserved: string;
}

const little = (value: Uint8Array): bigint => value.reduceRight((n, b) => (n << 8n) | BigInt(b), 0n);

export function tdAttributes(body: Pick<TdBody, 'tdAttributes'>): TdAttributes {
  const value = little(body.tdAttributes);
  const has = (name: keyof typeof BITS): boolean => ((value >> BigInt(BITS[name])) & 1n) === 1n;
  return { debug: has('DEBUG'), septVeDisable: has('SEPT_VE_DISABLE'), migratable: has('MIGRATABLE'), pks: has('PKS'), kl: has('KL'), perfmon: has('PERFMON'), reserved: (value & ~KNOWN).toString(16) };
}

export function checkTd(body: TdBody, policy: TdPolicy, checks: CheckList, path = 'quote.body'): boolean {
  const attributes = tdAttributes(body);
  const results: boolean[] = [];
  const check = (id: string, field: string, holds: boolean, have: string, need: string): void => {
    results.push(checks.that(`TDX-TD-${id}`, `${path}.${field}`, holds, () => ({ code: 'TD_ATTR', have, need, next: START })));
  };
  const have = hex(body.tdAttributes);
  results.push(checks.that('TDX-TD-DEBUG', `${path}.tdAttributes`, policy.allowDebug || !attributes.debug, () => ({ code: 'DEBUG_TD', have, need: 'DEBUG off', next: 'Start the TD without debugging: whoever runs the machine can read a debug TD.' })));
  check('RESERVED', 'tdAttributes', attributes.reserved === '0', `${have}, reserved 0x${attributes.reserved}`, 'reserved bits zero');
  check('SEPT-VE', 'tdAttributes', !policy.requireSeptVeDisable || attributes.septVeDisable, have, 'SEPT_VE_DISABLE on');
  for (const [name, on] of [['MIGRATABLE', attributes.migratable], ['PKS', attributes.pks], ['KL', attributes.kl], ['PERFMON', attributes.perfmon]] as const) check(name, 'tdAttributes', !on || policy.allow.includes(name), have, `${name} off`);
  const xfam = little(body.xfam);
  check('XFAM', 'xfam', (xfam & XFAM_ON) === XFAM_ON && (xfam & ~XFAM_KNOWN) === 0n, `0x${xfam.toString(16)}`, `0x${XFAM_ON.toString(16)} on, nothing outside of 0x${XFAM_KNOWN.toString(16)}`);
  const zero = (id: string, field: 'mrSignerSeam' | 'seamAttributes' | 'mrServiceTd', meaning: string): void => {
    const value = body[field];
    if (value !== undefined) check(id, field, value.every((b) => b === 0), hex(value), meaning);
  };
  zero('SEAM-SIGNER', 'mrSignerSeam', 'zeros: a module by Intel');
  zero('SEAM-ATTRIBUTES', 'seamAttributes', 'zeros: a production module');
  zero('SERVICE-TD', 'mrServiceTd', 'zeros: no service TD');
  return results.every(Boolean);
}

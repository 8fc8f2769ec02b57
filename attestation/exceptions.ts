/**
 * Exceptions to a policy's rules about firmware: for one rule, on one platform, until a date, for a reason that is written down. They lower, never lift: evidence
 * that needs one is a warning at best, and the appraisal names it. There is none for debugging, measurements, freshness, scope or trust in a root. One whose time
 * has come does not apply.
 */
import type { NormalizedClaims, Rule } from './claims.ts';
import type { PolicyException } from './exception-schema.ts';
import { iso } from './judge.ts';
import { type RefusalCode, visible } from './refusal.ts';

/** Known to be old. Neither revoked (somebody else may have its keys) nor of a state that nobody has judged. */
const EXCEPTED_CODES: ReadonlySet<RefusalCode> = new Set<RefusalCode>(['TCB_OUT_OF_DATE', 'TCB_FLOOR', 'BADRAM']);

export interface ExceptionUsed { readonly id: string; readonly rule: string; readonly expires: number; readonly reason: string }

/** @returns the rules as they count, and the exceptions that made the difference */
export function applyExceptions(rules: readonly Rule[], claims: Pick<NormalizedClaims, 'platform' | 'time' | 'tcb'>, exceptions: readonly PolicyException[] | undefined): { readonly rules: readonly Rule[]; readonly used: readonly ExceptionUsed[] } {
  const used: ExceptionUsed[] = [];
  const out = rules.map((rule): Rule => {
    if (rule.outcome !== 'fail' || rule.code === undefined || !EXCEPTED_CODES.has(rule.code)) return rule;
    const found = exceptions?.find((e) => e.rule === rule.id && e.platform === claims.platform && claims.time.verifiedAt < e.until && (e.fmspc === undefined || e.fmspc === claims.tcb.intel?.fmspc));
    if (found === undefined) return rule;
    used.push({ id: found.id, rule: rule.id, expires: found.until, reason: found.reason });
    return { ...rule, outcome: 'lowered', detail: `${rule.detail}; excepted by ${visible(found.id)} until ${iso(found.until)}: ${visible(found.reason)}` };
  });
  return { rules: out, used };
}

/** Whatever was thrown, in the form that the page shows. */
import { Refusal } from '../../../attestation/refusal.ts';
import { PROBLEMS, isProblemCode } from '../../protocol/problem.ts';
import { ApiError } from '../api.ts';
import type { Refused } from './model.ts';

const titleOf = (code: string): string => (isProblemCode(code) ? PROBLEMS[code].title : code === 'NETWORK' ? 'The gateway does not answer' : code === 'ANSWER_FORMAT' ? 'The gateway answers something else' : 'The gateway refused the request');

export function toRefused(error: unknown): Refused {
  if (error instanceof Refusal) return { code: error.code, title: titleOf(error.code), reasons: error.reasons };
  if (error instanceof ApiError) {
    const { code, problem, status } = error;
    const next = problem?.detail ?? (code === 'NETWORK' ? 'Check the connection and that the cell runs; then try again.' : 'Try again; if it stays, tell the operator.');
    const reasons = problem?.reasons ?? [{ code, path: 'gateway', ...(status > 0 ? { have: `status ${status}` } : {}), next }];
    return { code, title: problem?.title ?? titleOf(code), reasons };
  }
  // Its text stays in the console: it may quote what was being worked on.
  console.error(error);
  return { code: 'INTERNAL', title: 'A defect of this page, not a verdict', reasons: [{ code: 'INTERNAL', path: 'page', next: 'Nothing was shown as verified. Reload the page and report what the console says.' }] };
}

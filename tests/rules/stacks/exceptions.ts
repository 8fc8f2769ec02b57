/** What a rule says and is left as it is: each with a reason and a day on which somebody looks again. */
import type { Finding } from './rule.ts';

export interface Exception {
  readonly rule: string;
  readonly stack: RegExp;
  readonly address: RegExp;
  readonly reason: string;
  /** ISO date; the rule speaks again afterwards. */
  readonly expires: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    rule: 'aws-keys', stack: /^ccc-aws-/, address: /^aws_kms_key\./, expires: '2027-11-30',
    reason: 'The lockout check wants the caller of CreateKey to keep PutKeyPolicy. Here only the break-glass role has it, on purpose: the pipeline makes keys and can never open their policies.',
  },
];

export const excepted = (f: Finding, today: string): boolean => EXCEPTIONS.some((e) => e.rule === f.rule && e.stack.test(f.stack) && e.address.test(f.address) && today <= e.expires);

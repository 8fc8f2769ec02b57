/** The egress guard: of a workload's result only what the schema knows and the owner's policy lets out for this tenant gets signed. */
import { resultSchema } from './workload.ts';
import type { CountResult } from '../protocol/messages.ts';
import type { OwnerPolicy } from '../protocol/owner.ts';

type TenantRule = OwnerPolicy['tenants'][number];
type Field = TenantRule['egress'][number];

export type EgressCode = 'EGRESS_RULE' | 'EGRESS_SCHEMA' | 'EGRESS_MODEL' | 'EGRESS_FIELD';

export class EgressRefused extends Error {
  override readonly name = 'EgressRefused';
  readonly code: EgressCode;

  constructor(code: EgressCode) {
    super(code);
    this.code = code;
  }
}

/**
 * @param result what the sandboxed workload returned: anything
 * @throws EgressRefused; nothing of the result is in its text
 */
export function guardEgress(result: unknown, policy: OwnerPolicy, tenantId: string): CountResult {
  const rule = policy.tenants.find(({ tenant }) => tenant === tenantId) ?? policy.tenants.find(({ tenant }) => tenant === '*');
  if (rule === undefined) throw new EgressRefused('EGRESS_RULE');
  const parsed = resultSchema.safeParse(result);
  if (!parsed.success) throw new EgressRefused('EGRESS_SCHEMA');
  const { count, method, model, boxes, image } = parsed.data;
  const known = policy.detectors.some(({ name, digest, threshold }) => name === model.name && digest === model.digest && threshold === model.threshold);
  if (!known) throw new EgressRefused('EGRESS_MODEL');
  const may = (field: Field): boolean => rule.egress.includes(field);
  // Without the count there is no result.
  if (!may('count')) throw new EgressRefused('EGRESS_FIELD');
  return {
    count, method, model,
    ...(boxes !== undefined && may('boxes') ? { boxes: boxes.map(({ x, y, w, h, score }) => ({ x, y, w, h, ...(score !== undefined && may('scores') ? { score } : {}) })) } : {}),
    ...(image !== undefined && may('image') ? { image } : {}),
  };
}

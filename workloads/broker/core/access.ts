/** What the owner's policy says about one message and one session: tenant, zone, classification, region, scope. */
import type { NormalizedClaims } from '../../../attestation/claims.ts';
import { type Reason, Refusal, refuse } from '../../../attestation/refusal.ts';
import type { EncryptionContext } from '../../protocol/context.ts';
import type { OwnerPolicy } from '../../protocol/owner.ts';

type TenantRule = OwnerPolicy['tenants'][number];

/** A tenant's own rule, else the one for every tenant. @throws Refusal POLICY_MISSING */
export function tenantRule(policy: OwnerPolicy, tenantId: string): TenantRule {
  return policy.tenants.find((rule) => rule.tenant === tenantId) ?? policy.tenants.find((rule) => rule.tenant === '*')
    ?? refuse('POLICY_MISSING', 'policy.tenants', 'The owner adds a rule for this tenant to the policy.', { have: tenantId });
}

/** What the sender wrote against what was leased. @throws Refusal TENANT_MISMATCH, CONTEXT_MISMATCH */
export function checkContext(context: EncryptionContext, item: { tenant_id: string; job_id: string }): void {
  const reasons: Reason[] = [];
  if (context.tenant_id !== item.tenant_id) {
    reasons.push({ code: 'TENANT_MISMATCH', path: 'context.tenant_id', have: context.tenant_id, need: item.tenant_id, next: 'The message was encrypted for another tenant; its own client submits it.' });
  }
  if (context.job_id !== item.job_id) {
    reasons.push({ code: 'CONTEXT_MISMATCH', path: 'context.job_id', have: context.job_id, need: item.job_id, next: 'The message was encrypted for another job; encrypt again for this one.' });
  }
  if (reasons.length > 0) throw new Refusal(reasons);
}

/** @throws Refusal ZONE_DENIED, CLASSIFICATION_DENIED: nothing that another counter could do better. */
export function checkMessage(policy: OwnerPolicy, rule: TenantRule, context: EncryptionContext): void {
  const reasons: Reason[] = [];
  const zone = context.compliance_zone;
  if (!rule.zones.includes(zone) || !policy.zones.some(({ name }) => name === zone)) {
    reasons.push({ code: 'ZONE_DENIED', path: 'context.compliance_zone', have: zone, need: rule.zones.join(', '), next: 'Encrypt for a zone that the policy gives this tenant.' });
  }
  if (!rule.classifications.includes(context.data_classification)) {
    reasons.push({ code: 'CLASSIFICATION_DENIED', path: 'context.data_classification', have: context.data_classification, need: rule.classifications.join(', '), next: 'The policy does not let data of this class in here.' });
  }
  if (reasons.length > 0) throw new Refusal(reasons);
}

export interface Place { readonly region: string | undefined; readonly origin: NormalizedClaims['cloud']['origin'] }

/**
 * Where a workload is. Evidence of Azure and of most GKE nodes names no region: then it is the one of the cell's configuration, whose digest the evidence covers and
 * the owner's directory lists, which is an assertion whatever else is proven of the cloud.
 */
export function placeOf({ cloud: { region, origin } }: Pick<NormalizedClaims, 'cloud'>, cellRegion: string): Place {
  return region === undefined ? { region: cellRegion, origin: origin === 'proven' ? 'asserted' : origin } : { region, origin };
}

/** Why a workload at that place may not have what belongs to the zone. */
function placeReasons(policy: OwnerPolicy, zoneName: string, { region, origin }: Place): Reason[] {
  const reasons: Reason[] = [];
  const zone = policy.zones.find(({ name }) => name === zoneName);
  if (zone === undefined || region === undefined || !zone.regions.includes(region)) {
    reasons.push({ code: 'CLOUD_ORIGIN', path: 'claims.cloud.region', have: region ?? 'none', need: zone?.regions.join(', ') ?? 'a zone of the policy', next: 'A counter in a region of this zone has to take the job.' });
  }
  if (origin !== 'proven' && !(origin === 'asserted' && zone?.origin === 'asserted')) {
    reasons.push({ code: 'CLOUD_ORIGIN', path: 'claims.cloud.origin', have: origin, need: zone?.origin ?? 'proven', next: 'A counter whose region is proven has to take the job.' });
  }
  return reasons;
}

/** Whether a key of that zone may be there. @throws Refusal CLOUD_ORIGIN */
export function checkPlace(policy: OwnerPolicy, zoneName: string, place: Place): void {
  const reasons = placeReasons(policy, zoneName, place);
  if (reasons.length > 0) throw new Refusal(reasons);
}

/** Whether this workload may see data of that zone. @throws Refusal CLOUD_ORIGIN, SCOPE */
export function checkWorkload(policy: OwnerPolicy, rule: TenantRule, zoneName: string, claims: NormalizedClaims, place: Place): void {
  const reasons = placeReasons(policy, zoneName, place);
  const { scope } = claims.workload.binding;
  if (!rule.scopes.includes(scope)) {
    reasons.push({ code: scope === 'node' ? 'SCOPE_NODE' : 'SCOPE', path: 'claims.workload.binding.scope', have: scope, need: rule.scopes.join(', '), next: 'A counter with narrower evidence has to take the job.' });
  }
  if (reasons.length > 0) throw new Refusal(reasons);
}

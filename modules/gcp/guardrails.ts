/**
 * What nobody can do in the project, whatever their roles: organization policies set on the project. A service perimeter would stand beside these; it needs an
 * access policy of the organization, which is not a cell's to make.
 */
import { OrgPolicyPolicy } from '@cdktf/provider-google/lib/org-policy-policy/index.js';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import { GITHUB_ISSUER } from './identity.ts';
import { TOKEN_ISSUER } from './token-condition.ts';

const ENFORCED = [
  'compute.disableSerialPortAccess', 'compute.requireOsLogin', 'compute.requireShieldedVm', 'compute.skipDefaultNetworkCreation', 'iam.automaticIamGrantsForDefaultServiceAccounts', 'iam.disableServiceAccountKeyCreation',
  'iam.disableServiceAccountKeyUpload', 'sql.restrictAuthorizedNetworks', 'sql.restrictPublicIp', 'storage.publicAccessPrevention', 'storage.uniformBucketLevelAccess',
] as const;

export interface GuardrailsProps {
  readonly project: string;
  /** Every region that may hold anything. */
  readonly residency: readonly string[];
}

export class Guardrails extends Construct {
  constructor(scope: Construct, id: string, { project, residency }: GuardrailsProps) {
    super(scope, id);
    need(residency.length > 0, `${id}.residency`, residency, 'at least one region');
    const policy = (constraint: string, rule: Record<string, unknown>): OrgPolicyPolicy =>
      new OrgPolicyPolicy(this, constraint.replaceAll('.', '-').toLowerCase(), { name: `projects/${project}/policies/${constraint}`, parent: `projects/${project}`, spec: { inheritFromParent: false, rules: [rule] } });
    for (const constraint of ENFORCED) policy(constraint, { enforce: 'TRUE' });
    policy('gcp.resourceLocations', { values: { allowedValues: residency.map((region) => `in:${region}-locations`) } });
    policy('gcp.restrictTLSVersion', { values: { deniedValues: ['TLS_VERSION_1', 'TLS_VERSION_1_1'] } });
    // Every VM is one of Compute Engine's, those of node pools too.
    policy('compute.restrictNonConfidentialComputing', { values: { deniedValues: ['compute.googleapis.com'] } });
    policy('compute.vmExternalIpAccess', { denyAll: 'TRUE' });
    policy('iam.workloadIdentityPoolProviders', { values: { allowedValues: [TOKEN_ISSUER, GITHUB_ISSUER] } });
  }
}

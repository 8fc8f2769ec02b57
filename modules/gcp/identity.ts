/**
 * Who deploys: workflows of one GitHub repository, by OIDC, through two pools that have nothing to do with the one for brokers. `plan` reads, from any branch;
 * `apply` writes, only from main and the GitHub environment with approvals. Credentials last an hour. The first apply is an administrator's: it makes these.
 */
import { IamWorkloadIdentityPool } from '@cdktf/provider-google/lib/iam-workload-identity-pool/index.js';
import { IamWorkloadIdentityPoolProvider } from '@cdktf/provider-google/lib/iam-workload-identity-pool-provider/index.js';
import { ProjectIamMember } from '@cdktf/provider-google/lib/project-iam-member/index.js';
import { ServiceAccount } from '@cdktf/provider-google/lib/service-account/index.js';
import { ServiceAccountIamBinding } from '@cdktf/provider-google/lib/service-account-iam-binding/index.js';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { accountId } from './accounts.ts';

export const GITHUB_ISSUER = 'https://token.actions.githubusercontent.com';

const PLAN_ROLES = ['roles/viewer', 'roles/iam.securityReviewer'] as const;
/** No owner, no editor: the services of a cell, one by one; keys by a role of their own (key-duties.ts). Budgets, organization policies and deny policies need grants above the project, which an administrator makes. */
const APPLY_ROLES = [
  'roles/artifactregistry.admin', 'roles/binaryauthorization.attestorsAdmin', 'roles/binaryauthorization.policyEditor', 'roles/certificatemanager.editor', 'roles/cloudsql.admin', 'roles/compute.admin', 'roles/container.admin',
  'roles/containeranalysis.notes.editor', 'roles/dns.admin', 'roles/iam.roleAdmin', 'roles/iam.serviceAccountAdmin', 'roles/iam.workloadIdentityPoolAdmin', 'roles/logging.configWriter', 'roles/monitoring.editor',
  'roles/serviceusage.serviceUsageAdmin', 'roles/servicenetworking.networksAdmin', 'roles/storage.admin',
] as const;
/** Roles that the pipeline may give or take. Whatever is not here it can grant to nobody, itself included: this is its permissions boundary. */
export const GRANTABLE_ROLES = [
  'roles/cloudsql.client', 'roles/cloudsql.instanceUser', 'roles/confidentialcomputing.workloadUser', 'roles/container.defaultNodeServiceAccount', 'roles/logging.logWriter', 'roles/monitoring.metricWriter', 'roles/monitoring.viewer',
] as const;

export interface IdentityProps {
  readonly named: Namer;
  readonly project: string;
  readonly projectNumber: string;
  /** `owner/name`. */
  readonly repository: string;
  /** GitHub environment, whose protection rules ask for approval. */
  readonly githubEnvironment: string;
}

export class Identity extends Construct {
  readonly apply: ServiceAccount;

  constructor(scope: Construct, id: string, props: IdentityProps) {
    super(scope, id);
    const { named, project, projectNumber, repository, githubEnvironment } = props;
    need(/^[\w.-]+\/[\w.-]+$/.test(repository), `${id}.repository`, repository, 'owner/name');

    const pipeline = (part: 'plan' | 'apply', condition: string, roles: readonly string[]): ServiceAccount => {
      const account = new ServiceAccount(this, part, { accountId: accountId(named, `ci-${part}`), displayName: `GitHub Actions: ${part}` });
      for (const role of roles) new ProjectIamMember(this, `${part}-${role.replace(/^roles\//, '').replaceAll('.', '-').toLowerCase()}`, { project, role, member: account.member });
      const poolId = named('workload-identity-pool', `github-${part}`);
      const pool = new IamWorkloadIdentityPool(this, `${part}-pool`, { workloadIdentityPoolId: poolId, displayName: `GitHub Actions: ${part}`, disabled: false });
      const audience = `https://iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${poolId}/providers/github`;
      new IamWorkloadIdentityPoolProvider(this, `${part}-provider`, {
        workloadIdentityPoolId: pool.workloadIdentityPoolId, workloadIdentityPoolProviderId: 'github', displayName: 'GitHub Actions', disabled: false,
        attributeMapping: { 'google.subject': 'assertion.sub', 'attribute.repository': 'assertion.repository' }, attributeCondition: condition, oidc: { issuerUri: GITHUB_ISSUER, allowedAudiences: [audience] },
      });
      new ServiceAccountIamBinding(this, `${part}-from-github`, {
        serviceAccountId: account.name, role: 'roles/iam.workloadIdentityUser', members: [`principalSet://iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${poolId}/attribute.repository/${repository}`], dependsOn: [pool],
      });
      return account;
    };
    pipeline('plan', `assertion.repository == '${repository}'`, PLAN_ROLES);
    this.apply = pipeline('apply', `assertion.repository == '${repository}' && assertion.ref == 'refs/heads/main' && assertion.environment == '${githubEnvironment}'`, APPLY_ROLES);
    new ProjectIamMember(this, 'apply-grants', {
      project, role: 'roles/resourcemanager.projectIamAdmin', member: this.apply.member,
      condition: {
        title: 'Only the roles of a cell', description: 'The permissions boundary of the pipeline',
        expression: `api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${GRANTABLE_ROLES.map((role) => `'${role}'`).join(', ')}])`,
      },
    });
  }
}

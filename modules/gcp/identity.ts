/**
 * Who deploys: workflows of one GitHub repository, by OIDC, through two pools that have nothing to do with the one for brokers. `plan` reads, for pull requests and from main;
 * `apply` writes, only from main and the GitHub environment with approvals. Credentials last an hour. The first apply is an administrator's: it makes these.
 */
import { IamWorkloadIdentityPool } from '@cdktf/provider-google/lib/iam-workload-identity-pool/index.js';
import { IamWorkloadIdentityPoolProvider } from '@cdktf/provider-google/lib/iam-workload-identity-pool-provider/index.js';
import { ProjectIamMember } from '@cdktf/provider-google/lib/project-iam-member/index.js';
import { StorageBucketIamMember } from '@cdktf/provider-google/lib/storage-bucket-iam-member/index.js';
import { ServiceAccount } from '@cdktf/provider-google/lib/service-account/index.js';
import { ServiceAccountIamBinding } from '@cdktf/provider-google/lib/service-account-iam-binding/index.js';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { accountId } from './accounts.ts';

export const GITHUB_ISSUER = 'https://token.actions.githubusercontent.com';

/** Reads what is configured, service by service; basic roles would also read data. */
const PLAN_ROLES = [
  'roles/artifactregistry.reader', 'roles/binaryauthorization.attestorsViewer', 'roles/binaryauthorization.policyViewer', 'roles/browser', 'roles/certificatemanager.viewer', 'roles/cloudkms.publicKeyViewer', 'roles/cloudkms.viewer', 'roles/cloudscheduler.viewer', 'roles/cloudsql.viewer',
  'roles/compute.viewer', 'roles/container.viewer', 'roles/containeranalysis.notes.viewer', 'roles/dns.reader', 'roles/iam.roleViewer', 'roles/iam.securityReviewer', 'roles/iam.workloadIdentityPoolViewer', 'roles/logging.viewer', 'roles/monitoring.viewer',
  'roles/serviceusage.serviceUsageViewer', 'roles/storage.bucketViewer', 'roles/workflows.viewer',
] as const;
/** No owner, no editor: the services of a cell, one by one; keys by a role of their own (key-duties.ts). Budgets, organization policies and deny policies need grants above the project, which an administrator makes. */
const APPLY_ROLES = [
  'roles/artifactregistry.admin', 'roles/binaryauthorization.attestorsAdmin', 'roles/binaryauthorization.policyEditor', 'roles/certificatemanager.editor', 'roles/cloudsql.admin', 'roles/cloudscheduler.admin', 'roles/compute.admin', 'roles/container.admin',
  'roles/containeranalysis.notes.editor', 'roles/dns.admin', 'roles/iam.roleAdmin', 'roles/iam.serviceAccountAdmin', 'roles/iam.workloadIdentityPoolAdmin', 'roles/logging.configWriter', 'roles/monitoring.editor',
  'roles/serviceusage.serviceUsageAdmin', 'roles/servicenetworking.networksAdmin', 'roles/storage.admin', 'roles/workflows.editor',
] as const;
/** Roles that the pipeline may give or take. Whatever is not here it can grant to nobody, itself included: this is its permissions boundary.
 * Duties over keys, the restore test's and the pipeline's own roles are given by the administrator of the first apply, and changed only by one. */
export const GRANTABLE_ROLES = [
  'roles/cloudsql.client', 'roles/cloudsql.instanceUser', 'roles/confidentialcomputing.workloadUser', 'roles/container.defaultNodeServiceAccount', 'roles/logging.logWriter', 'roles/monitoring.metricWriter', 'roles/monitoring.viewer',
  'roles/workflows.invoker',
] as const;

export interface IdentityProps {
  readonly named: Namer;
  readonly project: string;
  readonly projectNumber: string;
  /** `owner/name`. */
  readonly repository: string;
  /** GitHub environment, whose protection rules ask for approval. */
  readonly githubEnvironment: string;
  /** Bucket of the state, which plans read and applies write. */
  readonly stateBucket: string;
}

export class Identity extends Construct {
  readonly apply: ServiceAccount;
  /** Pools' providers. */
  readonly made: readonly IamWorkloadIdentityPoolProvider[];

  constructor(scope: Construct, id: string, props: IdentityProps) {
    super(scope, id);
    const { named, project, projectNumber, repository, githubEnvironment, stateBucket } = props;
    need(/^[\w.-]+\/[\w.-]+$/.test(repository), `${id}.repository`, repository, 'owner/name');

    const made: IamWorkloadIdentityPoolProvider[] = [];
    this.made = made;
    const pipeline = (part: 'plan' | 'apply', condition: string, roles: readonly string[]): ServiceAccount => {
      const account = new ServiceAccount(this, part, { accountId: accountId(named, `ci-${part}`), displayName: `GitHub Actions: ${part}` });
      for (const role of roles) new ProjectIamMember(this, `${part}-${role.replace(/^roles\//, '').replaceAll('.', '-').toLowerCase()}`, { project, role, member: account.member });
      const poolId = named('workload-identity-pool', `github-${part}`);
      const pool = new IamWorkloadIdentityPool(this, `${part}-pool`, { workloadIdentityPoolId: poolId, displayName: `GitHub Actions: ${part}`, disabled: false });
      const audience = `https://iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${poolId}/providers/github`;
      made.push(new IamWorkloadIdentityPoolProvider(this, `${part}-provider`, {
        workloadIdentityPoolId: pool.workloadIdentityPoolId, workloadIdentityPoolProviderId: 'github', displayName: 'GitHub Actions', disabled: false,
        attributeMapping: { 'google.subject': 'assertion.sub', 'attribute.repository': 'assertion.repository' }, attributeCondition: condition, oidc: { issuerUri: GITHUB_ISSUER, allowedAudiences: [audience] },
      }));
      new ServiceAccountIamBinding(this, `${part}-from-github`, {
        serviceAccountId: account.name, role: 'roles/iam.workloadIdentityUser', members: [`principalSet://iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${poolId}/attribute.repository/${repository}`], dependsOn: [pool],
      });
      return account;
    };
    // Whole subjects, as GitHub writes them: of a pull request, of main (the nightly look for drift), of a job in the environment.
    const repo = `repo:${repository}`;
    const plan = pipeline('plan', `assertion.repository == '${repository}' && (assertion.sub == '${repo}:pull_request' || assertion.sub == '${repo}:ref:refs/heads/main')`, PLAN_ROLES);
    this.apply = pipeline('apply', `assertion.repository == '${repository}' && assertion.sub == '${repo}:environment:${githubEnvironment}' && assertion.ref == 'refs/heads/main'`, APPLY_ROLES);
    // A plan of a pull request takes no lock: it reads the state and writes nothing.
    new StorageBucketIamMember(this, 'plan-state', { bucket: stateBucket, role: 'roles/storage.objectViewer', member: plan.member });
    new ProjectIamMember(this, 'apply-grants', {
      project, role: 'roles/resourcemanager.projectIamAdmin', member: this.apply.member,
      condition: {
        title: 'Only the roles of a cell', description: 'The permissions boundary of the pipeline',
        expression: `api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${GRANTABLE_ROLES.map((role) => `'${role}'`).join(', ')}])`,
      },
    });
  }
}

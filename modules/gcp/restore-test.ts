/**
 * Restore testing: every week a workflow clones the ledger to a point in time an hour back, waits until the clone runs, reads it, and deletes it again. A failed
 * run is an alert (observability.ts). The clone keeps the key, the private address and the flags of its source. What is in it is checked by
 * `ccc audit verify` against a clone, by hand or in a drill: a workflow has no way to SQL.
 */
import { CloudSchedulerJob } from '@cdktf/provider-google/lib/cloud-scheduler-job/index.js';
import { ProjectIamCustomRole } from '@cdktf/provider-google/lib/project-iam-custom-role/index.js';
import { ProjectIamMember } from '@cdktf/provider-google/lib/project-iam-member/index.js';
import { ServiceAccount } from '@cdktf/provider-google/lib/service-account/index.js';
import { ServiceAccountIamBinding } from '@cdktf/provider-google/lib/service-account-iam-binding/index.js';
import { WorkflowsWorkflow } from '@cdktf/provider-google/lib/workflows-workflow/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';
import { accountId } from './accounts.ts';

export interface RestoreTestProps {
  readonly named: Namer;
  readonly project: string;
  readonly region: string;
  /** Name of the instance that is cloned. */
  readonly instance: string;
  readonly keyId: string;
  /** `serviceAccount:` member that deploys the workflow as the account. */
  readonly deployer: string;
  readonly tags: Tags;
  /** The key's grant to Workflows. */
  readonly dependsOn: readonly ITerraformDependable[];
}

export class RestoreTest extends Construct {
  constructor(scope: Construct, id: string, { named, project, region, instance, keyId, deployer, tags, dependsOn }: RestoreTestProps) {
    super(scope, id);
    const account = new ServiceAccount(this, 'account', { accountId: accountId(named, 'restore-test'), displayName: 'Restore test of the ledger' });
    const clone = named('gcp-generic', 'restore');
    const instances = `projects/${project}/instances`;
    // Everything on clones, by their names; of the ledger itself no more than reading its settings and cloning from it.
    new ProjectIamMember(this, 'clones', {
      project, role: 'roles/cloudsql.admin', member: account.member,
      condition: { title: 'Clones of restore tests', description: 'Makes, reads and deletes clones by their names', expression: `resource.type == 'sqladmin.googleapis.com/Instance' && resource.name.startsWith('${instances}/${clone}-')` },
    });
    const cloner = new ProjectIamCustomRole(this, 'cloner', { roleId: 'cccLedgerCloner', title: 'Cloner of the ledger', description: 'Reads instances and clones from them', stage: 'GA', permissions: ['cloudsql.databases.get', 'cloudsql.instances.clone', 'cloudsql.instances.get'] });
    new ProjectIamMember(this, 'source', { project, role: cloner.name, member: account.member });
    new ProjectIamMember(this, 'logs', { project, role: 'roles/logging.logWriter', member: account.member });
    new ServiceAccountIamBinding(this, 'deployers', { serviceAccountId: account.name, role: 'roles/iam.serviceAccountUser', members: [deployer] });

    const workflow = new WorkflowsWorkflow(this, 'workflow', {
      name: named('gcp-generic', 'restore-test'), region, description: 'Clones the ledger to a point in time, reads the clone, deletes it', serviceAccount: account.email, cryptoKeyName: keyId, callLogLevel: 'LOG_ALL_CALLS', labels: { ...tags }, deletionProtection: false,
      sourceContents: JSON.stringify(steps(project, instance, clone)), dependsOn: [...dependsOn],
    });
    new ProjectIamMember(this, 'invoker', { project, role: 'roles/workflows.invoker', member: account.member });
    new CloudSchedulerJob(this, 'weekly', {
      name: named('gcp-generic', 'restore-test'), region, description: 'Restore test of the ledger', schedule: '30 4 * * 1', timeZone: 'Etc/UTC', attemptDeadline: '320s', retryConfig: { retryCount: 1 },
      httpTarget: { httpMethod: 'POST', uri: `https://workflowexecutions.googleapis.com/v1/${workflow.id}/executions`, oauthToken: { serviceAccountEmail: account.email, scope: 'https://www.googleapis.com/auth/cloud-platform' } },
    });
  }
}

/** A workflow in JSON, as the service reads it. `$${` is how Terraform writes a literal `${`. */
function steps(project: string, source: string, clone: string): unknown {
  const expression = (text: string): string => `$\${${text}}`;
  return {
    main: {
      steps: [
        { name: { assign: [{ clone: expression(`"${clone}-" + string(int(sys.now()))`) }, { back: expression('time.format(sys.now() - 3600)') }] } },
        {
          restore: {
            call: 'googleapis.sqladmin.v1.instances.clone',
            args: { project, instance: source, body: { cloneContext: { destinationInstanceName: expression('clone'), pointInTime: expression('back') } }, connector_params: { timeout: 14_400 } }, result: 'made',
          },
        },
        {
          check: {
            try: {
              steps: [
                { read: { call: 'googleapis.sqladmin.v1.instances.get', args: { project, instance: expression('clone') }, result: 'instance' } },
                { databases: { call: 'googleapis.sqladmin.v1.databases.get', args: { project, instance: expression('clone'), database: 'ccc' }, result: 'database' } },
                { judge: { switch: [{ condition: expression('instance.state == "RUNNABLE" and not(instance.settings.ipConfiguration.ipv4Enabled)'), next: 'report' }] } },
                { refuse: { raise: expression('"the clone does not run as its source does: " + instance.state') } },
                { report: { call: 'sys.log', args: { severity: 'NOTICE', json: { event: 'restore-tested', clone: expression('clone'), pointInTime: expression('back') } } } },
              ],
            },
            except: { as: 'failure', steps: [{ unprotectAfter: { call: 'unprotectAndDelete', args: { project, clone: expression('clone') } } }, { again: { raise: expression('failure') } }] },
          },
        },
        { unprotect: { call: 'unprotectAndDelete', args: { project, clone: expression('clone') } } },
      ],
    },
    // A clone is protected from deletion as its source is.
    unprotectAndDelete: {
      params: ['project', 'clone'],
      steps: [
        { unprotect: { call: 'googleapis.sqladmin.v1.instances.patch', args: { project: expression('project'), instance: expression('clone'), body: { settings: { deletionProtectionEnabled: false } } } } },
        { remove: { call: 'googleapis.sqladmin.v1.instances.delete', args: { project: expression('project'), instance: expression('clone') } } },
      ],
    },
  };
}

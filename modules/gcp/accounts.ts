/** Accounts that the cell runs as: one per role and kind of machine, each with no more than it needs, and no keys (the project forbids them). */
import { ProjectIamMember } from '@cdktf/provider-google/lib/project-iam-member/index.js';
import { ServiceAccount } from '@cdktf/provider-google/lib/service-account/index.js';
import { ServiceAccountIamBinding } from '@cdktf/provider-google/lib/service-account-iam-binding/index.js';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';

/** Of the cluster. `system` may do what device plugins need; the others are held to the restricted profile. */
export const NAMESPACES = { gateway: 'ccc-gateway', counter: 'ccc-counter', metrics: 'ccc-metrics', system: 'ccc-system' } as const;

const NODE_ROLES = ['roles/container.defaultNodeServiceAccount'] as const;
const BROKER_ROLES = ['roles/confidentialcomputing.workloadUser', 'roles/logging.logWriter', 'roles/monitoring.metricWriter'] as const;

export interface AccountsProps {
  readonly named: Namer;
  readonly project: string;
  /** `serviceAccount:` member that makes machines which run as these accounts, and nothing else with them. */
  readonly deployer: string;
}

export class Accounts extends Construct {
  readonly gatewayNodes: ServiceAccount;
  readonly counterNodes: ServiceAccount;
  readonly broker: ServiceAccount;
  readonly gateway: ServiceAccount;

  constructor(scope: Construct, id: string, { named, project, deployer }: AccountsProps) {
    super(scope, id);
    const account = (part: string, displayName: string, roles: readonly string[]): ServiceAccount => {
      const made = new ServiceAccount(this, part, { accountId: accountId(named, part), displayName });
      for (const role of roles) new ProjectIamMember(this, `${part}-${role.replace(/^roles\//, '').replaceAll('.', '-').toLowerCase()}`, { project, role, member: made.member });
      return made;
    };
    this.gatewayNodes = account('gateway-nodes', 'Nodes of gateways', NODE_ROLES);
    this.counterNodes = account('counter-nodes', 'Nodes of counters', NODE_ROLES);
    // Nothing about keys: those hang on the token's claims, not on the account.
    this.broker = account('broker', 'Brokers in Confidential Space', BROKER_ROLES);
    this.gateway = account('gateway', 'Gateways', ['roles/cloudsql.client', 'roles/cloudsql.instanceUser', 'roles/monitoring.metricWriter']);
    // Counters have no account: they pull from the gateway, attest to the broker, and ask nothing of the cloud.
    const adapter = account('metrics', 'Reader of metrics for autoscaling', ['roles/monitoring.viewer']);

    for (const [part, made] of [['gateway-nodes', this.gatewayNodes], ['counter-nodes', this.counterNodes], ['broker', this.broker]] as const) {
      new ServiceAccountIamBinding(this, `${part}-machines`, { serviceAccountId: made.name, role: 'roles/iam.serviceAccountUser', members: [deployer] });
    }
    for (const [part, made, namespace] of [['gateway', this.gateway, NAMESPACES.gateway], ['metrics', adapter, NAMESPACES.metrics]] as const) {
      new ServiceAccountIamBinding(this, `${part}-from-cluster`, { serviceAccountId: made.name, role: 'roles/iam.workloadIdentityUser', members: [`serviceAccount:${project}.svc.id.goog[${namespace}/${part}]`] });
    }
  }
}

export const accountId = (named: Namer, part: string): string => named('service-account', part);
/** Known before the account exists: conditions and annotations of other stacks name it. */
export const accountEmail = (named: Namer, part: string, project: string): string => `${accountId(named, part)}@${project}.iam.gserviceaccount.com`;

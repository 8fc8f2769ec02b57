/** One cell on Google Cloud: everything but the Kubernetes objects, which gcp-k8s.ts holds. */
import { DataGoogleProject } from '@cdktf/provider-google/lib/data-google-project/index.js';
import { ProjectService } from '@cdktf/provider-google/lib/project-service/index.js';
import { DataResource, TerraformResource } from 'cdktf';
import type { Construct } from 'constructs';
import { stateStore } from '../modules/backend.ts';
import { cellFile } from '../modules/cell-config.ts';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { TIERS } from '../modules/environments.ts';
import { Accounts, accountEmail } from '../modules/gcp/accounts.ts';
import { AttestedKey } from '../modules/gcp/attested-key.ts';
import { Audit } from '../modules/gcp/audit.ts';
import { Brokers } from '../modules/gcp/brokers.ts';
import { Budget } from '../modules/gcp/budget.ts';
import { Data } from '../modules/gcp/data.ts';
import { Edge } from '../modules/gcp/edge.ts';
import { Firewall } from '../modules/gcp/firewall.ts';
import { Fleet } from '../modules/gcp/fleet.ts';
import { Guardrails } from '../modules/gcp/guardrails.ts';
import { Identity } from '../modules/gcp/identity.ts';
import { Images, registryOf } from '../modules/gcp/images.ts';
import { InfraKey } from '../modules/gcp/infra-key.ts';
import { KeyDuties } from '../modules/gcp/key-duties.ts';
import { Network } from '../modules/gcp/network.ts';
import { Observability } from '../modules/gcp/observability.ts';
import { RestoreTest } from '../modules/gcp/restore-test.ts';
import { Store } from '../modules/gcp/store.ts';
import { cellVariable } from '../modules/gcp/token-condition.ts';
import { googleProvider } from '../modules/providers.ts';
import { tagsOf } from '../modules/tags.ts';

const APIS = [
  'artifactregistry', 'billingbudgets', 'binaryauthorization', 'certificatemanager', 'cloudkms', 'cloudresourcemanager', 'cloudscheduler', 'compute', 'confidentialcomputing', 'container', 'containeranalysis', 'dns', 'iam', 'iamcredentials', 'logging', 'monitoring', 'orgpolicy', 'servicenetworking', 'sqladmin', 'storage', 'sts', 'workflows',
] as const;

export class GcpStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'gcp', props);
    const { environment, lock, named } = this;
    const { gcp, protect, keys, retention } = environment;
    const { project, projectNumber, region, standbyRegion, zones } = gcp;
    const tags = tagsOf(environment);
    googleProvider(this, environment);
    this.gate(props, 'gcp');
    const apis = APIS.map((api) => new ProjectService(this, `api-${api}`, { project, service: `${api}.googleapis.com`, disableOnDestroy: false }));
    // Addresses and principals are made of the number that the table says: a plan stops where the project has another.
    const projectOfTable = new DataGoogleProject(this, 'project', { projectId: project, lifecycle: { postcondition: [{ condition: `\${self.number == "${projectNumber}"}`, errorMessage: `environments.${environment.name}.gcp.projectNumber is not the number of ${project}.` }] } });
    const ready = new DataResource(this, 'ready', { input: { project }, dependsOn: [...apis, projectOfTable] });

    new Guardrails(this, 'guardrails', { project, residency: environment.residency.gcp });
    const identity = new Identity(this, 'identity', { named, project, projectNumber, repository: environment.repository, githubEnvironment: environment.name, stateBucket: stateStore(environment, 'gcp')['bucket'] ?? '' });
    const accounts = new Accounts(this, 'accounts', { named, project, deployer: identity.apply.member });

    const settings = { named, rotationDays: keys.rotationDays, deletionDays: keys.deletionDays, protect };
    const cell = cellVariable(cellFile(environment, 'gcp').json);
    const broker = accountEmail(named, 'broker', project);
    const attested = new AttestedKey(this, 'attested-key', { ...settings, location: gcp.keyLocation, token: { lock, project, projectNumber, zones, serviceAccount: broker, cell } });
    const infra = new InfraKey(this, 'infra-key', { ...settings, part: 'infra', location: region, projectNumber, agents: ['artifactRegistry', 'compute', 'gke', 'sql', 'storage', 'workflows'] });
    const standby = new InfraKey(this, 'standby-key', { ...settings, part: 'standby', location: standbyRegion, projectNumber, agents: ['sql'] });
    // Who may stop the audit's key stops the audit: it is nobody's who runs data.
    const auditKey = new InfraKey(this, 'audit-key', { ...settings, part: 'audit', location: region, projectNumber, agents: ['logging', 'storage'] });
    new KeyDuties(this, 'key-duties', {
      named, project, projectNumber, administrators: gcp.keyAdministrators, attested: attested.principals, pipeline: accountEmail(named, 'ci-apply', project), dependsOn: [...attested.made, ...identity.made, infra.grant, standby.grant, auditKey.grant],
    });

    const network = new Network(this, 'network', { named, region, cidr: gcp.networkCidr });
    new Firewall(this, 'firewall', { named, networkId: network.networkId, ranges: network.ranges, accounts: { gatewayNodes: accounts.gatewayNodes.email, counterNodes: accounts.counterNodes.email, broker: accounts.broker.email } });
    const images = new Images(this, 'images', {
      named, project, region, keyId: infra.keyId, ringId: infra.ringId, deletionDays: keys.deletionDays, protect, readers: [accounts.gatewayNodes.member, accounts.counterNodes.member, accounts.broker.member], dependsOn: [infra.grant],
    });

    const audit = new Audit(this, 'audit', { named, project, region, keyId: auditKey.keyId, logDays: retention.logs, archiveDays: retention.audit, lock: environment.lock, protect, dependsOn: [auditKey.grant] });
    new Store(this, 'store', { named, region, keyId: infra.keyId, retentionDays: retention.backups, lock: environment.lock, protect, gateway: accounts.gateway.member, logBucket: audit.accessLogBucket, dependsOn: [infra.grant] });
    const data = new Data(this, 'data', {
      named, region, standbyRegion, networkId: network.networkId, keyId: infra.keyId, standbyKeyId: standby.keyId, tier: gcp.database.tier, diskGb: gcp.database.diskGb, backupDays: retention.backups, protect,
      gatewayAccount: accountEmail(named, 'gateway', project), tags, dependsOn: [network.peering, infra.grant, standby.grant, accounts.gateway],
    });

    new RestoreTest(this, 'restore-test', { named, project, region, instance: data.instanceName, keyId: infra.keyId, deployer: identity.apply.member, tags, dependsOn: [infra.grant] });

    new Fleet(this, 'fleet', {
      named, project, region, zones, networkId: network.networkId, subnetId: network.nodeSubnetId, keyId: infra.keyId, gatewayNodes: accounts.gatewayNodes.email, counterNodes: accounts.counterNodes.email, rbacGroup: gcp.rbacGroup, protect, tags,
      gateways: { ...gcp.gateways, machineType: gcp.gatewayMachineType }, counters: { ...gcp.counters, tees: gcp.counterTees, snpMachineType: gcp.snpMachineType, tdxMachineType: gcp.tdxMachineType }, dependsOn: [infra.grant, images.policy],
    });
    new Brokers(this, 'brokers', {
      named, lock, region, zones, machineType: gcp.brokerMachineType, image: gcp.confidentialSpaceImage, registry: registryOf(named, project, region), cell, networkId: network.networkId, subnetId: network.brokerSubnetId, address: network.brokerAddress,
      keyId: infra.keyId, serviceAccount: accounts.broker.email, ...gcp.brokers, canaryPercent: environment.canaryPercent, tags, dependsOn: [infra.grant],
    });

    const host = environment.hosts.gcp;
    new Edge(this, 'edge', { named, domains: [host, `api.${environment.domain}`], requestsPerMinute: 600, tags });
    const observability = new Observability(this, 'observability', {
      named, project, contact: environment.contact, sloTarget: environment.sloTarget, lagLimitSeconds: TIERS[environment.tier].rpoSeconds || 5, queueLimitSeconds: 300, host, database: named('cloud-sql', 'ledger'), tags,
    });
    new Budget(this, 'budget', { named, billingAccount: gcp.billingAccount, projectNumber, limit: environment.budget.gcp, channels: observability.channels });

    // One gate instead of one for each service: nothing is asked of a service before it is switched on.
    for (const resource of this.node.findAll()) {
      if (resource instanceof TerraformResource && resource.terraformResourceType.startsWith('google_') && !(resource instanceof ProjectService)) resource.dependsOn = [...(resource.dependsOn ?? []), `${ready.terraformResourceType}.${ready.friendlyUniqueId}`];
    }
  }
}

/** One cell on Azure: wiring only. What it is made of: modules/azure. */
import { PrivateDnsARecord } from '@cdktf/provider-azurerm/lib/private-dns-a-record/index.js';
import { ResourceGroup } from '@cdktf/provider-azurerm/lib/resource-group/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { UserAssignedIdentity } from '@cdktf/provider-azurerm/lib/user-assigned-identity/index.js';
import { Aspects, Fn, TerraformOutput } from 'cdktf';
import type { Construct } from 'constructs';
import { AttestedKey } from '../modules/azure/attested-key.ts';
import { Audit } from '../modules/azure/audit.ts';
import { Balancer } from '../modules/azure/balancer.ts';
import { Budget } from '../modules/azure/budget.ts';
import { cloudInit } from '../modules/azure/cloud-init.ts';
import { Data, DATABASE } from '../modules/azure/data.ts';
import { Defender } from '../modules/azure/defender.ts';
import { DiskEncryption } from '../modules/azure/disk-encryption.ts';
import { Edge } from '../modules/azure/edge.ts';
import { Fleet } from '../modules/azure/fleet.ts';
import { Identity } from '../modules/azure/identity.ts';
import { InfraKey } from '../modules/azure/infra-key.ts';
import { Network, ORIGIN_PORT } from '../modules/azure/network.ts';
import { Observability } from '../modules/azure/observability.ts';
import { Registry } from '../modules/azure/registry.ts';
import { type AzureScope, guarded, placed } from '../modules/azure/scope.ts';
import { Store } from '../modules/azure/store.ts';
import { cellFile, HOSTS, PORTS } from '../modules/cell-config.ts';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { entriesOf, entryOf, type Generation, GENERATIONS, WORKLOAD_ROLES, type WorkloadRole } from '../modules/measurements.ts';
import { azureProviders } from '../modules/providers.ts';
import { TagEverything, tagsOf } from '../modules/tags.ts';

/** Days that Key Vault keeps what was deleted: the longest there is. */
const SOFT_DELETE_DAYS = 90;
/** A stored message can be neither changed nor deleted for a day; after a month nobody needs its ciphertext. */
const MESSAGE_LOCK_DAYS = 1;
const MESSAGE_KEEP_DAYS = 30;

export class AzureStack extends CellStack {
  constructor(parent: Construct, id: string, props: CellStackProps) {
    super(parent, id, 'azure', props);
    const { environment: e, lock, named } = this;
    const { azure } = e;
    azureProviders(this, e);
    const gate = this.gate(props, 'azure');

    const group = new ResourceGroup(this, 'group', { name: named('resource-group', 'cell'), location: azure.location, lifecycle: guarded(e.protect) });
    const auditGroup = new ResourceGroup(this, 'audit-group', { name: named('resource-group', 'audit'), location: azure.location, lifecycle: guarded(e.protect) });
    const scope: AzureScope = { named, group, location: azure.location, tenantId: azure.tenantId, subscriptionId: azure.subscriptionId, protect: e.protect };
    const replication = azure.pairedReplication ? 'GZRS' : 'ZRS';

    const network = new Network(this, 'network', { scope, cidr: azure.vnetCidr, ddosProtection: azure.ddosProtection });
    const { links } = network;
    const observability = new Observability(this, 'observability', { scope, links, retentionDays: e.retention.logs, sloTarget: e.sloTarget, contact: e.contact, workbookId: azure.workbookId });
    const workspaceId = observability.workspace.id;
    const key = new InfraKey(this, 'infra-key', { scope, links, part: 'inf', rotationDays: e.keys.rotationDays, softDeleteDays: SOFT_DELETE_DAYS });
    const pairedKey = azure.pairedReplication ? new InfraKey(this, 'paired-key', { scope: { ...scope, location: azure.standbyLocation }, links, part: 'geo', rotationDays: e.keys.rotationDays, softDeleteDays: SOFT_DELETE_DAYS }) : undefined;
    const audit = new Audit(this, 'audit', { scope: { ...scope, group: auditGroup }, links, key, replication, undeleteDays: 90, workspaceId, lock: e.lock, retentionDays: e.retention.audit });
    const logs = { workspaceId, archiveId: audit.account.id };
    key.observe(logs);
    pairedKey?.observe(logs);
    network.observe({ archiveId: audit.account.id, workspaceGuid: observability.workspace.workspaceId, workspaceId, days: e.retention.logs });

    const store = new Store(this, 'store', { scope, links, logs, key, replication, undeleteDays: 14, lock: e.lock, lockDays: MESSAGE_LOCK_DAYS, keepDays: MESSAGE_KEEP_DAYS });
    const data = new Data(this, 'data', {
      scope, links, logs, subnetId: network.subnetId('database'), key, ...(pairedKey === undefined ? {} : { pairedKey }), sku: azure.database.sku, storageMb: azure.database.storageMb, zones: azure.zones,
      backupDays: e.retention.backups, administrators: azure.database.administrators, lock: e.lock,
    });
    const registry = new Registry(this, 'registry', { scope, links, logs, key, copyLocation: azure.standbyLocation });
    const attested = new AttestedKey(this, 'attested-key', {
      scope, links, logs, attestationRegion: azure.attestationRegion, broker: entriesOf(lock, 'broker'), tees: [...entriesOf(lock, 'broker'), ...entriesOf(lock, 'counter')],
      softDeleteDays: SOFT_DELETE_DAYS, rotationDays: e.keys.rotationDays, period: azure.keyPeriod,
    });
    attested.node.addDependency(gate);
    const disks = new DiskEncryption(this, 'disk-encryption', { scope, key: attested.diskKey });

    const at = { gateway: network.address('gateway', 10), broker: network.address('broker', 10) };
    const balancers = {
      gateway: new Balancer(this, 'gateway-balancer', {
        scope, logs, role: 'gateway', subnetId: network.subnetId('gateway'), zones: azure.zones, internal: { address: at.gateway, port: PORTS.internal },
        front: { addresses: { blue: network.address('gateway', 11), green: network.address('gateway', 12) }, port: ORIGIN_PORT },
      }),
      broker: new Balancer(this, 'broker-balancer', { scope, logs, role: 'broker', subnetId: network.subnetId('broker'), zones: azure.zones, internal: { address: at.broker, port: PORTS.broker } }),
    };
    for (const role of ['gateway', 'broker'] as const) {
      new PrivateDnsARecord(this, `${role}-name`, { name: role, zoneName: links.zone(HOSTS[role].split('.').slice(1).join('.')).name, resourceGroupName: group.name, ttl: 60, records: [at[role]] });
    }

    const cell = cellFile(e, 'azure');
    const originSecret = `https://${named('key-vault', 'inf')}.vault.azure.net/secrets/origin-tls`;
    const settings: Readonly<Record<WorkloadRole, Readonly<Record<string, string>>>> = {
      gateway: { STORE_URL: store.url },
      broker: { CCC_KEY_URI: attested.dataKeyUri, CCC_ATTESTATION_URI: attested.attestationUri },
      counter: {},
    };
    for (const role of WORKLOAD_ROLES) {
      for (const generation of GENERATIONS) {
        const name = `${role}-${generation}`;
        const identity = new UserAssignedIdentity(this, `${name}-identity`, { ...placed(scope), name: named('azure-generic', name) });
        const grants = [registry.grantPull(name, identity.principalId), ...(role === 'broker' ? attested.grantRelease(name, identity.principalId) : [])];
        if (role === 'gateway') {
          grants.push(
            store.grantMessages(name, identity.principalId), audit.grantAppend(name, identity.principalId), observability.grantSend(name, identity.principalId),
            new RoleAssignment(this, `${name}-certificate`, { scope: `${key.vault.id}/secrets/origin-tls`, roleDefinitionName: 'Key Vault Secrets User', principalId: identity.principalId, principalType: 'ServicePrincipal', description: 'reads the certificate of its origin' }),
          );
        }
        const entry = role === 'gateway' ? (lock.roles.gateway[generation] ?? lock.roles.gateway.blue) : entryOf(lock, role, generation);
        const fleet = new Fleet(this, `${name}-fleet`, {
          scope, logs: { workspaceId }, role, generation, vmSize: azure.vmSize, zones: azure.zones, subnetId: network.subnetId(role), imageId: imageId(azure.images, role, generation), diskEncryptionSetId: disks.set.id,
          attestationUri: attested.attestationUri, adminPublicKey: azure.adminPublicKey, identity, count: share(azure.fleet, generation, e.canaryPercent), dependsOn: [...disks.grants, ...grants],
          scaling: role === 'counter' ? { on: 'queue-age', out: 60, in: 5, backlogPerInstance: 50, telemetryId: observability.telemetry.id } : { on: 'cpu', out: 60, in: 25 },
          customData: cloudInit({
            role, cell, image: `${registry.host}/ccc-${role}@${entry.image}`, tenantId: azure.tenantId, environment: { CCC_CONFIG_DIGEST: cell.digest, ...settings[role] },
            ...(role === 'gateway' ? { tls: { secretUri: originSecret }, database: { host: data.host, user: named('azure-generic', name), name: DATABASE } } : {}),
          }),
          ...(role === 'gateway' ? { userData: Fn.base64encode(observability.telemetry.connectionString) } : {}),
          ...(role === 'counter' ? {} : { pools: balancers[role].poolsOf(generation), probeId: balancers[role].probe.id }),
        });
        if (role !== 'counter') fleet.node.addDependency(...balancers[role].rules);
      }
    }

    const edge = new Edge(this, 'edge', {
      scope, logs, hostNames: { cell: e.hosts.azure, all: `api.${e.domain}` }, originHostName: `origin.${e.hosts.azure}`, balancer: balancers.gateway, linkSubnetId: network.subnetId('link'), canaryPercent: e.canaryPercent, rateLimit: 600,
    });
    observability.metric('edge-origins', { target: edge.profile.id, namespace: 'Microsoft.Cdn/profiles', name: 'OriginHealthPercentage', aggregation: 'Average', operator: 'LessThan', threshold: 50, severity: 0, description: 'Gateways do not answer the edge.' });
    observability.metric('vault-available', { target: attested.vault.id, namespace: 'Microsoft.KeyVault/vaults', name: 'Availability', aggregation: 'Average', operator: 'LessThan', threshold: 99.9, severity: 1, description: 'The vault of the attested key fails.' });
    observability.metric('database-alive', { target: data.server.id, namespace: 'Microsoft.DBforPostgreSQL/flexibleServers', name: 'is_db_alive', aggregation: 'Minimum', operator: 'LessThan', threshold: 1, severity: 0, description: 'The ledger does not answer.' });
    observability.metric('database-storage', { target: data.server.id, namespace: 'Microsoft.DBforPostgreSQL/flexibleServers', name: 'storage_percent', aggregation: 'Maximum', operator: 'GreaterThan', threshold: 80, severity: 2, description: 'The ledger fills its storage.' });
    observability.metric('replica-lag', { target: data.replica.id, namespace: 'Microsoft.DBforPostgreSQL/flexibleServers', name: 'physical_replication_delay_in_seconds', aggregation: 'Maximum', operator: 'GreaterThan', threshold: 30, severity: 1, description: 'The replica is behind.' });
    for (const [name, target] of [['cell', group], ['audit', auditGroup]] as const) {
      new Budget(this, name === 'cell' ? 'budget' : 'audit-budget', {
        scope: { ...scope, group: target }, part: name, amount: name === 'cell' ? e.budget.azure : Math.max(1, Math.round(e.budget.azure / 10)), startDate: azure.budgetStart, contact: e.contact, actionGroupId: observability.actionGroup.id,
      });
    }
    new Defender(this, 'defender', { contact: e.contact });
    new Identity(this, 'identity', {
      scope, infraVaults: { infra: key.vault, ...(pairedKey === undefined ? {} : { paired: pairedKey.vault }) }, groups: { cell: group, audit: auditGroup }, repository: e.repository, deployment: e.name, residency: e.residency.azure,
      locked: e.protect ? { 'attested-vault': attested.vault.id, 'infra-vault': key.vault.id, ledger: data.server.id, store: store.account.id } : {},
    });

    Aspects.of(this).add(new TagEverything(tagsOf(e)));
    new TerraformOutput(this, 'edge-host', { value: edge.endpoint.hostName, description: 'Name behind the public one.' });
    new TerraformOutput(this, 'domain-validation', { value: edge.validation, description: 'TXT records `_dnsauth.<name>` that prove the public names.' });
    new TerraformOutput(this, 'attestation-uri', { value: attested.attestationUri, description: 'Issuer of the tokens that release keys.' });
  }
}

const imageId = ({ subscriptionId, resourceGroup, gallery, versions }: CellStackProps['environment']['azure']['images'], role: WorkloadRole, generation: Generation): string =>
  `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/galleries/${gallery}/images/ccc-${role}/versions/${versions[generation]}`;

/** Green carries the canary's share, rounded up; nothing while there is none. */
function share({ min, max }: { readonly min: number; readonly max: number }, generation: Generation, canaryPercent: number): { min: number; max: number } {
  if (generation === 'blue') return { min, max };
  if (canaryPercent === 0) return { min: 0, max: 0 };
  return { min: Math.max(1, Math.ceil((min * canaryPercent) / 100)), max: Math.max(1, Math.ceil((max * canaryPercent) / 100)) };
}

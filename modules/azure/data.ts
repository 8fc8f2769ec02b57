/** The ledger, which is also the queue: PostgreSQL with a zone-redundant standby, a read replica, backups; identities of the directory only, encrypted with the infrastructure's key. */
import { DataProtectionBackupInstancePostgresqlFlexibleServer } from '@cdktf/provider-azurerm/lib/data-protection-backup-instance-postgresql-flexible-server/index.js';
import { DataProtectionBackupPolicyPostgresqlFlexibleServer } from '@cdktf/provider-azurerm/lib/data-protection-backup-policy-postgresql-flexible-server/index.js';
import { DataProtectionBackupVault } from '@cdktf/provider-azurerm/lib/data-protection-backup-vault/index.js';
import { PostgresqlFlexibleServer } from '@cdktf/provider-azurerm/lib/postgresql-flexible-server/index.js';
import { PostgresqlFlexibleServerActiveDirectoryAdministrator } from '@cdktf/provider-azurerm/lib/postgresql-flexible-server-active-directory-administrator/index.js';
import { PostgresqlFlexibleServerConfiguration } from '@cdktf/provider-azurerm/lib/postgresql-flexible-server-configuration/index.js';
import { PostgresqlFlexibleServerDatabase } from '@cdktf/provider-azurerm/lib/postgresql-flexible-server-database/index.js';
import { PostgresqlFlexibleServerVirtualEndpoint } from '@cdktf/provider-azurerm/lib/postgresql-flexible-server-virtual-endpoint/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import type { InfraKey } from './infra-key.ts';
import type { PrivateLinks } from './private-link.ts';
import { type AzureScope, guarded, placed } from './scope.ts';

/** Settings of the server that matter to a reviewer; names and values are PostgreSQL's and Azure's. */
export const PARAMETERS: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_replication_slots: '16',
  max_wal_senders: '16',
  require_secure_transport: 'on',
  ssl_min_protocol_version: 'TLSv1.2',
  log_checkpoints: 'on',
  log_connections: 'on',
  log_disconnections: 'on',
  log_lock_waits: 'on',
  log_min_duration_statement: '1000',
  // Parameters of statements hold tenants' data.
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  'connection_throttle.enable': 'on',
  'azure.extensions': 'PGAUDIT',
  shared_preload_libraries: 'pgaudit,pg_stat_statements',
  'pgaudit.log': 'ddl,role',
  idle_in_transaction_session_timeout: '60000',
};

export interface DataProps {
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  readonly logs: Destinations;
  readonly subnetId: string;
  readonly key: InfraKey;
  /** Key in the paired region, for backups there; without it backups stay in this one. */
  readonly pairedKey?: InfraKey;
  readonly sku: string;
  readonly storageMb: number;
  readonly zones: readonly string[];
  readonly backupDays: number;
  readonly administrators: { readonly objectId: string; readonly name: string };
  readonly lock: 'reversible' | 'irreversible';
}

export const DATABASE = 'ccc';

export class Data extends Construct {
  readonly server: PostgresqlFlexibleServer;
  readonly replica: PostgresqlFlexibleServer;
  /** The server's name, which follows its standby: names of the virtual endpoint have one label more than the certificate's wildcard. */
  readonly host: string;

  constructor(parent: Construct, id: string, props: DataProps) {
    super(parent, id);
    const { scope, links, logs, zones, key, pairedKey } = props;
    const { named } = scope;
    needWhole('retention.backups', props.backupDays, 7, 35, 'days');
    needWhole('database.storageMb', props.storageMb, 32_768, 33_553_408, 'MiB');
    const [first, second, third] = zones;
    need(first !== undefined && second !== undefined && third !== undefined, 'zones', zones, 'three: the server, its standby and the replica');

    const zoneName = `${named('azure-generic', 'cell')}.private.postgres.database.azure.com`;
    const zone = links.zone(zoneName);
    const user = key.user('database');
    const paired = pairedKey?.user('database');
    const authentication = { activeDirectoryAuthEnabled: true, passwordAuthEnabled: false, tenantId: scope.tenantId };
    const identity = { type: 'UserAssigned', identityIds: [user.identity.id, ...(paired === undefined ? [] : [paired.identity.id])] };
    const customerManagedKey = {
      keyVaultKeyId: key.key.versionlessId, primaryUserAssignedIdentityId: user.identity.id,
      ...(pairedKey === undefined || paired === undefined ? {} : { geoBackupKeyVaultKeyId: pairedKey.key.versionlessId, geoBackupUserAssignedIdentityId: paired.identity.id }),
    };
    const common = { ...placed(scope), delegatedSubnetId: props.subnetId, privateDnsZoneId: zone.id, publicNetworkAccessEnabled: false, skuName: props.sku, storageMb: props.storageMb, autoGrowEnabled: true, version: '16', authentication };
    const linked = links.node.findChild(`zone-link-${zoneName.replaceAll('.', '-')}`);

    this.server = new PostgresqlFlexibleServer(this, 'server', {
      ...common, name: named('postgres-flexible', 'ledger'), createMode: 'Default', zone: first, highAvailability: { mode: 'ZoneRedundant', standbyAvailabilityZone: second },
      backupRetentionDays: props.backupDays, geoRedundantBackupEnabled: pairedKey !== undefined, maintenanceWindow: { dayOfWeek: 0, startHour: 3, startMinute: 0 }, identity, customerManagedKey,
      dependsOn: [user.grant, ...(paired === undefined ? [] : [paired.grant])],
      // A failover swaps the zones; the service says which is which.
      lifecycle: guarded(scope.protect, { ignoreChanges: ['zone', 'high_availability[0].standby_availability_zone'] }),
    });
    this.server.node.addDependency(linked);
    new PostgresqlFlexibleServerActiveDirectoryAdministrator(this, 'administrators', {
      serverName: this.server.name, resourceGroupName: scope.group.name, tenantId: scope.tenantId, objectId: props.administrators.objectId, principalName: props.administrators.name, principalType: 'Group',
    });
    // One after another: the service takes one change at a time, and those that need a restart restart it.
    const settings = (id: string, server: PostgresqlFlexibleServer, wanted: (name: string) => boolean): PostgresqlFlexibleServerConfiguration[] => {
      const made: PostgresqlFlexibleServerConfiguration[] = [];
      for (const [name, value] of Object.entries(PARAMETERS).filter(([name]) => wanted(name))) {
        const previous = made.at(-1);
        made.push(new PostgresqlFlexibleServerConfiguration(this, `${id}-${name.replaceAll(/[._]/g, '-')}`, { name, value, serverId: server.id, ...(previous === undefined ? {} : { dependsOn: [previous] }) }));
      }
      return made;
    };
    const last = settings('server', this.server, () => true).at(-1);
    const database = new PostgresqlFlexibleServerDatabase(this, 'database', { name: DATABASE, serverId: this.server.id, charset: 'UTF8', collation: 'en_US.utf8', lifecycle: guarded(scope.protect) });

    this.replica = new PostgresqlFlexibleServer(this, 'replica', {
      ...common, name: named('postgres-flexible', 'ledger-replica'), createMode: 'Replica', sourceServerId: this.server.id, zone: third, identity: { type: 'UserAssigned', identityIds: [user.identity.id] },
      customerManagedKey: { keyVaultKeyId: key.key.versionlessId, primaryUserAssignedIdentityId: user.identity.id },
      dependsOn: [database, ...(last === undefined ? [] : [last])], lifecycle: guarded(scope.protect, { ignoreChanges: ['zone'] }),
    });
    settings('replica', this.replica, (name) => /^(?:require|ssl|log)_/.test(name));
    const endpoint = new PostgresqlFlexibleServerVirtualEndpoint(this, 'endpoint', { name: named('postgres-flexible', 'ledger-endpoint'), sourceServerId: this.server.id, replicaServerId: this.replica.id, type: 'ReadWrite' });
    endpoint.node.addDependency(database);
    this.host = `${named('postgres-flexible', 'ledger')}.postgres.database.azure.com`;

    this.#backup(props);
    diagnose(this, 'server-logs', this.server.id, logs);
    diagnose(this, 'replica-logs', this.replica.id, logs);
  }

  /** Copies apart from the server's own, which die with it; what restore drills restore from. */
  #backup({ scope, lock, pairedKey, logs }: DataProps): void {
    const { named } = scope;
    const vault = new DataProtectionBackupVault(this, 'backup-vault', {
      ...placed(scope), name: named('azure-generic', 'backup'), datastoreType: 'VaultStore', redundancy: pairedKey === undefined ? 'ZoneRedundant' : 'GeoRedundant', ...(pairedKey === undefined ? {} : { crossRegionRestoreEnabled: true }),
      immutability: lock === 'irreversible' ? 'Locked' : 'Unlocked', softDelete: 'On', retentionDurationInDays: 30, identity: { type: 'SystemAssigned' }, lifecycle: guarded(scope.protect),
    });
    const policy = new DataProtectionBackupPolicyPostgresqlFlexibleServer(this, 'backup-policy', {
      name: named('azure-generic', 'weekly'), vaultId: vault.id, timeZone: 'UTC', backupRepeatingTimeIntervals: ['R/2026-12-06T02:30:00+00:00/P1W'],
      defaultRetentionRule: { lifeCycle: [{ dataStoreType: 'VaultStore', duration: 'P12M' }] },
    });
    const grants = [
      new RoleAssignment(this, 'backup-server', { scope: this.server.id, roleDefinitionName: 'PostgreSQL Flexible Server Long Term Retention Backup Role', principalId: vault.identity.principalId, principalType: 'ServicePrincipal', description: 'backups' }),
      new RoleAssignment(this, 'backup-group', { scope: scope.group.id, roleDefinitionName: 'Reader', principalId: vault.identity.principalId, principalType: 'ServicePrincipal', description: 'backups' }),
    ];
    new DataProtectionBackupInstancePostgresqlFlexibleServer(this, 'backup', { name: named('azure-generic', 'ledger'), location: scope.location, vaultId: vault.id, serverId: this.server.id, backupPolicyId: policy.id, dependsOn: grants });
    diagnose(this, 'backup-logs', vault.id, logs);
  }
}

/**
 * The ledger: Aurora PostgreSQL, writer and reader in different zones, IAM authentication, point-in-time recovery. It holds ciphertext digests, counts and sealed
 * keys, no plaintext: Aurora is no TEE. Cells replicate among each other by logical replication (the standby is another cell), so the standby region needs no
 * running database but backups: a locked vault here, copies in a locked vault there, and a restore test every week.
 */
import { BackupPlan } from '@cdktf/provider-aws/lib/backup-plan/index.js';
import { BackupRestoreTestingPlan } from '@cdktf/provider-aws/lib/backup-restore-testing-plan/index.js';
import { BackupRestoreTestingSelection } from '@cdktf/provider-aws/lib/backup-restore-testing-selection/index.js';
import { BackupSelection } from '@cdktf/provider-aws/lib/backup-selection/index.js';
import { BackupVaultLockConfiguration } from '@cdktf/provider-aws/lib/backup-vault-lock-configuration/index.js';
import { BackupVaultNotifications } from '@cdktf/provider-aws/lib/backup-vault-notifications/index.js';
import { BackupVault } from '@cdktf/provider-aws/lib/backup-vault/index.js';
import { DbSubnetGroup } from '@cdktf/provider-aws/lib/db-subnet-group/index.js';
import { IamRolePolicyAttachment } from '@cdktf/provider-aws/lib/iam-role-policy-attachment/index.js';
import { RdsClusterInstance } from '@cdktf/provider-aws/lib/rds-cluster-instance/index.js';
import { RdsClusterParameterGroup } from '@cdktf/provider-aws/lib/rds-cluster-parameter-group/index.js';
import { RdsCluster } from '@cdktf/provider-aws/lib/rds-cluster/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { type LogSettings, logGroup } from './log-group.ts';
import { serviceRole } from './policy.ts';

/** Name of the database and of the role that gateways log in as, with a token of IAM instead of a password. */
export const DATABASE = { name: 'ccc', user: 'ccc_gateway' } as const;

export interface DataProps {
  readonly named: Namer;
  readonly account: string;
  readonly standbyRegion: string;
  readonly zones: readonly string[];
  readonly subnets: readonly string[];
  readonly group: string;
  /** Aurora capacity units, in halves. */
  readonly capacity: { readonly min: number; readonly max: number };
  readonly keyArn: string;
  readonly standbyKeyArn: string;
  readonly logs: LogSettings;
  readonly boundary: string;
  readonly backupDays: number;
  /** Vault locks that nobody can remove after three days. */
  readonly lock: 'reversible' | 'irreversible';
  readonly protect: boolean;
  readonly alertTopic: string;
}

export class Data extends Construct {
  readonly endpoint: string;
  readonly resourceId: string;
  readonly identifier: string;

  constructor(scope: Construct, id: string, props: DataProps) {
    super(scope, id);
    const { named, account, standbyRegion, zones, subnets, group, capacity, keyArn, standbyKeyArn, logs, boundary, backupDays, lock, protect, alertTopic } = props;
    needWhole('retention.backups', backupDays, 7, 35, 'days');
    for (const [field, units] of Object.entries(capacity)) need(units >= 0.5 && units <= 256 && Number.isInteger(units * 2), `aws.database.${field}Capacity`, units, 'from 0.5 to 256 capacity units, in halves');
    need(capacity.max >= capacity.min && capacity.max >= 1, 'aws.database.maxCapacity', capacity.max, 'at least 1 and the minimum');

    const identifier = named('rds', 'ledger');
    this.identifier = identifier;
    const parameters = new RdsClusterParameterGroup(this, 'parameters', {
      name: named('rds', 'ledger-16'), family: 'aurora-postgresql16', description: 'TLS only, logical replication between cells, statements that change structure are logged',
      parameter: [
        { name: 'rds.force_ssl', value: '1', applyMethod: 'pending-reboot' },
        { name: 'ssl_min_protocol_version', value: 'TLSv1.2', applyMethod: 'pending-reboot' },
        { name: 'rds.logical_replication', value: '1', applyMethod: 'pending-reboot' },
        { name: 'max_replication_slots', value: '20', applyMethod: 'pending-reboot' },
        { name: 'max_wal_senders', value: '20', applyMethod: 'pending-reboot' },
        { name: 'log_connections', value: '1', applyMethod: 'immediate' },
        { name: 'log_disconnections', value: '1', applyMethod: 'immediate' },
        // Never `all`, nor durations with their statements: parameters of statements must not reach logs.
        { name: 'log_statement', value: 'ddl', applyMethod: 'immediate' },
        { name: 'log_min_duration_statement', value: '-1', applyMethod: 'immediate' },
      ],
    });
    const subnetGroup = new DbSubnetGroup(this, 'subnets', { name: named('rds', 'ledger'), description: 'Data tier', subnetIds: [...subnets] });
    // The service writes into a group of this name; made here, so that it is encrypted and kept.
    const group_ = logGroup(this, 'logs', `/aws/rds/cluster/${identifier}/postgresql`, logs);
    const monitoring = serviceRole(this, 'monitoring', { name: named('iam-role', 'rds-monitoring'), principal: 'monitoring.rds.amazonaws.com', account, boundary });
    const monitored = new IamRolePolicyAttachment(this, 'monitoring-policy', { role: monitoring.name, policyArn: 'arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole' });
    const cluster = new RdsCluster(this, 'ledger', {
      clusterIdentifier: identifier, engine: 'aurora-postgresql', engineMode: 'provisioned', engineVersion: '16.6', databaseName: DATABASE.name, port: 5_432, availabilityZones: [...zones],
      // Made and rotated by RDS, in no state; used once, to make the role that logs in by IAM.
      masterUsername: 'ccc_owner', manageMasterUserPassword: true, masterUserSecretKmsKeyId: keyArn, iamDatabaseAuthenticationEnabled: true,
      storageEncrypted: true, kmsKeyId: keyArn, dbSubnetGroupName: subnetGroup.name, vpcSecurityGroupIds: [group], dbClusterParameterGroupName: parameters.name, enabledCloudwatchLogsExports: ['postgresql'],
      backupRetentionPeriod: backupDays, preferredBackupWindow: '02:00-03:00', preferredMaintenanceWindow: 'sun:04:00-sun:05:00', copyTagsToSnapshot: true, deleteAutomatedBackups: false, deletionProtection: protect, skipFinalSnapshot: !protect,
      ...(protect ? { finalSnapshotIdentifier: named('rds', 'ledger-final') } : {}), allowMajorVersionUpgrade: false, applyImmediately: false, serverlessv2ScalingConfiguration: { minCapacity: capacity.min, maxCapacity: capacity.max },
      lifecycle: {
        preventDestroy: protect,
        // Minor versions are rolled by the service in the maintenance window; Aurora adds zones of its own choice.
        ignoreChanges: ['engine_version', 'availability_zones'],
      },
      dependsOn: [group_],
    });
    for (const [tier, part] of ['writer', 'reader'].entries()) {
      new RdsClusterInstance(this, part, {
        identifier: named('rds', `ledger-${part}`), clusterIdentifier: cluster.id, engine: 'aurora-postgresql', instanceClass: 'db.serverless', promotionTier: tier, availabilityZone: zones[tier] ?? '', publiclyAccessible: false, autoMinorVersionUpgrade: true, copyTagsToSnapshot: true,
        caCertIdentifier: 'rds-ca-rsa2048-g1', performanceInsightsEnabled: true, performanceInsightsKmsKeyId: keyArn, performanceInsightsRetentionPeriod: 7, monitoringInterval: 60, monitoringRoleArn: monitoring.arn, lifecycle: { preventDestroy: protect }, dependsOn: [monitored],
      });
    }
    this.endpoint = cluster.endpoint;
    this.resourceId = cluster.clusterResourceId;

    const vault = (part: string, key: string, region?: string): BackupVault => {
      const at = region === undefined ? {} : { region };
      const made = new BackupVault(this, part, { ...at, name: named('aws-generic', part), kmsKeyArn: key, forceDestroy: false, lifecycle: { preventDestroy: protect } });
      // Without days of grace the lock is in governance mode; with them nobody can remove it once they are over.
      new BackupVaultLockConfiguration(this, `${part}-lock`, { ...at, backupVaultName: made.name, minRetentionDays: 7, maxRetentionDays: 400, ...(lock === 'irreversible' ? { changeableForDays: 3 } : {}) });
      return made;
    };
    const here = vault('backups', keyArn);
    const there = vault('backups-copy', standbyKeyArn, standbyRegion);
    new BackupVaultNotifications(this, 'backup-notices', { backupVaultName: here.name, snsTopicArn: alertTopic, backupVaultEvents: ['BACKUP_JOB_FAILED', 'COPY_JOB_FAILED', 'RESTORE_JOB_COMPLETED', 'RECOVERY_POINT_MODIFIED'] });
    const plan = new BackupPlan(this, 'backup-plan', {
      name: named('aws-generic', 'ledger'),
      rule: [{
        ruleName: 'daily', targetVaultName: here.name, schedule: 'cron(0 3 * * ? *)', scheduleExpressionTimezone: 'Etc/UTC', startWindow: 60, completionWindow: 240, lifecycle: { deleteAfter: backupDays },
        copyAction: [{ destinationVaultArn: there.arn, lifecycle: { deleteAfter: backupDays } }],
      }],
    });
    const role = serviceRole(this, 'backup-role', { name: named('iam-role', 'backup'), principal: 'backup.amazonaws.com', account, boundary });
    for (const [part, policy] of [['backup', 'AWSBackupServiceRolePolicyForBackup'], ['restore', 'AWSBackupServiceRolePolicyForRestores']] as const) {
      new IamRolePolicyAttachment(this, `${part}-policy`, { role: role.name, policyArn: `arn:aws:iam::aws:policy/service-role/${policy}` });
    }
    new BackupSelection(this, 'backup-selection', { name: named('aws-generic', 'ledger'), planId: plan.id, iamRoleArn: role.arn, resources: [cluster.arn] });
    // Names of restore tests know no hyphens.
    const test = new BackupRestoreTestingPlan(this, 'restore-test', {
      name: named('aws-generic', 'restore').replaceAll('-', '_'), scheduleExpression: 'cron(0 6 ? * MON *)', scheduleExpressionTimezone: 'Etc/UTC', startWindowHours: 4,
      recoveryPointSelection: [{ algorithm: 'LATEST_WITHIN_WINDOW', includeVaults: [here.arn], recoveryPointTypes: ['SNAPSHOT'], selectionWindowDays: 7 }],
    });
    new BackupRestoreTestingSelection(this, 'restore-test-selection', {
      name: named('aws-generic', 'ledger').replaceAll('-', '_'), restoreTestingPlanName: test.name, protectedResourceType: 'Aurora', iamRoleArn: role.arn, protectedResourceArns: [cluster.arn], validationWindowHours: 1,
      restoreMetadataOverrides: { dbSubnetGroupName: subnetGroup.name, vpcSecurityGroupIds: `["${group}"]` },
    });
  }
}

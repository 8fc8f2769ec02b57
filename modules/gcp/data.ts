/**
 * The ledger: PostgreSQL on Cloud SQL. Private address only, IAM authentication only (gateways through the Cloud SQL connector, which makes client certificates;
 * no password of any user exists), two zones, a replica in the standby region, point-in-time recovery. It is no TEE: it holds ciphertext, counts and receipts.
 *
 * Restores are tested every week (restore-test.ts).
 */
import { SqlDatabase } from '@cdktf/provider-google/lib/sql-database/index.js';
import { SqlDatabaseInstance, type SqlDatabaseInstanceSettings } from '@cdktf/provider-google/lib/sql-database-instance/index.js';
import { SqlUser } from '@cdktf/provider-google/lib/sql-user/index.js';
import { type ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';

/** Logical decoding: cells replicate to each other. Statements are not logged: parameters of a statement are nobody's business but the ledger's. */
const FLAGS = {
  'cloudsql.enable_pgaudit': 'on', 'cloudsql.iam_authentication': 'on', 'cloudsql.logical_decoding': 'on', 'log_checkpoints': 'on', 'log_connections': 'on', 'log_disconnections': 'on', 'log_duration': 'off', 'log_hostname': 'off', 'log_lock_waits': 'on',
  'log_min_duration_statement': '-1', 'log_min_error_statement': 'error', 'log_min_messages': 'warning', 'log_parameter_max_length': '0', 'log_parameter_max_length_on_error': '0', 'log_statement': 'ddl', 'log_temp_files': '0', 'max_replication_slots': '20', 'max_wal_senders': '20',
  'pgaudit.log': 'role,ddl',
} as const;

export interface DataProps {
  readonly named: Namer;
  readonly region: string;
  readonly standbyRegion: string;
  readonly networkId: string;
  /** Keys of the two regions: a replica is encrypted with one of its own region. */
  readonly keyId: string;
  readonly standbyKeyId: string;
  readonly tier: string;
  readonly diskGb: number;
  /** Days; point in time within the last seven of them. */
  readonly backupDays: number;
  readonly protect: boolean;
  /** Address of the gateway's account. */
  readonly gatewayAccount: string;
  readonly tags: Tags;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class Data extends Construct {
  readonly connectionName: string;
  readonly instanceName: string;

  constructor(scope: Construct, id: string, props: DataProps) {
    super(scope, id);
    const { named, region, standbyRegion, protect } = props;
    needWhole(`${id}.backupDays`, props.backupDays, 7, 365, 'days');
    needWhole(`${id}.diskGb`, props.diskGb, 10, 65_536, 'GB');
    need(/^db-(?:custom-[0-9]+-[0-9]+|perf-optimized-N-[0-9]+)$/.test(props.tier), `${id}.tier`, props.tier, 'a tier as db-custom-2-7680');
    need(region !== standbyRegion, `${id}.standbyRegion`, standbyRegion, 'another region than the primary');

    // One object for both: a replica with other flags, or without client certificates, is a hole that opens on failover.
    const settings = {
      tier: props.tier, edition: 'ENTERPRISE', diskType: 'PD_SSD', diskSize: props.diskGb, diskAutoresize: true, deletionProtectionEnabled: protect, retainBackupsOnDelete: true, userLabels: { ...props.tags },
      ipConfiguration: { ipv4Enabled: false, privateNetwork: props.networkId, sslMode: 'TRUSTED_CLIENT_CERTIFICATE_REQUIRED', enablePrivatePathForGoogleCloudServices: false },
      databaseFlags: Object.entries(FLAGS).map(([name, value]) => ({ name, value })),
      // No query strings, no client addresses: counts and times only.
      insightsConfig: { queryInsightsEnabled: true, queryStringLength: 256, recordApplicationTags: false, recordClientAddress: false },
      maintenanceWindow: { day: 7, hour: 3, updateTrack: 'stable' },
    } satisfies SqlDatabaseInstanceSettings;
    const lifecycle = {
      preventDestroy: protect,
      // It grows by itself and never shrinks.
      ignoreChanges: ['settings[0].disk_size'],
    };
    const primary = new SqlDatabaseInstance(this, 'primary', {
      name: named('cloud-sql', 'ledger'), databaseVersion: 'POSTGRES_16', region, encryptionKeyName: props.keyId, deletionProtection: protect, lifecycle, dependsOn: [...props.dependsOn],
      settings: {
        ...settings, availabilityType: 'REGIONAL',
        backupConfiguration: { enabled: true, startTime: '02:00', location: region, pointInTimeRecoveryEnabled: true, transactionLogRetentionDays: 7, backupRetentionSettings: { retainedBackups: props.backupDays, retentionUnit: 'COUNT' } },
      },
    });
    this.connectionName = primary.connectionName;
    this.instanceName = primary.name;
    new SqlDatabaseInstance(this, 'standby', {
      name: named('cloud-sql', 'ledger-standby'), databaseVersion: 'POSTGRES_16', region: standbyRegion, masterInstanceName: primary.name, encryptionKeyName: props.standbyKeyId, deletionProtection: protect, lifecycle,
      settings: { ...settings, availabilityType: 'REGIONAL' }, dependsOn: [...props.dependsOn],
    });
    new SqlDatabase(this, 'ledger', { name: 'ccc', instance: primary.name, charset: 'UTF8', collation: 'en_US.UTF8', deletionPolicy: 'ABANDON' });
    // PostgreSQL's names of accounts have no `.gserviceaccount.com`.
    new SqlUser(this, 'gateway', { instance: primary.name, type: 'CLOUD_IAM_SERVICE_ACCOUNT', name: props.gatewayAccount.replace(/\.gserviceaccount\.com$/, '') });
  }
}

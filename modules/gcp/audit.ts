/**
 * Immutable audit storage, apart from data: a log bucket that is searched and an object bucket that outlives it, both filled by sinks, both with a retention
 * that in prod nobody can shorten. Reads of keys, secrets and data are logged too, which Google Cloud does not by default.
 */
import { LoggingProjectBucketConfig } from '@cdktf/provider-google/lib/logging-project-bucket-config/index.js';
import { LoggingProjectSink } from '@cdktf/provider-google/lib/logging-project-sink/index.js';
import { ProjectIamAuditConfig } from '@cdktf/provider-google/lib/project-iam-audit-config/index.js';
import { StorageBucket } from '@cdktf/provider-google/lib/storage-bucket/index.js';
import { StorageBucketIamBinding } from '@cdktf/provider-google/lib/storage-bucket-iam-binding/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';

const AUDITED = ['artifactregistry', 'binaryauthorization', 'cloudkms', 'cloudsql', 'compute', 'confidentialcomputing', 'container', 'iam', 'iamcredentials', 'logging', 'storage', 'sts'] as const;
const AUDIT_LOGS = 'log_id("cloudaudit.googleapis.com/activity") OR log_id("cloudaudit.googleapis.com/data_access") OR log_id("cloudaudit.googleapis.com/system_event") OR log_id("cloudaudit.googleapis.com/policy")';

export interface AuditProps {
  readonly named: Namer;
  readonly project: string;
  readonly region: string;
  readonly keyId: string;
  /** Days: of the searchable logs (365 to 3650), and of the archive (365 and more). */
  readonly logDays: number;
  readonly archiveDays: number;
  readonly lock: 'reversible' | 'irreversible';
  readonly protect: boolean;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class Audit extends Construct {
  /** For usage logs of other buckets. */
  readonly accessLogBucket: string;

  constructor(scope: Construct, id: string, props: AuditProps) {
    super(scope, id);
    const { named, project, region, keyId, logDays, archiveDays, protect } = props;
    needWhole(`${id}.logDays`, logDays, 365, 3_650, 'days');
    needWhole(`${id}.archiveDays`, archiveDays, 365, 36_500, 'days');
    const locked = props.lock === 'irreversible';
    const lifecycle = { preventDestroy: protect };

    for (const service of AUDITED) {
      new ProjectIamAuditConfig(this, `reads-${service}`, { project, service: `${service}.googleapis.com`, auditLogConfig: [{ logType: 'ADMIN_READ' }, { logType: 'DATA_READ' }, { logType: 'DATA_WRITE' }] });
    }

    const bucket = (part: string, days: number, logBucket?: string): StorageBucket =>
      new StorageBucket(this, part, {
        name: named('gcs-bucket', part), location: region, storageClass: 'STANDARD', uniformBucketLevelAccess: true, publicAccessPrevention: 'enforced', forceDestroy: false, encryption: { defaultKmsKeyName: keyId },
        retentionPolicy: { retentionPeriod: days * 86_400, isLocked: locked }, softDeletePolicy: { retentionDurationSeconds: 7 * 86_400 },
        lifecycleRule: [{ action: { type: 'SetStorageClass', storageClass: 'COLDLINE' }, condition: { age: 90 } }, { action: { type: 'Delete' }, condition: { age: days + 1 } }],
        ...(logBucket === undefined ? {} : { logging: { logBucket, logObjectPrefix: part } }), lifecycle, dependsOn: [...props.dependsOn],
      });
    const access = bucket('access-logs', logDays);
    this.accessLogBucket = access.name;
    // Usage logs are written by Google's analytics group, on uniform buckets by this grant.
    new StorageBucketIamBinding(this, 'access-logs-writer', { bucket: access.name, role: 'roles/storage.objectCreator', members: ['group:cloud-storage-analytics@google.com'] });
    const archive = bucket('audit', archiveDays, access.name);

    const searchable = new LoggingProjectBucketConfig(this, 'logs', { project, location: region, bucketId: named('gcp-generic', 'audit'), description: 'Audit logs, searchable', retentionDays: logDays, locked, enableAnalytics: true, cmekSettings: { kmsKeyName: keyId }, lifecycle, dependsOn: [...props.dependsOn] });
    const workloads = new LoggingProjectBucketConfig(this, 'workload-logs', { project, location: region, bucketId: named('gcp-generic', 'workloads'), description: 'Logs of workloads, network and load balancer', retentionDays: logDays, locked, cmekSettings: { kmsKeyName: keyId }, lifecycle, dependsOn: [...props.dependsOn] });
    // The project's own bucket is global and keeps thirty days: residency and retention ask for ours instead.
    new LoggingProjectSink(this, 'default-off', { name: '_Default', destination: `logging.googleapis.com/${workloads.id}`, filter: `NOT (${AUDIT_LOGS})`, uniqueWriterIdentity: true });

    const toArchive = new LoggingProjectSink(this, 'to-archive', { name: named('gcp-generic', 'audit-archive'), destination: `storage.googleapis.com/${archive.name}`, filter: AUDIT_LOGS, uniqueWriterIdentity: true });
    new StorageBucketIamBinding(this, 'archive-writer', { bucket: archive.name, role: 'roles/storage.objectCreator', members: [toArchive.writerIdentity] });
    // A bucket of the same project needs no grant: this sink has no writer.
    new LoggingProjectSink(this, 'to-logs', { name: named('gcp-generic', 'audit-logs'), destination: `logging.googleapis.com/${searchable.id}`, filter: AUDIT_LOGS, uniqueWriterIdentity: true });
  }
}

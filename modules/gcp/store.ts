/**
 * The object store: ciphertext of messages, nothing else. A retention policy keeps each object as long as the oldest backup of the ledger that names it.
 * Erasure does not wait for that: it destroys the tenant's key versions. Versioning is off because Cloud Storage allows one of the two on a bucket.
 */
import { StorageBucket } from '@cdktf/provider-google/lib/storage-bucket/index.js';
import { StorageBucketIamBinding } from '@cdktf/provider-google/lib/storage-bucket-iam-binding/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';

export interface StoreProps {
  readonly named: Namer;
  readonly region: string;
  readonly keyId: string;
  /** Days that an object cannot be deleted or replaced. */
  readonly retentionDays: number;
  readonly lock: 'reversible' | 'irreversible';
  readonly protect: boolean;
  /** `serviceAccount:` member that writes and reads ciphertext: the gateway. */
  readonly gateway: string;
  /** Bucket for usage logs. */
  readonly logBucket: string;
  readonly dependsOn: readonly ITerraformDependable[];
}

export class Store extends Construct {
  readonly bucketName: string;

  constructor(scope: Construct, id: string, props: StoreProps) {
    super(scope, id);
    needWhole(`${id}.retentionDays`, props.retentionDays, 1, 3_650, 'days');
    const bucket = new StorageBucket(this, 'ciphertext', {
      name: props.named('gcs-bucket', 'ciphertext'), location: props.region, storageClass: 'STANDARD', uniformBucketLevelAccess: true, publicAccessPrevention: 'enforced', forceDestroy: false,
      encryption: { defaultKmsKeyName: props.keyId }, retentionPolicy: { retentionPeriod: props.retentionDays * 86_400, isLocked: props.lock === 'irreversible' }, softDeletePolicy: { retentionDurationSeconds: 7 * 86_400 },
      logging: { logBucket: props.logBucket, logObjectPrefix: 'ciphertext' },
      lifecycleRule: [
        { action: { type: 'AbortIncompleteMultipartUpload' }, condition: { age: 1 } },
        { action: { type: 'SetStorageClass', storageClass: 'NEARLINE' }, condition: { age: 30 } },
      ],
      lifecycle: { preventDestroy: props.protect }, dependsOn: [...props.dependsOn],
    });
    this.bucketName = bucket.name;
    new StorageBucketIamBinding(this, 'gateway', { bucket: bucket.name, role: 'roles/storage.objectUser', members: [props.gateway] });
  }
}

/** One bucket with everything on it that a bucket here has: versions, encryption, no public access, TLS only, owner enforced, lifecycle, lock. */
import { S3BucketLifecycleConfiguration } from '@cdktf/provider-aws/lib/s3-bucket-lifecycle-configuration/index.js';
import { S3BucketLoggingA } from '@cdktf/provider-aws/lib/s3-bucket-logging/index.js';
import { S3BucketObjectLockConfigurationA } from '@cdktf/provider-aws/lib/s3-bucket-object-lock-configuration/index.js';
import { S3BucketOwnershipControls } from '@cdktf/provider-aws/lib/s3-bucket-ownership-controls/index.js';
import { S3BucketPolicy } from '@cdktf/provider-aws/lib/s3-bucket-policy/index.js';
import { S3BucketPublicAccessBlock } from '@cdktf/provider-aws/lib/s3-bucket-public-access-block/index.js';
import { S3BucketServerSideEncryptionConfigurationA } from '@cdktf/provider-aws/lib/s3-bucket-server-side-encryption-configuration/index.js';
import { S3BucketVersioningA } from '@cdktf/provider-aws/lib/s3-bucket-versioning/index.js';
import { S3Bucket } from '@cdktf/provider-aws/lib/s3-bucket/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import { ANYONE, policyDocument, type Statement, when } from './policy.ts';

/** COMPLIANCE can be removed by nobody, not even the account's root, until the days are over. */
export interface ObjectLock { readonly mode: 'GOVERNANCE' | 'COMPLIANCE'; readonly days: number }

export interface BucketProps {
  /** Globally unique. */
  readonly name: string;
  readonly region?: string;
  /** None: keys of S3 (the log deliveries of S3 and of load balancers know no other). */
  readonly keyArn?: string;
  readonly lock?: ObjectLock;
  /** Days until versions that are no longer current go, and all objects where `expire`. */
  readonly lifecycle: { readonly staleDays: number; readonly expireDays?: number; readonly coldDays?: number };
  /** Bucket of access logs. */
  readonly accessLogs?: string;
  readonly policy?: readonly Statement[];
  readonly protect: boolean;
}

export class Bucket extends Construct {
  readonly name: string;
  readonly id: string;
  readonly arn: string;
  /** Replication waits for it. */
  readonly versioning: S3BucketVersioningA;
  readonly policy: S3BucketPolicy;

  constructor(scope: Construct, id: string, { name, region, keyArn, lock, lifecycle, accessLogs, policy = [], protect }: BucketProps) {
    super(scope, id);
    needWhole(`${id}.lifecycle.staleDays`, lifecycle.staleDays, 1, 3_653, 'days');
    if (lock !== undefined) needWhole(`${id}.lock.days`, lock.days, 1, 3_653, 'days');
    const at = region === undefined ? {} : { region };
    const bucket = new S3Bucket(this, 'bucket', { ...at, bucket: name, objectLockEnabled: true, forceDestroy: false, lifecycle: { preventDestroy: protect } });
    this.versioning = new S3BucketVersioningA(this, 'versioning', { ...at, bucket: bucket.id, versioningConfiguration: { status: 'Enabled' } });
    new S3BucketPublicAccessBlock(this, 'private', { ...at, bucket: bucket.id, blockPublicAcls: true, blockPublicPolicy: true, ignorePublicAcls: true, restrictPublicBuckets: true });
    new S3BucketOwnershipControls(this, 'ownership', { ...at, bucket: bucket.id, rule: { objectOwnership: 'BucketOwnerEnforced' } });
    new S3BucketServerSideEncryptionConfigurationA(this, 'encryption', {
      ...at, bucket: bucket.id,
      rule: [keyArn === undefined ? { applyServerSideEncryptionByDefault: { sseAlgorithm: 'AES256' } } : { bucketKeyEnabled: true, applyServerSideEncryptionByDefault: { sseAlgorithm: 'aws:kms', kmsMasterKeyId: keyArn } }],
    });
    if (lock !== undefined) new S3BucketObjectLockConfigurationA(this, 'lock', { ...at, bucket: bucket.id, objectLockEnabled: 'Enabled', rule: { defaultRetention: { mode: lock.mode, days: lock.days } }, dependsOn: [this.versioning] });
    new S3BucketLifecycleConfiguration(this, 'lifecycle', {
      ...at, bucket: bucket.id, dependsOn: [this.versioning],
      rule: [{
        id: 'age', status: 'Enabled', filter: [{ prefix: '' }],
        abortIncompleteMultipartUpload: [{ daysAfterInitiation: 1 }],
        noncurrentVersionExpiration: [{ noncurrentDays: lifecycle.staleDays }],
        // Marks of deletions go with the last version they hid.
        expiration: [lifecycle.expireDays === undefined ? { expiredObjectDeleteMarker: true } : { days: lifecycle.expireDays }],
        ...(lifecycle.coldDays === undefined ? {} : { transition: [{ days: lifecycle.coldDays, storageClass: 'GLACIER_IR' }] }),
      }],
    });
    if (accessLogs !== undefined) new S3BucketLoggingA(this, 'logging', { ...at, bucket: bucket.id, targetBucket: accessLogs, targetPrefix: `s3/${name}/` });
    const both = [bucket.arn, `${bucket.arn}/*`];
    this.policy = new S3BucketPolicy(this, 'policy', {
      ...at, bucket: bucket.id,
      policy: policyDocument(this, 'policy-document', [
        { sid: 'TlsOnly', effect: 'Deny', actions: ['s3:*'], resources: both, principals: ANYONE, condition: [when('Bool', 'aws:SecureTransport', 'false')] },
        { sid: 'ModernTlsOnly', effect: 'Deny', actions: ['s3:*'], resources: both, principals: ANYONE, condition: [when('NumericLessThan', 's3:TlsVersion', '1.2')] },
        ...policy,
      ]),
    });
    this.name = name;
    this.id = bucket.id;
    this.arn = bucket.arn;
  }
}

/**
 * Buckets: `images` (ciphertext only; clients encrypt to attested keys), `eif` (enclave files by PCR0, and the owner's signed documents), `access-logs`; copies of the
 * first two in the standby region. ECR holds the gateway's image, by digest.
 */
import { EcrLifecyclePolicy } from '@cdktf/provider-aws/lib/ecr-lifecycle-policy/index.js';
import { EcrRepository } from '@cdktf/provider-aws/lib/ecr-repository/index.js';
import { S3BucketReplicationConfigurationA } from '@cdktf/provider-aws/lib/s3-bucket-replication-configuration/index.js';
import { Fn } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { Bucket, type ObjectLock } from './bucket.ts';
import { fromAccount, serviceRole, service, when } from './policy.ts';

export interface StoreProps {
  readonly named: Namer;
  readonly account: string;
  readonly region: string;
  readonly standbyRegion: string;
  readonly keyArn: string;
  readonly standbyKeyArn: string;
  readonly boundary: string;
  readonly lockMode: ObjectLock['mode'];
  /** Ciphertext stays at least so long, whoever deletes it; the sweeper's deletions take effect after it. */
  readonly imageLockDays: number;
  /** Enclave files stay at least as long as a roll back may want them. */
  readonly eifLockDays: number;
  readonly logDays: number;
  readonly protect: boolean;
}

export class Store extends Construct {
  readonly images: Bucket;
  readonly eif: Bucket;
  readonly accessLogs: Bucket;
  readonly repositoryArn: string;
  readonly repositoryName: string;

  constructor(scope: Construct, id: string, props: StoreProps) {
    super(scope, id);
    const { named, account, region, standbyRegion, keyArn, standbyKeyArn, boundary, lockMode, imageLockDays, eifLockDays, logDays, protect } = props;
    const logs = named('s3-bucket', 'access-logs');
    // No default retention here: S3 refuses to deliver access logs into a bucket that has one. Versions and the boundary's denial of DeleteObjectVersion keep them.
    this.accessLogs = new Bucket(this, 'access-logs', {
      name: logs, lifecycle: { staleDays: 30, expireDays: logDays }, protect,
      policy: [
        { sid: 'S3Logs', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${logs}/s3/*`], principals: service('logging.s3.amazonaws.com'), condition: [fromAccount(account)] },
        { sid: 'LoadBalancerLogs', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${logs}/alb/AWSLogs/${account}/*`, `arn:aws:s3:::${logs}/alb-connections/AWSLogs/${account}/*`, `arn:aws:s3:::${logs}/nlb/AWSLogs/${account}/*`], principals: service('logdelivery.elasticloadbalancing.amazonaws.com'), condition: [when('ArnLike', 'aws:SourceArn', `arn:aws:elasticloadbalancing:${region}:${account}:loadbalancer/*`)] },
        { sid: 'NetworkLogs', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${logs}/nlb/AWSLogs/${account}/*`], principals: service('delivery.logs.amazonaws.com'), condition: [fromAccount(account)] },
        { sid: 'NetworkLogsCheck', actions: ['s3:GetBucketAcl', 's3:ListBucket'], resources: [`arn:aws:s3:::${logs}`], principals: service('delivery.logs.amazonaws.com'), condition: [fromAccount(account)] },
      ],
    });
    const own = { keyArn, accessLogs: this.accessLogs.name, protect };
    this.images = new Bucket(this, 'images', { ...own, name: named('s3-bucket', 'images'), lock: { mode: lockMode, days: imageLockDays }, lifecycle: { staleDays: imageLockDays + 1 } });
    this.eif = new Bucket(this, 'eif', { ...own, name: named('s3-bucket', 'eif'), lock: { mode: lockMode, days: eifLockDays }, lifecycle: { staleDays: eifLockDays + 1 } });

    const copy = (part: string, days: number): Bucket => new Bucket(this, `${part}-copy`, {
      name: named('s3-bucket', `${part}-copy`), region: standbyRegion, keyArn: standbyKeyArn, lock: { mode: lockMode, days }, lifecycle: { staleDays: days + 1 }, protect,
    });
    const pairs = [['images', this.images, copy('images', imageLockDays)], ['eif', this.eif, copy('eif', eifLockDays)]] as const;
    const role = serviceRole(this, 'replication', { name: named('iam-role', 'replication'), principal: 's3.amazonaws.com', account, boundary }, [
      { sid: 'Buckets', actions: ['s3:GetReplicationConfiguration', 's3:ListBucket'], resources: pairs.map(([, from]) => from.arn) },
      { sid: 'Read', actions: ['s3:GetObjectVersionForReplication', 's3:GetObjectVersionAcl', 's3:GetObjectVersionTagging', 's3:GetObjectRetention', 's3:GetObjectLegalHold'], resources: pairs.map(([, from]) => `${from.arn}/*`) },
      { sid: 'Write', actions: ['s3:ReplicateObject', 's3:ReplicateDelete', 's3:ReplicateTags'], resources: pairs.map(([, , to]) => `${to.arn}/*`) },
      { sid: 'Open', actions: ['kms:Decrypt'], resources: [keyArn], condition: [when('StringEquals', 'kms:ViaService', `s3.${region}.amazonaws.com`)] },
      { sid: 'Close', actions: ['kms:Encrypt', 'kms:GenerateDataKey'], resources: [standbyKeyArn], condition: [when('StringEquals', 'kms:ViaService', `s3.${standbyRegion}.amazonaws.com`)] },
    ]);
    for (const [part, from, to] of pairs) {
      new S3BucketReplicationConfigurationA(this, `${part}-replication`, {
        bucket: from.name, role: role.arn, dependsOn: [from.versioning, to.versioning],
        rule: [{
          id: 'standby', status: 'Enabled', priority: 0, filter: { prefix: '' }, deleteMarkerReplication: { status: 'Enabled' }, sourceSelectionCriteria: { sseKmsEncryptedObjects: { status: 'Enabled' } },
          destination: {
            bucket: to.arn, storageClass: 'STANDARD', encryptionConfiguration: { replicaKmsKeyId: standbyKeyArn },
            // Time control: an alarmed promise of 15 minutes.
            replicationTime: { status: 'Enabled', time: { minutes: 15 } }, metrics: { status: 'Enabled', eventThreshold: { minutes: 15 } },
          },
        }],
      });
    }

    const repository = new EcrRepository(this, 'gateway', {
      name: named('aws-generic', 'gateway'), imageTagMutability: 'IMMUTABLE', imageScanningConfiguration: { scanOnPush: true }, encryptionConfiguration: [{ encryptionType: 'KMS', kmsKey: keyArn }], forceDelete: false, lifecycle: { preventDestroy: protect },
    });
    new EcrLifecyclePolicy(this, 'gateway-lifecycle', {
      repository: repository.name,
      policy: Fn.jsonencode({ rules: [{ rulePriority: 1, description: 'Layers that no tag names', selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 30 }, action: { type: 'expire' } }] }),
    });
    this.repositoryArn = repository.arn;
    this.repositoryName = named('aws-generic', 'gateway');
  }
}

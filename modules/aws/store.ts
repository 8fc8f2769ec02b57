/**
 * Buckets: `images` (ciphertext only; clients encrypt to attested keys), `eif` (enclave files by PCR0, and the owner's signed documents), `access-logs`; copies of the
 * first two in the standby region. ECR holds the gateway's image, by digest.
 */
import { EcrLifecyclePolicy } from '@cdktf/provider-aws/lib/ecr-lifecycle-policy/index.js';
import { EcrRepository } from '@cdktf/provider-aws/lib/ecr-repository/index.js';
import { Fn } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { Bucket, type ObjectLock } from './bucket.ts';
import { fromAccount, service, type Statement, when } from './policy.ts';
import { Replication } from './replication.ts';

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
  /** S3 delivers access logs within a region only. */
  readonly standbyLogs: Bucket;
  readonly repositoryArn: string;
  readonly repositoryName: string;

  constructor(scope: Construct, id: string, props: StoreProps) {
    super(scope, id);
    const { named, account, region, standbyRegion, keyArn, standbyKeyArn, boundary, lockMode, imageLockDays, eifLockDays, logDays, protect } = props;
    const logs = named('s3-bucket', 'access-logs');
    const standbyLogs = named('s3-bucket', 'access-logs-copy');
    const s3Logs = (name: string): Statement => ({ sid: 'S3Logs', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${name}/s3/*`], principals: service('logging.s3.amazonaws.com'), condition: [fromAccount(account)] });
    // No default retention on these: S3 refuses to deliver access logs into a bucket that has one. Versions, and the boundary's denial of DeleteObjectVersion, keep them.
    const lifecycle = { staleDays: 30, expireDays: logDays };
    this.accessLogs = new Bucket(this, 'access-logs', {
      name: logs, lifecycle, protect,
      policy: [
        s3Logs(logs),
        { sid: 'LoadBalancerLogs', actions: ['s3:PutObject'], resources: ['alb', 'alb-connections', 'nlb'].map((part) => `arn:aws:s3:::${logs}/${part}/AWSLogs/${account}/*`), principals: service('logdelivery.elasticloadbalancing.amazonaws.com'), condition: [when('ArnLike', 'aws:SourceArn', `arn:aws:elasticloadbalancing:${region}:${account}:loadbalancer/*`)] },
        { sid: 'NetworkLogs', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${logs}/nlb/AWSLogs/${account}/*`], principals: service('delivery.logs.amazonaws.com'), condition: [fromAccount(account)] },
        { sid: 'NetworkLogsCheck', actions: ['s3:GetBucketAcl', 's3:ListBucket'], resources: [`arn:aws:s3:::${logs}`], principals: service('delivery.logs.amazonaws.com'), condition: [fromAccount(account)] },
      ],
    });
    this.standbyLogs = new Bucket(this, 'access-logs-copy', { name: standbyLogs, region: standbyRegion, lifecycle, protect, policy: [s3Logs(standbyLogs)] });
    const own = { keyArn, accessLogs: this.accessLogs.name, protect };
    this.images = new Bucket(this, 'images', { ...own, name: named('s3-bucket', 'images'), lock: { mode: lockMode, days: imageLockDays }, lifecycle: { staleDays: imageLockDays + 1 } });
    this.eif = new Bucket(this, 'eif', { ...own, name: named('s3-bucket', 'eif'), lock: { mode: lockMode, days: eifLockDays }, lifecycle: { staleDays: eifLockDays + 1 } });

    const copy = (part: string, days: number): Bucket => new Bucket(this, `${part}-copy`, {
      name: named('s3-bucket', `${part}-copy`), region: standbyRegion, keyArn: standbyKeyArn, accessLogs: this.standbyLogs.name, lock: { mode: lockMode, days }, lifecycle: { staleDays: days + 1 }, protect,
    });
    new Replication(this, 'replication', {
      roleName: named('iam-role', 'replication'), account, boundary, region, standbyRegion, keyArn, standbyKeyArn,
      pairs: { images: { from: this.images, to: copy('images', imageLockDays) }, eif: { from: this.eif, to: copy('eif', eifLockDays) } },
    });

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

/** Copies of buckets in the standby region, within fifteen minutes (S3 Replication Time Control), under the replica of the key. */
import { S3BucketReplicationConfigurationA } from '@cdktf/provider-aws/lib/s3-bucket-replication-configuration/index.js';
import { Construct } from 'constructs';
import type { Bucket } from './bucket.ts';
import { permit, serviceRole, when } from './policy.ts';

export interface ReplicationProps {
  /** Of the role that copies. */
  readonly roleName: string;
  readonly account: string;
  readonly boundary: string;
  readonly region: string;
  readonly standbyRegion: string;
  readonly keyArn: string;
  readonly standbyKeyArn: string;
  /** By a name that stays. */
  readonly pairs: Readonly<Record<string, { readonly from: Bucket; readonly to: Bucket }>>;
}

export class Replication extends Construct {
  constructor(scope: Construct, id: string, { roleName, account, boundary, region, standbyRegion, keyArn, standbyKeyArn, pairs }: ReplicationProps) {
    super(scope, id);
    const all = Object.values(pairs);
    const role = serviceRole(this, 'role', { name: roleName, principal: 's3.amazonaws.com', account, boundary });
    const permitted = permit(this, 'role', role, [
      { sid: 'Buckets', actions: ['s3:GetReplicationConfiguration', 's3:ListBucket'], resources: all.map(({ from }) => from.arn) },
      { sid: 'Read', actions: ['s3:GetObjectVersionForReplication', 's3:GetObjectVersionAcl', 's3:GetObjectVersionTagging', 's3:GetObjectRetention', 's3:GetObjectLegalHold'], resources: all.map(({ from }) => `${from.arn}/*`) },
      { sid: 'Write', actions: ['s3:ReplicateObject', 's3:ReplicateDelete', 's3:ReplicateTags'], resources: all.map(({ to }) => `${to.arn}/*`) },
      { sid: 'Open', actions: ['kms:Decrypt'], resources: [keyArn], condition: [when('StringEquals', 'kms:ViaService', `s3.${region}.amazonaws.com`)] },
      { sid: 'Close', actions: ['kms:Encrypt', 'kms:GenerateDataKey'], resources: [standbyKeyArn], condition: [when('StringEquals', 'kms:ViaService', `s3.${standbyRegion}.amazonaws.com`)] },
    ]);
    for (const [part, { from, to }] of Object.entries(pairs)) {
      new S3BucketReplicationConfigurationA(this, part, {
        bucket: from.id, role: role.arn, dependsOn: [from.versioning, to.versioning, permitted],
        rule: [{
          id: 'standby', status: 'Enabled', priority: 0, filter: { prefix: '' }, deleteMarkerReplication: { status: 'Enabled' }, sourceSelectionCriteria: { sseKmsEncryptedObjects: { status: 'Enabled' } },
          destination: {
            bucket: to.arn, storageClass: 'STANDARD', encryptionConfiguration: { replicaKmsKeyId: standbyKeyArn },
            replicationTime: { status: 'Enabled', time: { minutes: 15 } }, metrics: { status: 'Enabled', eventThreshold: { minutes: 15 } },
          },
        }],
      });
    }
  }
}

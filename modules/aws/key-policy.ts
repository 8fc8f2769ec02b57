/**
 * Policy of the attested data key, generated from the lock file. The primary and every replica carry the same text: a replica has a policy of its own, and one
 * without these conditions would be the open back door.
 *
 * Who holds it: brokers only. They seal tenant keys with it (docs/protocol.md); counters get data keys from a broker, never from KMS. So only the broker's
 * measurements stand here. Condition keys: AWS KMS Developer Guide, "Condition keys for AWS Nitro Enclaves".
 *
 * There is no statement for the account's root: IAM policies alone open nothing, what is not allowed here is refused. Duties are separate: key-admin manages and
 * can neither decrypt, nor grant, nor change this policy; break-glass changes the policy and can neither decrypt nor grant.
 */
import { entriesOf, type MeasurementLock, type TeeEntry } from '../measurements.ts';
import { need } from '../configuration-error.ts';
import { ANYONE, aws, type Condition, type Statement, when } from './policy.ts';

/** Arns. */
export interface KeyPrincipals {
  readonly broker: string;
  readonly keyAdmin: string;
  readonly breakGlass: string;
  readonly apply: string;
  readonly plan: string;
}

export const PCRS = ['PCR0', 'PCR1', 'PCR2', 'PCR8'] as const;

/** Listed one by one: `kms:Create*` would hold CreateGrant, `kms:*` everything. */
export const READ = ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus', 'kms:ListKeyPolicies', 'kms:ListKeyRotations', 'kms:ListResourceTags', 'kms:ListGrants'] as const;
const DEPLOY = [...READ, 'kms:EnableKeyRotation', 'kms:TagResource', 'kms:UntagResource', 'kms:UpdateKeyDescription', 'kms:ReplicateKey', 'kms:CreateAlias', 'kms:UpdateAlias', 'kms:DeleteAlias'] as const;
const ADMINISTER = [...READ, 'kms:EnableKeyRotation', 'kms:RotateKeyOnDemand', 'kms:TagResource', 'kms:UntagResource', 'kms:UpdateKeyDescription', 'kms:UpdatePrimaryRegion', 'kms:EnableKey', 'kms:DisableKey', 'kms:CancelKeyDeletion', 'kms:RevokeGrant'] as const;
const BREAK_GLASS = [...READ, 'kms:PutKeyPolicy', 'kms:ScheduleKeyDeletion', 'kms:CancelKeyDeletion', 'kms:EnableKey', 'kms:DisableKey'] as const;

/** What takes a recipient and is used. */
export const ATTESTED_ACTIONS = ['kms:Decrypt', 'kms:GenerateDataKey'] as const;
/** Roads around the attestation: none of them is used, and no later statement may open one. ReEncrypt would move a ciphertext under a key of the caller's. */
export const ROADS_AROUND = [
  'kms:CreateGrant', 'kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:Encrypt', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:GenerateDataKeyPair', 'kms:GenerateDataKeyPairWithoutPlaintext', 'kms:DeriveSharedSecret',
] as const;

const all = ['*'];

/** One list per PCR, so values of both generations are alternatives; PCR0 covers what PCR1 and PCR2 do, so values of two images never mix. */
export function attestationConditions(entries: readonly TeeEntry[]): Condition[] {
  need(entries.length > 0, 'measurements.lock.json roles.broker', entries.length, 'at least one entry');
  return PCRS.map((pcr) => when('StringEqualsIgnoreCase', `kms:RecipientAttestation:${pcr}`, ...new Set(entries.map((entry) => entry.nitro[pcr]))));
}

export function dataKeyPolicy(lock: MeasurementLock, { broker, keyAdmin, breakGlass, apply, plan }: KeyPrincipals): Statement[] {
  return [
    { sid: 'AttestedBroker', actions: [...ATTESTED_ACTIONS], resources: all, principals: aws(broker), condition: attestationConditions(entriesOf(lock, 'broker')) },
    // Closes what a later Allow might open. The actions are named: `kms:GenerateDataKey*` would hold more than takes a recipient.
    { sid: 'DenyUnattested', effect: 'Deny', actions: [...ATTESTED_ACTIONS], resources: all, principals: ANYONE, condition: [when('Null', 'kms:RecipientAttestation:ImageSha384', 'true')] },
    { sid: 'DenyRoadsAround', effect: 'Deny', actions: [...ROADS_AROUND], resources: all, principals: ANYONE },
    { sid: 'DenyPolicyChange', effect: 'Deny', actions: ['kms:PutKeyPolicy'], resources: all, principals: ANYONE, condition: [when('ArnNotEquals', 'aws:PrincipalArn', breakGlass)] },
    { sid: 'KeyAdmin', actions: [...ADMINISTER], resources: all, principals: aws(keyAdmin) },
    { sid: 'BreakGlass', actions: [...BREAK_GLASS], resources: all, principals: aws(breakGlass) },
    { sid: 'Deploy', actions: [...DEPLOY], resources: all, principals: aws(apply) },
    { sid: 'Plan', actions: [...READ], resources: all, principals: aws(plan) },
  ];
}

export interface InfraPrincipals extends Omit<KeyPrincipals, 'broker'> {
  readonly account: string;
  /** Regions in which this key or a replica of it is. */
  readonly regions: readonly string[];
  /** Arn of the service-linked role of our autoscaling groups: it opens encrypted disks. */
  readonly autoscaling: string;
  /** Arn of the trail. */
  readonly trail: string;
  /** Beginning of the names of our log groups. */
  readonly logPrefix: string;
}

/** The other key: disks, database, buckets, logs at rest. Attestation conditions would lock the services out; it protects ciphertext and records, no plaintext. */
export function infraKeyPolicy({ keyAdmin, breakGlass, apply, plan, account, regions, autoscaling, trail, logPrefix }: InfraPrincipals): Statement[] {
  const use = ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:ReEncryptFrom', 'kms:ReEncryptTo'];
  const via = (...names: string[]): Condition => when('StringEquals', 'kms:ViaService', ...regions.flatMap((region) => names.map((name) => `${name}.${region}.amazonaws.com`)));
  const mine = when('StringEquals', 'kms:CallerAccount', account);
  const services = ['s3', 'rds', 'ec2', 'backup', 'ecr', 'secretsmanager'];
  return [
    // The root principal hands the decision to IAM policies; the conditions keep it to calls that a service makes for its caller.
    { sid: 'AccountThroughServices', actions: use, resources: all, principals: aws(`arn:aws:iam::${account}:root`), condition: [mine, via(...services)] },
    { sid: 'GrantsForServices', actions: ['kms:CreateGrant'], resources: all, principals: aws(`arn:aws:iam::${account}:root`), condition: [mine, via('rds', 'ec2', 'backup', 'ecr', 'secretsmanager'), when('Bool', 'kms:GrantIsForAWSResource', 'true')] },
    { sid: 'AutoscalingDisks', actions: use, resources: all, principals: aws(autoscaling) },
    { sid: 'AutoscalingGrants', actions: ['kms:CreateGrant'], resources: all, principals: aws(autoscaling), condition: [when('Bool', 'kms:GrantIsForAWSResource', 'true')] },
    {
      sid: 'Logs', actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:ReEncryptFrom', 'kms:ReEncryptTo'], resources: all,
      principals: [{ type: 'Service', identifiers: regions.map((region) => `logs.${region}.amazonaws.com`) }],
      condition: [when('ArnLike', 'kms:EncryptionContext:aws:logs:arn', ...regions.flatMap((region) => [`arn:aws:logs:${region}:${account}:log-group:${logPrefix}*`, `arn:aws:logs:${region}:${account}:log-group:aws-waf-logs-*`, `arn:aws:logs:${region}:${account}:log-group:/aws/rds/*`]))],
    },
    { sid: 'Trail', actions: ['kms:GenerateDataKey', 'kms:DescribeKey'], resources: all, principals: [{ type: 'Service', identifiers: ['cloudtrail.amazonaws.com'] }], condition: [when('StringEquals', 'aws:SourceArn', trail)] },
    {
      sid: 'Notices', actions: ['kms:Decrypt', 'kms:GenerateDataKey'], resources: all,
      principals: [{ type: 'Service', identifiers: ['cloudwatch.amazonaws.com', 'budgets.amazonaws.com', 'events.amazonaws.com', 'events.rds.amazonaws.com', 'backup.amazonaws.com', 'cloudtrail.amazonaws.com'] }],
      condition: [when('StringEquals', 'aws:SourceAccount', account)],
    },
    { sid: 'DenyPolicyChange', effect: 'Deny', actions: ['kms:PutKeyPolicy'], resources: all, principals: ANYONE, condition: [when('ArnNotEquals', 'aws:PrincipalArn', breakGlass)] },
    { sid: 'KeyAdmin', actions: [...ADMINISTER], resources: all, principals: aws(keyAdmin) },
    { sid: 'BreakGlass', actions: [...BREAK_GLASS], resources: all, principals: aws(breakGlass) },
    { sid: 'Deploy', actions: [...DEPLOY], resources: all, principals: aws(apply) },
    { sid: 'Plan', actions: [...READ], resources: all, principals: aws(plan) },
  ];
}

/** A multi-region KMS key with its replica and alias in the standby region, both under one policy. */
import { KmsAlias } from '@cdktf/provider-aws/lib/kms-alias/index.js';
import { KmsKey } from '@cdktf/provider-aws/lib/kms-key/index.js';
import { KmsReplicaKey } from '@cdktf/provider-aws/lib/kms-replica-key/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import { policyDocument, type Statement } from './policy.ts';

export interface KeyProps {
  readonly description: string;
  /** Without `alias/`. */
  readonly alias: string;
  readonly policy: readonly Statement[];
  readonly standbyRegion: string;
  /** 90: the shortest period that KMS rotates by itself. */
  readonly rotationDays: number;
  readonly deletionDays: number;
  /** A plan that destroys the key fails. */
  readonly protect: boolean;
}

export class Key extends Construct {
  readonly arn: string;
  readonly replicaArn: string;

  constructor(scope: Construct, id: string, { description, alias, policy, standbyRegion, rotationDays, deletionDays, protect }: KeyProps) {
    super(scope, id);
    needWhole(`${id}.rotationDays`, rotationDays, 90, 90, 'days');
    needWhole(`${id}.deletionDays`, deletionDays, 7, 30, 'days');
    need(!policy.some(({ actions }) => (actions ?? []).includes('kms:*')), `${id}.policy`, 'kms:*', 'actions listed one by one');
    const text = policyDocument(this, 'policy', policy);
    // The check demands PutKeyPolicy for whoever creates the key, here the deploying role, and without it CreateKey fails. It belongs to break-glass alone, which the policy names,
    // no plan of a protected environment destroys, and the boundary lets no role of the cell delete.
    const common = { policy: text, deletionWindowInDays: deletionDays, bypassPolicyLockoutSafetyCheck: true, lifecycle: { preventDestroy: protect } };
    const primary = new KmsKey(this, 'primary', { ...common, description, multiRegion: true, keyUsage: 'ENCRYPT_DECRYPT', customerMasterKeySpec: 'SYMMETRIC_DEFAULT', enableKeyRotation: true, rotationPeriodInDays: rotationDays });
    // Rotation is set on the primary and replicas follow it.
    const replica = new KmsReplicaKey(this, 'replica', { ...common, description: `${description}, standby`, region: standbyRegion, primaryKeyArn: primary.arn, enabled: true });
    new KmsAlias(this, 'alias', { name: `alias/${alias}`, targetKeyId: primary.keyId });
    new KmsAlias(this, 'replica-alias', { name: `alias/${alias}`, targetKeyId: replica.keyId, region: standbyRegion });
    this.arn = primary.arn;
    this.replicaArn = replica.arn;
  }
}

export interface AttestedKeyProps extends KeyProps { readonly policy: readonly Statement[] }

/** The data key. @throws ConfigurationError where its policy would let anyone decrypt unattested */
export class AttestedKey extends Key {
  constructor(scope: Construct, id: string, props: AttestedKeyProps) {
    const secret = (statement: Statement): boolean => (statement.actions ?? []).some((action) => /^kms:(?:Decrypt|GenerateDataKey)$/.test(action));
    const attested = (statement: Statement): boolean => (statement.condition ?? []).some(({ variable }) => variable === 'kms:RecipientAttestation:PCR0');
    for (const statement of props.policy) need(statement.effect === 'Deny' || !secret(statement) || attested(statement), `${id}.policy ${statement.sid}`, statement.actions, 'an attestation condition on what decrypts');
    need(props.policy.some(({ effect, condition }) => effect === 'Deny' && (condition ?? []).some(({ test, variable }) => test === 'Null' && variable === 'kms:RecipientAttestation:ImageSha384')), `${id}.policy`, 'no denial', 'a denial of calls without attestation');
    super(scope, id, props);
  }
}

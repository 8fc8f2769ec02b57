/**
 * Who may do what. CI has no keys: GitHub's OIDC tokens give one-hour sessions. `plan` reads, on pull requests and for nightly drift detection; `apply` deploys, from
 * the environment's own protected GitHub environment; `publish` puts images and enclave files. People: `key-admin` manages keys, `break-glass` changes key policies,
 * both with MFA; `orchestrator` fails over. Every role of the cell stays under one boundary, which none of them can change or leave.
 */
import { IamOpenidConnectProvider } from '@cdktf/provider-aws/lib/iam-openid-connect-provider/index.js';
import { IamPolicy } from '@cdktf/provider-aws/lib/iam-policy/index.js';
import { IamRole } from '@cdktf/provider-aws/lib/iam-role/index.js';
import { IamServiceLinkedRole } from '@cdktf/provider-aws/lib/iam-service-linked-role/index.js';
import { Construct } from 'constructs';
import type { WorkloadRole } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import { APPLY_SERVICES, boundaryStatements, READ_ACTIONS } from './identity-policy.ts';
import { aws, permit, policyDocument, serviceRole, type Statement, when } from './policy.ts';

const ISSUER = 'token.actions.githubusercontent.com';
/** Seconds. */
const SESSION = 3_600;

export interface IdentityProps {
  readonly named: Namer;
  readonly account: string;
  /** Regions in which these roles may act. */
  readonly regions: readonly string[];
  readonly environment: string;
  /** `owner/name` on GitHub. */
  readonly repository: string;
  /** Beginning of the names of everything here. */
  readonly prefix: string;
  readonly state: { readonly bucket: string; readonly region: string; readonly kmsAlias: string };
  /** Names of the buckets whose contents CI must not read. */
  readonly sealedBuckets: readonly string[];
  readonly enclaveBucket: string;
  readonly protect: boolean;
}

export class Identity extends Construct {
  readonly boundary: string;
  readonly plan: string;
  readonly apply: string;
  readonly publish: string;
  readonly keyAdmin: string;
  readonly breakGlass: string;
  readonly orchestrator: string;
  readonly autoscaling: string;
  /** Of the instances. */
  readonly workloads: Readonly<Record<WorkloadRole, IamRole>>;

  constructor(scope: Construct, id: string, props: IdentityProps) {
    super(scope, id);
    const { named, account, regions, environment, repository, prefix, state, sealedBuckets, enclaveBucket, protect } = props;
    this.boundary = new IamPolicy(this, 'boundary', {
      name: named('iam-role', 'boundary'), description: 'The most that any role of the cell can be given', policy: policyDocument(this, 'boundary-document', boundaryStatements({ account, regions, prefix })),
    }).arn;
    const github = new IamOpenidConnectProvider(this, 'github', { url: `https://${ISSUER}`, clientIdList: ['sts.amazonaws.com'] });
    // The subject holds repository and GitHub environment; that environment admits the main branch only and wants an approval.
    const workflows = (...subjects: string[]): Statement => ({
      sid: 'Workflows', actions: ['sts:AssumeRoleWithWebIdentity'], principals: [{ type: 'Federated', identifiers: [github.arn] }],
      condition: [when('StringEquals', `${ISSUER}:aud`, 'sts.amazonaws.com'), when('StringEquals', `${ISSUER}:sub`, ...subjects.map((subject) => `repo:${repository}:${subject}`))],
    });
    const people: Statement = {
      sid: 'PeopleWithMfa', actions: ['sts:AssumeRole'], principals: aws(`arn:aws:iam::${account}:root`),
      condition: [when('Bool', 'aws:MultiFactorAuthPresent', 'true'), when('NumericLessThan', 'aws:MultiFactorAuthAge', String(SESSION))],
    };
    const role = (part: string, description: string, trust: readonly Statement[], statements: readonly Statement[]): IamRole => {
      const made = new IamRole(this, part, {
        name: named('iam-role', part), description, maxSessionDuration: SESSION, permissionsBoundary: this.boundary, assumeRolePolicy: policyDocument(this, `${part}-trust`, trust), lifecycle: { preventDestroy: protect },
      });
      permit(this, part, made, statements);
      return made;
    };

    const stateObjects = `arn:aws:s3:::${state.bucket}/*`;
    const stateKey: Statement = {
      sid: 'StateKey', actions: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:DescribeKey'], resources: [`arn:aws:kms:${state.region}:${account}:key/*`],
      condition: [when('ForAnyValue:StringEquals', 'kms:ResourceAliases', state.kmsAlias), when('StringEquals', 'kms:ViaService', `s3.${state.region}.amazonaws.com`)],
    };
    const readState: Statement = { sid: 'ReadState', actions: ['s3:GetObject', 's3:ListBucket'], resources: [`arn:aws:s3:::${state.bucket}`, stateObjects] };
    const notContents: Statement = { sid: 'NotContents', effect: 'Deny', actions: ['s3:GetObject', 's3:GetObjectVersion'], resources: sealedBuckets.map((name) => `arn:aws:s3:::${name}/*`) };
    const notSecrets: Statement = { sid: 'NotSecrets', effect: 'Deny', actions: ['secretsmanager:GetSecretValue', 'ssm:GetParameter', 'ssm:GetParameters', 'rds-db:connect'], resources: ['*'] };

    this.plan = role('plan', 'Reads, for plans of pull requests and drift detection', [workflows('pull_request', 'ref:refs/heads/main')], [
      { sid: 'Read', actions: [...READ_ACTIONS], resources: ['*'] }, readState, stateKey, notContents, notSecrets,
    ]).arn;

    const infraKeys = regions.map((region) => `arn:aws:kms:${region}:${account}:key/*`);
    const throughServices = when('StringEquals', 'kms:ViaService', ...regions.flatMap((region) => ['rds', 'ec2', 'backup', 'ecr', 'secretsmanager', 'sns'].map((name) => `${name}.${region}.amazonaws.com`)));
    const anyRole = `arn:aws:iam::${account}:role/${prefix}*`;
    this.apply = role('apply', 'Deploys from the protected environment of the main branch', [workflows(`environment:${environment}`)], [
      { sid: 'Read', actions: [...READ_ACTIONS], resources: ['*'] },
      { sid: 'Deploy', actions: [...APPLY_SERVICES], resources: ['*'] },
      // The infra key trusts calls that these services make for the role, and grants to services only.
      { sid: 'InfraKeyThroughServices', actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext'], resources: infraKeys, condition: [throughServices] },
      { sid: 'InfraKeyGrants', actions: ['kms:CreateGrant'], resources: infraKeys, condition: [throughServices, when('Bool', 'kms:GrantIsForAWSResource', 'true')] },
      { sid: 'Buckets', actions: ['s3:CreateBucket', 's3:DeleteBucket', 's3:PutBucket*', 's3:PutEncryptionConfiguration', 's3:PutLifecycleConfiguration', 's3:PutReplicationConfiguration', 's3:DeleteBucketPolicy'], resources: [`arn:aws:s3:::${prefix}*`] },
      { sid: 'WriteState', actions: ['s3:PutObject', 's3:DeleteObject'], resources: [stateObjects] }, readState, stateKey,
      // A role can be made or changed only with the boundary on it.
      { sid: 'RolesUnderBoundary', actions: ['iam:CreateRole', 'iam:PutRolePolicy', 'iam:DeleteRolePolicy', 'iam:AttachRolePolicy', 'iam:DetachRolePolicy'], resources: [anyRole], condition: [when('StringEquals', 'iam:PermissionsBoundary', this.boundary)] },
      { sid: 'Roles', actions: ['iam:TagRole', 'iam:UntagRole', 'iam:UpdateRole', 'iam:UpdateAssumeRolePolicy', 'iam:DeleteRole', 'iam:CreateInstanceProfile', 'iam:DeleteInstanceProfile', 'iam:AddRoleToInstanceProfile', 'iam:RemoveRoleFromInstanceProfile', 'iam:TagInstanceProfile'], resources: [anyRole, `arn:aws:iam::${account}:instance-profile/${prefix}*`] },
      { sid: 'HandOver', actions: ['iam:PassRole'], resources: [anyRole], condition: [when('StringEquals', 'iam:PassedToService', 'ec2.amazonaws.com', 'autoscaling.amazonaws.com', 'backup.amazonaws.com', 'cloudtrail.amazonaws.com', 's3.amazonaws.com', 'vpc-flow-logs.amazonaws.com', 'monitoring.rds.amazonaws.com')] },
      { sid: 'AutoscalingRole', actions: ['iam:CreateServiceLinkedRole'], resources: [`arn:aws:iam::${account}:role/aws-service-role/*`], condition: [when('StringEquals', 'iam:AWSServiceName', 'autoscaling.amazonaws.com', 'elasticloadbalancing.amazonaws.com', 'rds.amazonaws.com', 'backup.amazonaws.com', 'wafv2.amazonaws.com', 'access-analyzer.amazonaws.com')] },
      notContents, notSecrets,
    ]).arn;

    this.publish = role('publish', 'Puts container images and enclave files, never changes one', [workflows(`environment:${environment}-publish`)], [
      { sid: 'EnclaveFiles', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${enclaveBucket}/eif/*`, `arn:aws:s3:::${enclaveBucket}/owner/*`] },
      { sid: 'Login', actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
      { sid: 'Images', actions: ['ecr:BatchCheckLayerAvailability', 'ecr:InitiateLayerUpload', 'ecr:UploadLayerPart', 'ecr:CompleteLayerUpload', 'ecr:PutImage', 'ecr:BatchGetImage', 'ecr:DescribeImages'], resources: regions.map((region) => `arn:aws:ecr:${region}:${account}:repository/${prefix}*`) },
      { sid: 'BucketKey', actions: ['kms:GenerateDataKey', 'kms:Decrypt'], resources: regions.map((region) => `arn:aws:kms:${region}:${account}:key/*`), condition: [when('StringEquals', 'kms:ViaService', ...regions.map((region) => `s3.${region}.amazonaws.com`)), when('ForAnyValue:StringEquals', 'kms:ResourceAliases', `alias/${prefix}infra`)] },
    ]).arn;

    // What they may do stands in the key policies; here only what no key policy can give.
    const listAliases: Statement = { sid: 'FindKeys', actions: ['kms:ListAliases', 'kms:ListKeys'], resources: ['*'] };
    this.keyAdmin = role('key-admin', 'Manages keys; can neither use them nor grant', [people], [listAliases]).arn;
    // A roll of measurements changes key policies: the workflow of that environment needs two approvals. Each session raises an alarm.
    this.breakGlass = role('break-glass', 'Changes key policies; can neither use keys nor grant', [people, workflows(`environment:${environment}-keys`)], [listAliases, readState, stateKey]).arn;
    this.orchestrator = role('orchestrator', 'Fails over and back, drains and drills', [workflows(`environment:${environment}-failover`), people], [
      { sid: 'See', actions: ['autoscaling:DescribeAutoScalingGroups', 'elasticloadbalancing:DescribeTargetHealth', 'elasticloadbalancing:DescribeListeners', 'rds:DescribeDBClusters', 'cloudwatch:GetMetricData', 'backup:ListRecoveryPointsByBackupVault'], resources: ['*'] },
      { sid: 'Resize', actions: ['autoscaling:SetDesiredCapacity', 'autoscaling:UpdateAutoScalingGroup', 'autoscaling:StartInstanceRefresh', 'autoscaling:CancelInstanceRefresh'], resources: regions.map((region) => `arn:aws:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/${prefix}*`) },
      { sid: 'Weights', actions: ['elasticloadbalancing:ModifyListener'], resources: regions.map((region) => `arn:aws:elasticloadbalancing:${region}:${account}:listener/app/${prefix}*`) },
      { sid: 'Database', actions: ['rds:FailoverDBCluster'], resources: regions.map((region) => `arn:aws:rds:${region}:${account}:cluster:${prefix}*`) },
    ]).arn;

    // Their permissions are with the fleets; the data key's policy names the broker's.
    const instance = (part: WorkloadRole): IamRole => serviceRole(this, part, { name: named('iam-role', part), principal: 'ec2.amazonaws.com', account, boundary: this.boundary });
    this.workloads = { gateway: instance('gateway'), broker: instance('broker'), counter: instance('counter') };

    // Our own linked role: its arn stands in the infra key's policy, and exists when that is written.
    this.autoscaling = new IamServiceLinkedRole(this, 'autoscaling', { awsServiceName: 'autoscaling.amazonaws.com', customSuffix: named('aws-generic', 'fleet'), description: 'Autoscaling of the cell: opens encrypted disks' }).arn;
  }
}

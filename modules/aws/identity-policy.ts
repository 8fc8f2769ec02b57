/** Lists of actions for the roles of CI, and the boundary of all roles. */
import { type Statement, when } from './policy.ts';

/** What a plan reads. No contents: no objects, secrets, log events, parameters. */
export const READ_ACTIONS = [
  'access-analyzer:Get*', 'access-analyzer:List*', 'acm:DescribeCertificate', 'acm:ListTagsForCertificate', 'application-autoscaling:Describe*', 'autoscaling:Describe*', 'backup:Describe*', 'backup:Get*', 'backup:List*', 'budgets:View*', 'budgets:ListTagsForResource',
  'ce:ListCostAllocationTags', 'cloudtrail:Describe*', 'cloudtrail:Get*', 'cloudtrail:List*', 'cloudwatch:Describe*', 'cloudwatch:Get*', 'cloudwatch:List*', 'ec2:Describe*', 'ecr:Describe*', 'ecr:GetLifecyclePolicy', 'ecr:GetRepositoryPolicy', 'ecr:GetRegistryScanningConfiguration', 'ecr:ListTagsForResource',
  'elasticloadbalancing:Describe*', 'events:Describe*', 'events:List*', 'guardduty:Get*', 'guardduty:List*', 'iam:Get*', 'iam:List*', 'kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus', 'kms:ListAliases', 'kms:ListKeys', 'kms:ListResourceTags',
  'logs:DescribeLogGroups', 'logs:DescribeMetricFilters', 'logs:DescribeResourcePolicies', 'logs:ListTagsForResource', 'rds:Describe*', 'rds:ListTagsForResource', 'route53:Get*', 'route53:List*', 's3:GetAccelerateConfiguration', 's3:GetBucket*', 's3:GetEncryptionConfiguration', 's3:GetLifecycleConfiguration',
  's3:GetReplicationConfiguration', 's3:ListAllMyBuckets', 's3:ListBucket', 'shield:Describe*', 'sns:Get*', 'sns:List*', 'sts:GetCallerIdentity', 'tag:GetResources', 'wafv2:Get*', 'wafv2:List*',
] as const;

/** What an apply changes. Keys: made here, then ruled by their own policies. Roles and buckets have statements of their own. */
export const APPLY_SERVICES = [
  'access-analyzer:CreateAnalyzer', 'access-analyzer:DeleteAnalyzer', 'access-analyzer:TagResource', 'autoscaling:*', 'backup:*', 'backup-storage:MountCapsule', 'budgets:ModifyBudget', 'budgets:TagResource', 'ce:UpdateCostAllocationTagsStatus', 'cloudtrail:AddTags', 'cloudtrail:CreateTrail',
  'cloudtrail:PutEventSelectors', 'cloudtrail:StartLogging', 'cloudtrail:UpdateTrail', 'cloudwatch:DeleteAlarms', 'cloudwatch:DeleteDashboards', 'cloudwatch:PutCompositeAlarm', 'cloudwatch:PutDashboard', 'cloudwatch:PutMetricAlarm', 'cloudwatch:TagResource', 'ec2:*', 'ecr:CreateRepository',
  'ecr:PutImageScanningConfiguration', 'ecr:PutImageTagMutability', 'ecr:PutLifecyclePolicy', 'ecr:SetRepositoryPolicy', 'ecr:TagResource', 'elasticloadbalancing:*', 'events:PutRule', 'events:PutTargets', 'events:RemoveTargets', 'events:DeleteRule', 'events:TagResource', 'guardduty:CreateDetector', 'guardduty:UpdateDetector',
  'guardduty:TagResource', 'iam:CreateOpenIDConnectProvider', 'iam:TagOpenIDConnectProvider', 'iam:CreatePolicy', 'iam:TagPolicy', 'kms:CreateKey', 'kms:CreateAlias', 'kms:UpdateAlias', 'kms:TagResource', 'logs:AssociateKmsKey', 'logs:CreateLogDelivery', 'logs:CreateLogGroup', 'logs:DeleteMetricFilter',
  'logs:PutMetricFilter', 'logs:PutResourcePolicy', 'logs:PutRetentionPolicy', 'logs:TagResource', 'rds:*', 'route53:*', 'secretsmanager:CreateSecret', 'secretsmanager:TagResource', 'shield:CreateProtection', 'shield:DeleteProtection', 'shield:TagResource', 'sns:*', 'wafv2:*',
] as const;

export interface BoundaryOf { readonly account: string; readonly regions: readonly string[]; readonly prefix: string }

/** The most that a role of the cell can be given. Denials win: nothing here can be undone by a role's own policy. */
export function boundaryStatements({ account, regions, prefix }: BoundaryOf): Statement[] {
  const all = ['*'];
  return [
    {
      // Services whole, since a managed policy holds 6,144 characters; what must not be is denied below. Keys one by one, as everywhere.
      sid: 'Services', resources: all,
      actions: [
        ...['access-analyzer', 'acm', 'application-autoscaling', 'autoscaling', 'backup', 'backup-storage', 'budgets', 'ce', 'cloudtrail', 'cloudwatch', 'ec2', 'ecr', 'elasticloadbalancing', 'events', 'guardduty', 'logs', 'rds', 'rds-db', 'route53', 's3', 'secretsmanager', 'shield', 'sns', 'tag', 'wafv2'].map((name) => `${name}:*`),
        'sts:GetCallerIdentity', 'kms:CancelKeyDeletion', 'kms:CreateAlias', 'kms:CreateKey', 'kms:Decrypt', 'kms:DeleteAlias', 'kms:DescribeKey', 'kms:DisableKey', 'kms:EnableKey', 'kms:EnableKeyRotation', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus', 'kms:ListAliases', 'kms:ListGrants', 'kms:ListKeyPolicies',
        'kms:ListKeyRotations', 'kms:ListKeys', 'kms:ListResourceTags', 'kms:PutKeyPolicy', 'kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:ReplicateKey', 'kms:RevokeGrant', 'kms:RotateKeyOnDemand', 'kms:ScheduleKeyDeletion', 'kms:TagResource', 'kms:UntagResource', 'kms:UpdateAlias', 'kms:UpdateKeyDescription', 'kms:UpdatePrimaryRegion',
      ],
    },
    { sid: 'ServiceGrants', actions: ['kms:CreateGrant'], resources: all, condition: [when('Bool', 'kms:GrantIsForAWSResource', 'true')] },
    { sid: 'Identities', actions: ['iam:Get*', 'iam:List*', 'iam:CreateRole', 'iam:UpdateRole', 'iam:UpdateAssumeRolePolicy', 'iam:DeleteRole', 'iam:TagRole', 'iam:UntagRole', 'iam:PutRolePolicy', 'iam:DeleteRolePolicy', 'iam:AttachRolePolicy', 'iam:DetachRolePolicy', 'iam:PassRole', 'iam:CreateInstanceProfile', 'iam:DeleteInstanceProfile', 'iam:AddRoleToInstanceProfile', 'iam:RemoveRoleFromInstanceProfile', 'iam:TagInstanceProfile', 'iam:CreatePolicy', 'iam:TagPolicy', 'iam:CreateOpenIDConnectProvider', 'iam:TagOpenIDConnectProvider', 'iam:CreateServiceLinkedRole'], resources: all },
    // Global services answer in us-east-1 whatever the region of the cell.
    { sid: 'StayInResidency', effect: 'Deny', notActions: ['budgets:*', 'ce:*', 'iam:*', 'route53:*', 'shield:*', 'sts:*', 's3:ListAllMyBuckets'], resources: all, condition: [when('StringNotEquals', 'aws:RequestedRegion', ...regions)] },
    { sid: 'KeepTheBoundary', effect: 'Deny', actions: ['iam:CreatePolicyVersion', 'iam:DeletePolicy', 'iam:DeletePolicyVersion', 'iam:SetDefaultPolicyVersion', 'iam:DeleteRolePermissionsBoundary', 'iam:PutRolePermissionsBoundary'], resources: all },
    { sid: 'NoPeopleOrKeys', effect: 'Deny', actions: ['iam:CreateUser', 'iam:CreateAccessKey', 'iam:CreateLoginProfile', 'iam:CreateGroup', 'organizations:LeaveOrganization', 'account:CloseAccount'], resources: all },
    { sid: 'KeepTheTrail', effect: 'Deny', actions: ['cloudtrail:DeleteTrail', 'cloudtrail:StopLogging', 's3:BypassGovernanceRetention', 's3:DeleteObjectVersion', 'backup:DeleteBackupVaultLockConfiguration', 'logs:DeleteLogGroup', 'logs:DeleteRetentionPolicy'], resources: all },
    // The roles that hold duties apart are not changed by what they hold apart.
    { sid: 'KeepDutiesApart', effect: 'Deny', actions: ['iam:PutRolePolicy', 'iam:AttachRolePolicy', 'iam:UpdateAssumeRolePolicy', 'iam:DeleteRole'], resources: [`arn:aws:iam::${account}:role/${prefix}key-admin`, `arn:aws:iam::${account}:role/${prefix}break-glass`] },
  ];
}

/**
 * The account's memory: a trail of every region into a locked bucket and into CloudWatch, where filters raise alarms on what must never happen. Separate from the
 * data's buckets, so that who may delete data can't delete its trail.
 */
import { AccessanalyzerAnalyzer } from '@cdktf/provider-aws/lib/accessanalyzer-analyzer/index.js';
import { Cloudtrail } from '@cdktf/provider-aws/lib/cloudtrail/index.js';
import { CloudwatchLogMetricFilter } from '@cdktf/provider-aws/lib/cloudwatch-log-metric-filter/index.js';
import { CloudwatchMetricAlarm } from '@cdktf/provider-aws/lib/cloudwatch-metric-alarm/index.js';
import { GuarddutyDetector } from '@cdktf/provider-aws/lib/guardduty-detector/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Namer } from '../naming.ts';
import { Bucket, type ObjectLock } from './bucket.ts';
import { type LogSettings, logGroup } from './log-group.ts';
import { permit, service, serviceRole, when } from './policy.ts';
import { Replication } from './replication.ts';

export const AUDIT_NAMESPACE = 'ccc/audit';

export interface AuditProps {
  readonly named: Namer;
  readonly account: string;
  readonly region: string;
  readonly logs: LogSettings;
  readonly logPrefix: string;
  readonly boundary: string;
  readonly lock: ObjectLock;
  readonly accessLogs: string;
  /** Of the copy: losing this region must not lose its trail. */
  readonly standby: { readonly region: string; readonly keyArn: string; readonly accessLogs: string };
  /** Arns: the attested key and its replica; buckets whose every read and write is recorded; the role whose sessions raise an alarm. */
  readonly dataKeys: readonly string[];
  readonly dataBuckets: readonly string[];
  readonly breakGlassRole: string;
  readonly alertTopic: string;
  /** Takes CloudTrail's notices of delivered files. */
  readonly deliveryTopicName: string;
  /** Lets the trail publish there: CloudTrail tries at creation. */
  readonly deliveryPolicy: ITerraformDependable;
  /** Threat detection of the whole account; an account has one, so an organization that runs its own says false. */
  readonly threatDetection: boolean;
  readonly protect: boolean;
}

/** By its name: the infra key's policy names the trail, and the trail the key. */
export const trailArn = (named: Namer, region: string, account: string): string => `arn:aws:cloudtrail:${region}:${account}:trail/${named('aws-generic', 'trail')}`;

export class Audit extends Construct {
  readonly bucketName: string;

  constructor(scope: Construct, id: string, props: AuditProps) {
    super(scope, id);
    const { named, account, region, logs, logPrefix, boundary, lock, accessLogs, standby, dataKeys, dataBuckets, breakGlassRole, alertTopic, deliveryTopicName, deliveryPolicy, threatDetection, protect } = props;
    const name = named('s3-bucket', 'audit');
    const trailName = named('aws-generic', 'trail');
    const trailed = [when('StringEquals', 'aws:SourceArn', trailArn(named, region, account))];
    const lifecycle = { staleDays: 30, coldDays: 90, expireDays: lock.days + 30 };
    const bucket = new Bucket(this, 'bucket', {
      name, keyArn: logs.keyArn, lock, lifecycle, accessLogs, protect,
      policy: [
        { sid: 'TrailCheck', actions: ['s3:GetBucketAcl'], resources: [`arn:aws:s3:::${name}`], principals: service('cloudtrail.amazonaws.com'), condition: trailed },
        { sid: 'TrailWrite', actions: ['s3:PutObject'], resources: [`arn:aws:s3:::${name}/AWSLogs/${account}/*`], principals: service('cloudtrail.amazonaws.com'), condition: [...trailed, when('StringEquals', 's3:x-amz-acl', 'bucket-owner-full-control')] },
      ],
    });
    this.bucketName = name;
    const copy = new Bucket(this, 'bucket-copy', { name: named('s3-bucket', 'audit-copy'), region: standby.region, keyArn: standby.keyArn, lock, lifecycle, accessLogs: standby.accessLogs, protect });
    new Replication(this, 'replication', {
      roleName: named('iam-role', 'audit-replication'), account, boundary, region, standbyRegion: standby.region, keyArn: logs.keyArn, standbyKeyArn: standby.keyArn, pairs: { audit: { from: bucket, to: copy } },
    });
    const group = logGroup(this, 'trail-logs', `${logPrefix}trail`, logs);
    const role = serviceRole(this, 'trail-role', { name: named('iam-role', 'trail'), principal: 'cloudtrail.amazonaws.com', account, boundary });
    const permitted = permit(this, 'trail-role', role, [
      { sid: 'Write', actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [`${group.arn}:log-stream:*`] },
    ]);
    new Cloudtrail(this, 'trail', {
      name: trailName, s3BucketName: name, isMultiRegionTrail: true, includeGlobalServiceEvents: true, enableLogging: true, enableLogFileValidation: true, kmsKeyId: logs.keyArn, snsTopicName: deliveryTopicName,
      cloudWatchLogsGroupArn: `${group.arn}:*`, cloudWatchLogsRoleArn: role.arn,
      advancedEventSelector: [
        { name: 'management', fieldSelector: [{ field: 'eventCategory', equalTo: ['Management'] }] },
        { name: 'objects', fieldSelector: [{ field: 'eventCategory', equalTo: ['Data'] }, { field: 'resources.type', equalTo: ['AWS::S3::Object'] }, { field: 'resources.ARN', startsWith: dataBuckets.map((arn) => `${arn}/`) }] },
      ],
      dependsOn: [bucket.policy, permitted, deliveryPolicy], lifecycle: { preventDestroy: protect },
    });

    const onKey = dataKeys.map((arn) => `$.resources[0].ARN = "${arn}"`).join(' || ');
    const patterns = {
      // KMS writes the digest of the enclave's image into events of attested calls ("How AWS Nitro Enclaves uses AWS KMS"). One that succeeded without it got past the policy.
      'unattested-key-use': `{ ($.eventSource = "kms.amazonaws.com") && (($.eventName = "Decrypt") || ($.eventName = "GenerateDataKey")) && (${onKey}) && ($.errorCode NOT EXISTS) && ($.additionalEventData.recipient.attestationDocumentEnclaveImageDigest NOT EXISTS) }`,
      'refused-key-use': `{ ($.eventSource = "kms.amazonaws.com") && (${onKey}) && ($.errorCode = "AccessDenied*") }`,
      'key-policy-change': '{ ($.eventSource = "kms.amazonaws.com") && (($.eventName = "PutKeyPolicy") || ($.eventName = "ScheduleKeyDeletion") || ($.eventName = "DisableKey") || ($.eventName = "CreateGrant")) && ($.userIdentity.invokedBy NOT EXISTS) }',
      'break-glass-session': `{ ($.eventSource = "sts.amazonaws.com") && ($.eventName = "AssumeRole*") && ($.requestParameters.roleArn = "${breakGlassRole}") }`,
      'trail-change': '{ ($.eventSource = "cloudtrail.amazonaws.com") && (($.eventName = "StopLogging") || ($.eventName = "DeleteTrail") || ($.eventName = "UpdateTrail") || ($.eventName = "PutEventSelectors")) }',
      'root-use': '{ ($.userIdentity.type = "Root") && ($.userIdentity.invokedBy NOT EXISTS) && ($.eventType != "AwsServiceEvent") }',
    } as const;
    for (const [part, pattern] of Object.entries(patterns)) {
      new CloudwatchLogMetricFilter(this, `${part}-filter`, { name: named('aws-generic', part), logGroupName: group.name, pattern, metricTransformation: { namespace: AUDIT_NAMESPACE, name: part, value: '1', defaultValue: '0' } });
      new CloudwatchMetricAlarm(this, `${part}-alarm`, {
        alarmName: named('aws-generic', part), alarmDescription: `Trail: ${part.replaceAll('-', ' ')}`, namespace: AUDIT_NAMESPACE, metricName: part, statistic: 'Sum', period: 60, evaluationPeriods: 1, threshold: part === 'refused-key-use' ? 5 : 0, comparisonOperator: 'GreaterThanThreshold',
        // The filter writes zeros only while there are events.
        treatMissingData: 'notBreaching', alarmActions: [alertTopic],
      });
    }

    new AccessanalyzerAnalyzer(this, 'analyzer', { analyzerName: named('aws-generic', 'external-access'), type: 'ACCOUNT' });
    if (threatDetection) new GuarddutyDetector(this, 'threats', { enable: true, findingPublishingFrequency: 'FIFTEEN_MINUTES' });
  }
}

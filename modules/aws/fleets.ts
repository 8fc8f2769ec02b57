/** The three fleets of a cell: what each role may do, runs and follows. */
import type { IamRole } from '@cdktf/provider-aws/lib/iam-role/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { CellFile } from '../cell-config.ts';
import { entriesOf, entryOf, type Generation, type MeasurementLock, type WorkloadRole } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import type { Bucket } from './bucket.ts';
import type { Edge } from './edge.ts';
import { type Colour, Fleet, groupName } from './fleet.ts';
import { ATTESTED_ACTIONS, attestationConditions } from './key-policy.ts';
import type { Group } from './network.ts';
import { logGroupName, rollbackAlarm } from './observability.ts';
import { type Statement, when } from './policy.ts';
import { CELL_METRICS, CELL_NAMESPACE, type Scaling } from './scaling.ts';
import { enclaveUserData, gatewayUserData } from './user-data.ts';

export interface FleetsProps {
  readonly named: Namer;
  readonly lock: MeasurementLock;
  readonly account: string;
  readonly region: string;
  readonly cell: CellFile;
  readonly logPrefix: string;
  readonly subnets: readonly string[];
  readonly groups: Readonly<Record<Group, string>>;
  readonly image: string;
  readonly instanceTypes: Readonly<Record<WorkloadRole, string>>;
  readonly enclave: { readonly cpus: number; readonly memoryMib: number };
  readonly debug: boolean;
  /** Of the live colour of one role. */
  readonly size: { readonly min: number; readonly max: number };
  /** The green colour's share of the size of the live one. */
  readonly canaryPercent: number;
  readonly roles: Readonly<Record<WorkloadRole, IamRole>>;
  readonly autoscalingRole: string;
  readonly dataKeyArn: string;
  readonly infraKeyArn: string;
  readonly eifBucket: Bucket;
  readonly imageBucket: Bucket;
  readonly repository: { readonly arn: string; readonly name: string };
  readonly database: { readonly host: string; readonly resourceId: string; readonly name: string; readonly user: string };
  readonly edge: Edge;
  /** What a boot reaches for: endpoints, log groups. */
  readonly waitFor: readonly ITerraformDependable[];
  readonly tags: Readonly<Record<string, string>>;
}

/** Stand in the user data of gateways for what the database's creation tells. */
const DATABASE_WORDS = { host: 'LEDGER_WRITER_HOST' } as const;

export class Fleets extends Construct {
  constructor(scope: Construct, id: string, props: FleetsProps) {
    super(scope, id);
    const { named, lock, account, region, cell, logPrefix, subnets, groups, image, instanceTypes, enclave, debug, size, canaryPercent, roles, autoscalingRole, dataKeyArn, infraKeyArn, eifBucket, imageBucket, repository, database, edge, waitFor, tags } = props;
    const registry = `${account}.dkr.ecr.${region}.amazonaws.com`;
    const boot = (role: WorkloadRole, generation: Generation) => ({ region, autoscalingGroup: groupName(named, role, generation), logGroup: logGroupName(logPrefix, role), cellJson: cell.json, eifBucket: eifBucket.name });
    const throughS3 = when('StringEquals', 'kms:ViaService', `s3.${region}.amazonaws.com`);
    const common = (role: WorkloadRole, objects: readonly string[]): Statement[] => [
      { sid: 'Lifecycle', actions: ['autoscaling:CompleteLifecycleAction', 'autoscaling:RecordLifecycleActionHeartbeat', 'autoscaling:SetInstanceHealth'], resources: [`arn:aws:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/${groupName(named, role, 'blue')}`, `arn:aws:autoscaling:${region}:${account}:autoScalingGroup:*:autoScalingGroupName/${groupName(named, role, 'green')}`] },
      { sid: 'Logs', actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'], resources: [`arn:aws:logs:${region}:${account}:log-group:${logGroupName(logPrefix, role)}:*`] },
      { sid: 'Pinned', actions: ['s3:GetObject'], resources: objects.map((key) => `${eifBucket.arn}/${key}`) },
      { sid: 'BucketKey', actions: ['kms:Decrypt', ...(role === 'gateway' ? ['kms:GenerateDataKey'] : [])], resources: [infraKeyArn], condition: [throughS3] },
    ];
    const eifs = (role: 'broker' | 'counter'): string[] => entriesOf(lock, role).map((entry) => `eif/${(entry as ReturnType<typeof entryOf>).nitro.PCR0}.eif`);
    const permissions: Readonly<Record<WorkloadRole, readonly Statement[]>> = {
      gateway: [
        ...common('gateway', ['owner/policy.jws', 'owner/directory.jws']),
        { sid: 'Ciphertext', actions: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], resources: [`${imageBucket.arn}/*`] },
        { sid: 'CiphertextList', actions: ['s3:ListBucket'], resources: [imageBucket.arn] },
        { sid: 'Ledger', actions: ['rds-db:connect'], resources: [`arn:aws:rds-db:${region}:${account}:dbuser:${database.resourceId}/${database.user}`] },
        { sid: 'Login', actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
        { sid: 'Image', actions: ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:BatchCheckLayerAvailability'], resources: [repository.arn] },
      ],
      // The key's own policy decides; here the same conditions again, so that neither text alone opens it.
      broker: [...common('broker', eifs('broker')), { sid: 'AttestedKey', actions: [...ATTESTED_ACTIONS], resources: [dataKeyArn], condition: attestationConditions(entriesOf(lock, 'broker')) }],
      counter: common('counter', eifs('counter')),
    };

    const userData = (role: WorkloadRole, generation: Generation): string => {
      if (role === 'gateway') {
        const entry = lock.roles.gateway[generation] ?? lock.roles.gateway.blue;
        return gatewayUserData({ ...boot(role, generation), cell: cell.name, image: `${registry}/${repository.name}@${entry.image}`, registry, database: { ...DATABASE_WORDS, name: database.name, user: database.user }, imageBucket: imageBucket.name, metricNamespace: CELL_NAMESPACE });
      }
      return enclaveUserData({ ...boot(role, generation), role, measurements: entryOf(lock, role, generation).nitro, ...enclave, debug });
    };
    const share = (role: WorkloadRole, generation: Generation, n: number): number => {
      if (generation === 'blue') return n;
      return lock.roles[role].green === undefined ? 0 : Math.ceil((n * canaryPercent) / 100);
    };
    const targets: Readonly<Record<WorkloadRole, (generation: Generation) => string[]>> = {
      gateway: (generation) => [edge.publicTargets[generation].arn, edge.internalTargets.gateway],
      broker: () => [edge.internalTargets.broker],
      counter: () => [],
    };
    const scaling: Readonly<Record<WorkloadRole, (generation: Generation) => Scaling[]>> = {
      gateway: (generation) => [
        { name: 'requests', of: 'requests', loadBalancerSuffix: edge.loadBalancerSuffix, targetGroupSuffix: edge.publicTargets[generation].suffix, target: 3_000 },
        { name: 'cpu', of: 'cpu', target: 60 },
      ],
      // The parent does not see the enclave's CPU: brokers follow what they do.
      broker: () => [{ name: 'releases', of: 'per-instance', cell: cell.name, metric: CELL_METRICS.releases, stat: 'Sum', target: 6_000 }],
      counter: () => [
        { name: 'age', of: 'age', cell: cell.name, metric: CELL_METRICS.oldestDue, target: 30 },
        { name: 'backlog', of: 'per-instance', cell: cell.name, metric: CELL_METRICS.due, stat: 'Maximum', target: 50 },
      ],
    };
    for (const role of ['gateway', 'broker', 'counter'] as const) {
      const colour = (generation: Generation): Colour => ({ min: share(role, generation, size.min), max: share(role, generation, size.max), userData: userData(role, generation), values: role === 'gateway' ? { [DATABASE_WORDS.host]: database.host } : {}, targetGroups: targets[role](generation) });
      const policies = (generation: Generation): Scaling[] => (share(role, generation, size.max) === 0 ? [] : scaling[role](generation));
      new Fleet(this, role, {
        named, role, subnets, group: groups[role], instanceType: instanceTypes[role], image, ...(role === 'gateway' ? {} : { enclave }), diskKeyArn: infraKeyArn, instanceRole: roles[role], permissions: permissions[role], autoscalingRole,
        colours: { blue: colour('blue'), green: colour('green') }, scaling: { blue: policies('blue'), green: policies('green') }, rollbackAlarms: [rollbackAlarm(named)], waitFor, tags,
      });
    }
  }
}

/** One cell on AWS: wiring only. What differs between environments is in modules/environments.ts. */
import { TerraformOutput } from 'cdktf';
import type { Construct } from 'constructs';
import { Alerts } from '../modules/aws/alerts.ts';
import { AttestedKey, Key } from '../modules/aws/attested-key.ts';
import { Audit, trailArn } from '../modules/aws/audit.ts';
import { Budget } from '../modules/aws/budget.ts';
import { Data, DATABASE } from '../modules/aws/data.ts';
import { Edge } from '../modules/aws/edge.ts';
import { Fleets } from '../modules/aws/fleets.ts';
import { Identity } from '../modules/aws/identity.ts';
import { dataKeyPolicy, infraKeyPolicy } from '../modules/aws/key-policy.ts';
import { Network } from '../modules/aws/network.ts';
import { Observability } from '../modules/aws/observability.ts';
import { Store } from '../modules/aws/store.ts';
import { stateStore } from '../modules/backend.ts';
import { cellFile } from '../modules/cell-config.ts';
import { CellStack, type CellStackProps } from '../modules/cell-stack.ts';
import { awsProvider } from '../modules/providers.ts';
import { tagsOf } from '../modules/tags.ts';

export class AwsStack extends CellStack {
  constructor(scope: Construct, id: string, props: CellStackProps) {
    super(scope, id, 'aws', props);
    const { environment: e, lock, named } = this;
    const { account, region, standbyRegion, zones } = e.aws;
    awsProvider(this, e);
    this.gate(props, 'aws');

    const cell = cellFile(e, 'aws');
    const prefix = `ccc-${e.name}-`;
    const logPrefix = `/ccc/${e.name}/`;
    const regions = [region, standbyRegion];
    const bucket = (part: string): string => named('s3-bucket', part);
    const lockMode = e.lock === 'irreversible' ? 'COMPLIANCE' : 'GOVERNANCE';
    const trail = trailArn(named, region, account);
    const state = stateStore(e, 'aws');

    const identity = new Identity(this, 'identity', {
      named, account, regions, environment: e.name, repository: e.repository, prefix, state: { bucket: state['bucket'] ?? '', region: state['region'] ?? '', kmsAlias: state['kmsKey'] ?? '' },
      sealedBuckets: ['images', 'images-copy', 'audit', 'audit-copy', 'access-logs', 'access-logs-copy'].map(bucket), enclaveBucket: bucket('eif'), protect: e.protect,
    });
    const { keyAdmin, breakGlass, apply, plan, boundary, workloads } = identity;
    const keys = { standbyRegion, rotationDays: e.keys.rotationDays, deletionDays: e.keys.deletionDays, protect: e.protect };
    const dataKey = new AttestedKey(this, 'data-key', {
      ...keys, description: 'Seals tenant keys, for attested brokers only', alias: named('kms-alias', 'data'), policy: dataKeyPolicy(lock, { broker: workloads.broker.arn, keyAdmin, breakGlass, apply, plan }),
    });
    const infraKey = new Key(this, 'infra-key', {
      ...keys, description: 'Disks, database, buckets, logs at rest', alias: named('kms-alias', 'infra'), policy: infraKeyPolicy({ keyAdmin, breakGlass, apply, plan, account, regions, autoscaling: identity.autoscaling, trail, logPrefix }),
    });
    const logs = { keyArn: infraKey.arn, retentionDays: e.retention.logs };
    const alerts = new Alerts(this, 'alerts', { named, account, keyArn: infraKey.arn, contact: e.contact, trail });
    const alertTopic = alerts.topicArn;

    const network = new Network(this, 'network', { named, account, region, zones, cidr: e.aws.vpcCidr, logs, logPrefix, boundary, buckets: [bucket('images'), bucket('eif')] });
    const store = new Store(this, 'store', {
      named, account, region, standbyRegion, keyArn: infraKey.arn, standbyKeyArn: infraKey.replicaArn, boundary, lockMode, imageLockDays: e.aws.objectLockDays.images, eifLockDays: e.aws.objectLockDays.eif, logDays: e.retention.logs, protect: e.protect,
    });
    new Audit(this, 'audit', {
      named, account, region, logs, logPrefix, boundary, lock: { mode: lockMode, days: e.retention.audit }, accessLogs: store.accessLogs.name, standby: { region: standbyRegion, keyArn: infraKey.replicaArn, accessLogs: store.standbyLogs.name }, dataKeys: [dataKey.arn, dataKey.replicaArn], dataBuckets: [store.images.arn, store.eif.arn], breakGlassRole: breakGlass,
      alertTopic, deliveryTopicName: alerts.deliveryTopicName, deliveryPolicy: alerts.deliveryPolicy, threatDetection: e.aws.threatDetection, protect: e.protect,
    });
    const data = new Data(this, 'data', {
      named, account, standbyRegion, zones, subnets: network.subnets.data, group: network.groups.data, capacity: { min: e.aws.database.minCapacity, max: e.aws.database.maxCapacity }, keyArn: infraKey.arn, standbyKeyArn: infraKey.replicaArn, logs, boundary,
      backupDays: e.retention.backups, lock: e.lock, protect: e.protect, alertTopic,
    });
    const edge = new Edge(this, 'edge', {
      named, vpcId: network.vpcId, zoneId: network.zoneId, publicSubnets: network.subnets.edge, privateSubnets: network.subnets.app, publicGroup: network.groups.edge, internalGroup: network.groups.internal, certificateArn: e.aws.certificateArn,
      canaryPercent: lock.roles.gateway.green === undefined ? 0 : e.canaryPercent, accessLogs: store.accessLogs, logs, shield: e.aws.shield, requestsPerAddress: e.aws.requestsPerAddress, protect: e.protect,
    });
    const observability = new Observability(this, 'observability', {
      named, region, cell: cell.name, logs, logPrefix, sloTarget: e.sloTarget, loadBalancerSuffix: edge.loadBalancerSuffix, publicTargetSuffix: edge.publicTargets.blue.suffix, database: data.identifier,
      minimum: { gateway: e.aws.fleet.min, broker: e.aws.fleet.min, counter: e.aws.fleet.min }, oldestDueSeconds: 120, alertTopic,
    });
    new Fleets(this, 'fleets', {
      named, lock, account, region, cell, logPrefix, subnets: network.subnets.app, groups: network.groups, image: e.aws.parentImage, instanceTypes: { gateway: e.aws.gatewayInstanceType, broker: e.aws.instanceType, counter: e.aws.instanceType }, enclave: e.aws.enclave, debug: e.debug,
      size: e.aws.fleet, canaryPercent: e.canaryPercent, roles: workloads, autoscalingRole: identity.autoscaling, dataKeyArn: dataKey.arn, infraKeyArn: infraKey.arn, eifBucket: store.eif, imageBucket: store.images, repository: { arn: store.repositoryArn, name: store.repositoryName },
      database: { host: data.endpoint, resourceId: data.resourceId, ...DATABASE }, edge, waitFor: [...network.endpoints, ...observability.logGroups], tags: { ...tagsOf(e) },
    });
    new Budget(this, 'budget', { named, limit: e.budget.aws, environment: e.name, contact: e.contact, alertTopic });

    new TerraformOutput(this, 'load-balancer', { value: edge.dnsName, description: 'What the names of stack edge point at' });
    new TerraformOutput(this, 'data-key-arn', { value: dataKey.arn });
    new TerraformOutput(this, 'config-digest', { value: cell.digest, description: 'SHA-256 of cell.json, as in the evidence' });
  }
}

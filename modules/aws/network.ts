/**
 * A VPC in three zones and four tiers: edge (load balancer), app (gateways and the parents of enclaves), data, endpoints. Only the edge has a route to the
 * internet; there is no NAT: what a parent needs (KMS, logs, images) it reaches through endpoints whose policies name the account, the actions and the buckets.
 * Security groups hold no rules of their own and name each other, never addresses, but for the public listener.
 */
import { DefaultSecurityGroup } from '@cdktf/provider-aws/lib/default-security-group/index.js';
import { FlowLog } from '@cdktf/provider-aws/lib/flow-log/index.js';
import { InternetGateway } from '@cdktf/provider-aws/lib/internet-gateway/index.js';
import { NetworkAclRule } from '@cdktf/provider-aws/lib/network-acl-rule/index.js';
import { NetworkAcl } from '@cdktf/provider-aws/lib/network-acl/index.js';
import { Route } from '@cdktf/provider-aws/lib/route/index.js';
import { Route53Zone } from '@cdktf/provider-aws/lib/route53-zone/index.js';
import { RouteTableAssociation } from '@cdktf/provider-aws/lib/route-table-association/index.js';
import { RouteTable } from '@cdktf/provider-aws/lib/route-table/index.js';
import { SecurityGroup } from '@cdktf/provider-aws/lib/security-group/index.js';
import { Subnet } from '@cdktf/provider-aws/lib/subnet/index.js';
import { VpcEndpoint } from '@cdktf/provider-aws/lib/vpc-endpoint/index.js';
import { VpcSecurityGroupEgressRule } from '@cdktf/provider-aws/lib/vpc-security-group-egress-rule/index.js';
import { VpcSecurityGroupIngressRule } from '@cdktf/provider-aws/lib/vpc-security-group-ingress-rule/index.js';
import { Vpc } from '@cdktf/provider-aws/lib/vpc/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { need } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import { type LogSettings, logGroup } from './log-group.ts';
import { ANYONE, permit, policyDocument, serviceRole, type Statement, when } from './policy.ts';

export const POSTGRES_PORT = 5_432;
/** Where a gateway's parent ends the load balancer's TLS. */
export const GATEWAY_TLS_PORT = 9_443;
/** Name of the private zone; the hosts of modules/cell-config.ts are in it. */
export const PRIVATE_ZONE = 'ccc.internal';

export const TIERS = ['edge', 'app', 'data', 'endpoints'] as const;
type Tier = (typeof TIERS)[number];
const GROUPS = ['edge', 'gateway', 'broker', 'counter', 'internal', 'data', 'endpoints'] as const;
export type Group = (typeof GROUPS)[number];

export interface NetworkProps {
  readonly named: Namer;
  readonly account: string;
  readonly region: string;
  readonly zones: readonly string[];
  /** A /16. */
  readonly cidr: string;
  readonly logs: LogSettings;
  readonly logPrefix: string;
  readonly boundary: string;
  /** Names of the buckets that may be reached from here. */
  readonly buckets: readonly string[];
}

/** Interface endpoints and what may be asked through them. Metrics travel in logs; credentials come from the instance's metadata. */
const ENDPOINTS: Readonly<Record<string, readonly string[]>> = {
  kms: ['kms:Decrypt', 'kms:GenerateDataKey'],
  logs: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
  autoscaling: ['autoscaling:CompleteLifecycleAction', 'autoscaling:RecordLifecycleActionHeartbeat', 'autoscaling:SetInstanceHealth'],
  'ecr.api': ['ecr:GetAuthorizationToken', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:BatchCheckLayerAvailability'],
  'ecr.dkr': ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:BatchCheckLayerAvailability'],
  // No role here has rights in these: their names resolve inside the network all the same, and calls with a stranger's credentials are refused at the door.
  monitoring: ['cloudwatch:PutMetricData'],
  sts: ['sts:GetCallerIdentity'],
  ssm: ['ssm:GetParameter'],
  secretsmanager: ['secretsmanager:GetSecretValue'],
};

export class Network extends Construct {
  readonly vpcId: string;
  readonly zoneId: string;
  readonly subnets: Readonly<Record<Tier, readonly string[]>>;
  readonly groups: Readonly<Record<Group, string>>;
  readonly endpoints: readonly VpcEndpoint[];

  constructor(scope: Construct, id: string, { named, account, region, zones, cidr, logs, logPrefix, boundary, buckets }: NetworkProps) {
    super(scope, id);
    const octets = /^(\d+\.\d+)\.0\.0\/16$/.exec(cidr)?.[1];
    need(octets !== undefined, 'aws.vpcCidr', cidr, 'a /16 network, as 10.20.0.0/16');
    const blocks = (tier: Tier): string[] => zones.map((_, i) => `${octets}.${TIERS.indexOf(tier) * 10 + i}.0/24`);

    const vpc = new Vpc(this, 'vpc', { cidrBlock: cidr, enableDnsSupport: true, enableDnsHostnames: true, tags: { Name: named('aws-generic', 'vpc') } });
    this.vpcId = vpc.id;
    // Adopted and emptied: nothing runs in it, and what is put there by mistake reaches nothing.
    new DefaultSecurityGroup(this, 'default-group', { vpcId: vpc.id });
    const internet = new InternetGateway(this, 'internet', { vpcId: vpc.id });
    const open = new RouteTable(this, 'edge-routes', { vpcId: vpc.id, tags: { Name: named('aws-generic', 'edge') } });
    new Route(this, 'edge-default', { routeTableId: open.id, destinationCidrBlock: '0.0.0.0/0', gatewayId: internet.id });
    const closed = new RouteTable(this, 'private-routes', { vpcId: vpc.id, tags: { Name: named('aws-generic', 'private') } });
    const tier = (name: Tier): string[] => blocks(name).map((cidrBlock, i) => {
      const subnet = new Subnet(this, `${name}-${i}`, { vpcId: vpc.id, cidrBlock, availabilityZone: zones[i] ?? '', mapPublicIpOnLaunch: false, tags: { Name: named('aws-generic', `${name}-${i}`), tier: name } });
      new RouteTableAssociation(this, `${name}-${i}-routes`, { subnetId: subnet.id, routeTableId: name === 'edge' ? open.id : closed.id });
      return subnet.id;
    });
    this.subnets = { edge: tier('edge'), app: tier('app'), data: tier('data'), endpoints: tier('endpoints') };
    // A second, stateless gate before the database: one mistaken rule of a security group does not open it.
    const acl = new NetworkAcl(this, 'data-acl', { vpcId: vpc.id, subnetIds: [...this.subnets.data], tags: { Name: named('aws-generic', 'data') } });
    for (const [i, zone] of zones.entries()) {
      const rule = (part: string, ruleNumber: number, egress: boolean, cidrBlock: string, fromPort: number, toPort: number): void => {
        new NetworkAclRule(this, `data-acl-${part}-${i}`, { networkAclId: acl.id, ruleNumber: ruleNumber + i, egress, protocol: 'tcp', ruleAction: 'allow', cidrBlock, fromPort, toPort });
      };
      const [app, data] = [blocks('app')[i], blocks('data')[i]];
      need(app !== undefined && data !== undefined, 'aws.zones', zone, 'a zone with a block in each tier');
      rule('queries', 100, false, app, POSTGRES_PORT, POSTGRES_PORT);
      rule('answers', 100, true, app, 1_024, 65_535);
      rule('peers-in', 200, false, data, 1_024, 65_535);
      rule('peers-out', 200, true, data, 1_024, 65_535);
    }

    const group = (name: Group): string => new SecurityGroup(this, `${name}-group`, {
      name: named('security-group', name), description: `Confidential Cat Counter ${name}`, vpcId: vpc.id, revokeRulesOnDelete: true, tags: { Name: named('security-group', name) },
    }).id;
    this.groups = Object.fromEntries(GROUPS.map((name) => [name, group(name)])) as Record<Group, string>;

    const s3 = new VpcEndpoint(this, 's3-endpoint', {
      vpcId: vpc.id, serviceName: `com.amazonaws.${region}.s3`, vpcEndpointType: 'Gateway', routeTableIds: [closed.id],
      policy: policyDocument(this, 's3-endpoint-policy', [
        { sid: 'OwnBuckets', actions: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:ListBucket'], resources: buckets.flatMap((name) => [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`]), principals: ANYONE, condition: [when('StringEquals', 'aws:PrincipalAccount', account), when('StringEquals', 'aws:ResourceAccount', account)] },
        // Where ECR of this region keeps layers (Amazon ECR User Guide, "Create the Amazon S3 gateway endpoint").
        { sid: 'ImageLayers', actions: ['s3:GetObject'], resources: [`arn:aws:s3:::prod-${region}-starport-layer-bucket/*`], principals: ANYONE, condition: [when('StringEquals', 'aws:PrincipalAccount', account)] },
      ]),
    });
    const through = Object.entries(ENDPOINTS).map(([name, actions]) => {
      const own: Statement = { sid: 'OwnAccount', actions: [...actions], resources: [name === 'kms' ? `arn:aws:kms:${region}:${account}:key/*` : '*'], principals: ANYONE, condition: [when('StringEquals', 'aws:PrincipalAccount', account)] };
      const part = name.replace('.', '-');
      return new VpcEndpoint(this, `${part}-endpoint`, {
        vpcId: vpc.id, serviceName: `com.amazonaws.${region}.${name}`, vpcEndpointType: 'Interface', privateDnsEnabled: true, subnetIds: [...this.subnets.endpoints], securityGroupIds: [this.groups.endpoints],
        policy: policyDocument(this, `${part}-endpoint-policy`, [own]), tags: { Name: named('aws-generic', part) },
      });
    });
    this.endpoints = [s3, ...through];

    // The one address range: the public listener. Behind it groups name groups.
    new VpcSecurityGroupIngressRule(this, 'public-in', { securityGroupId: this.groups.edge, cidrIpv4: '0.0.0.0/0', ipProtocol: 'tcp', fromPort: 443, toPort: 443, description: 'Clients, through the web application firewall' });
    this.#allow('edge', 'gateway', GATEWAY_TLS_PORT);
    this.#allow('gateway', 'internal', PORTS.broker);
    this.#allow('broker', 'internal', PORTS.internal);
    this.#allow('counter', 'internal', PORTS.internal);
    this.#allow('internal', 'gateway', PORTS.internal);
    this.#allow('internal', 'broker', PORTS.broker);
    this.#allow('gateway', 'data', POSTGRES_PORT);
    for (const from of ['gateway', 'broker', 'counter'] as const) {
      this.#allow(from, 'endpoints', 443);
      new VpcSecurityGroupEgressRule(this, `${from}-to-s3`, { securityGroupId: this.groups[from], prefixListId: s3.prefixListId, ipProtocol: 'tcp', fromPort: 443, toPort: 443, description: 'Object store, through its gateway endpoint' });
    }

    this.zoneId = new Route53Zone(this, 'zone', { name: PRIVATE_ZONE, comment: 'Names of the cell', vpc: [{ vpcId: vpc.id, vpcRegion: region }], forceDestroy: false }).zoneId;

    const flows = logGroup(this, 'flows', `${logPrefix}flows`, logs);
    const role = serviceRole(this, 'flows-role', { name: named('iam-role', 'flows'), principal: 'vpc-flow-logs.amazonaws.com', account, boundary });
    const permitted = permit(this, 'flows-role', role, [
      { sid: 'Write', actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:DescribeLogStreams'], resources: [`${flows.arn}:*`] },
    ]);
    new FlowLog(this, 'flow-log', { vpcId: vpc.id, trafficType: 'ALL', logDestinationType: 'cloud-watch-logs', logDestination: flows.arn, iamRoleArn: role.arn, maxAggregationInterval: 60, dependsOn: [permitted] });
  }

  #allow(from: Group, to: Group, port: number): void {
    const common = { ipProtocol: 'tcp', fromPort: port, toPort: port, description: `${from} to ${to}` };
    new VpcSecurityGroupEgressRule(this, `${from}-to-${to}`, { ...common, securityGroupId: this.groups[from], referencedSecurityGroupId: this.groups[to] });
    new VpcSecurityGroupIngressRule(this, `${to}-from-${from}`, { ...common, securityGroupId: this.groups[to], referencedSecurityGroupId: this.groups[from] });
  }
}

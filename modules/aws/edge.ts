/**
 * The way in. TLS of clients ends here, at the load balancer behind the firewall: a layer-7 firewall cannot look into TLS that ends in an enclave, and it needs to look
 * at nothing secret. Images and results are encrypted end to end to attested keys (HPKE with X-Wing), so the edge, the gateway and their operators see ciphertext only.
 * The hop to the gateway's machine is TLS again. Behind it an internal network load balancer carries the names `gateway.ccc.internal` and `broker.ccc.internal`.
 */
import { LbListener } from '@cdktf/provider-aws/lib/lb-listener/index.js';
import { LbTargetGroup } from '@cdktf/provider-aws/lib/lb-target-group/index.js';
import { Lb } from '@cdktf/provider-aws/lib/lb/index.js';
import { Route53Record } from '@cdktf/provider-aws/lib/route53-record/index.js';
import { ShieldProtection } from '@cdktf/provider-aws/lib/shield-protection/index.js';
import { Construct } from 'constructs';
import { HOSTS, PORTS } from '../cell-config.ts';
import { needWhole } from '../configuration-error.ts';
import type { Generation } from '../measurements.ts';
import { GENERATIONS } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import type { Bucket } from './bucket.ts';
import { Firewall } from './firewall.ts';
import type { LogSettings } from './log-group.ts';
import { GATEWAY_TLS_PORT } from './network.ts';

export interface EdgeProps {
  readonly named: Namer;
  readonly vpcId: string;
  readonly zoneId: string;
  readonly publicSubnets: readonly string[];
  readonly privateSubnets: readonly string[];
  readonly publicGroup: string;
  readonly internalGroup: string;
  readonly certificateArn: string;
  /** Share of the green colour. */
  readonly canaryPercent: number;
  /** The service writes a test object when a load balancer is made: its policy must be there. */
  readonly accessLogs: Bucket;
  readonly logs: LogSettings;
  /** Standard protection is always there and free; Advanced wants the account's subscription (about 3,000 USD a month). */
  readonly shield: 'standard' | 'advanced';
  /** Requests of one address in five minutes. */
  readonly requestsPerAddress: number;
  readonly protect: boolean;
}

export class Edge extends Construct {
  readonly loadBalancerSuffix: string;
  readonly dnsName: string;
  readonly dnsZoneId: string;
  readonly publicTargets: Readonly<Record<Generation, { readonly arn: string; readonly suffix: string }>>;
  /** Of both colours: a cell's parts find each other whatever their colour. */
  readonly internalTargets: Readonly<Record<'gateway' | 'broker', string>>;
  readonly webAclName: string;

  constructor(scope: Construct, id: string, props: EdgeProps) {
    super(scope, id);
    const { named, vpcId, zoneId, publicSubnets, privateSubnets, publicGroup, internalGroup, certificateArn, canaryPercent, accessLogs, logs, shield, requestsPerAddress, protect } = props;
    needWhole('canaryPercent', canaryPercent, 0, 100, 'percent');
    const lb = new Lb(this, 'public', {
      name: named('load-balancer', 'public'), loadBalancerType: 'application', internal: false, subnets: [...publicSubnets], securityGroups: [publicGroup], dropInvalidHeaderFields: true, desyncMitigationMode: 'strictest', xffHeaderProcessingMode: 'append',
      enableDeletionProtection: protect, enableHttp2: true, enableZonalShift: true, enableCrossZoneLoadBalancing: true, idleTimeout: 60, accessLogs: { bucket: accessLogs.name, prefix: 'alb', enabled: true }, connectionLogs: { bucket: accessLogs.name, prefix: 'alb-connections', enabled: true },
      lifecycle: { preventDestroy: protect }, dependsOn: [accessLogs.policy],
    });
    this.loadBalancerSuffix = lb.arnSuffix;
    this.dnsName = lb.dnsName;
    this.dnsZoneId = lb.zoneId;
    const colour = (generation: Generation) => {
      const group = new LbTargetGroup(this, `public-${generation}`, {
        name: named('target-group', `public-${generation}`), vpcId, targetType: 'instance', port: GATEWAY_TLS_PORT, protocol: 'HTTPS', protocolVersion: 'HTTP1', deregistrationDelay: '60', loadBalancingAlgorithmType: 'least_outstanding_requests',
        healthCheck: { enabled: true, path: '/v1/health', protocol: 'HTTPS', matcher: '200', interval: 10, timeout: 5, healthyThreshold: 2, unhealthyThreshold: 3 },
      });
      return { arn: group.arn, suffix: group.arnSuffix };
    };
    this.publicTargets = { blue: colour('blue'), green: colour('green') };
    const weights: Readonly<Record<Generation, number>> = { blue: 100 - canaryPercent, green: canaryPercent };
    new LbListener(this, 'https', {
      loadBalancerArn: lb.arn, port: 443, protocol: 'HTTPS', sslPolicy: 'ELBSecurityPolicy-TLS13-1-2-2021-06', certificateArn, routingHttpResponseStrictTransportSecurityHeaderValue: 'max-age=31536000; includeSubDomains',
      // A client keeps its colour for ten minutes: its session with a broker is known to one of them.
      defaultAction: [{ type: 'forward', forward: { targetGroup: GENERATIONS.map((generation) => ({ arn: this.publicTargets[generation].arn, weight: weights[generation] })), stickiness: { enabled: true, duration: 600 } } }],
    });
    this.webAclName = new Firewall(this, 'firewall', { named, resourceArn: lb.arn, logs, requestsPerAddress }).name;
    if (shield === 'advanced') new ShieldProtection(this, 'shield', { name: named('aws-generic', 'public'), resourceArn: lb.arn });

    const internal = new Lb(this, 'internal', {
      name: named('load-balancer', 'cell'), loadBalancerType: 'network', internal: true, subnets: [...privateSubnets], securityGroups: [internalGroup], enableDeletionProtection: protect, enableCrossZoneLoadBalancing: true, enableZonalShift: true,
      enforceSecurityGroupInboundRulesOnPrivateLinkTraffic: 'on', accessLogs: { bucket: accessLogs.name, prefix: 'nlb', enabled: true }, lifecycle: { preventDestroy: protect }, dependsOn: [accessLogs.policy],
    });
    const targets = (part: 'gateway' | 'broker', port: number, path: string, matcher: string): string => {
      const group = new LbTargetGroup(this, `internal-${part}`, {
        name: named('target-group', `cell-${part}`), vpcId, targetType: 'instance', port, protocol: 'TCP', deregistrationDelay: '60', connectionTermination: true, preserveClientIp: 'true',
        // Challenges and sessions live in one broker's memory: a caller stays with one.
        stickiness: { enabled: true, type: 'source_ip' }, healthCheck: { enabled: true, protocol: 'HTTP', path, port: String(port), matcher, interval: 10, timeout: 5, healthyThreshold: 2, unhealthyThreshold: 2 },
      });
      // Plain TCP: payloads are sealed to attested keys, requests are signed by them.
      new LbListener(this, `internal-${part}-listener`, { loadBalancerArn: internal.arn, port, protocol: 'TCP', defaultAction: [{ type: 'forward', targetGroupArn: group.arn }] });
      new Route53Record(this, `${part}-name`, { zoneId, name: HOSTS[part], type: 'A', alias: { name: internal.dnsName, zoneId: internal.zoneId, evaluateTargetHealth: true } });
      return group.arn;
    };
    // The gateway's internal listener answers every unsigned request with a refusal; that it answers is what counts.
    this.internalTargets = { gateway: targets('gateway', PORTS.internal, '/internal/v1/policy', '200-499'), broker: targets('broker', PORTS.broker, '/v1/health', '200') };
  }
}

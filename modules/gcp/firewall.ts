/** Microsegmentation: everything is refused and logged, and each flow that a cell needs is one rule that names the accounts at its ends. Pods are judged by their node's account here and by network policies inside the cluster. */
import { ComputeFirewall, type ComputeFirewallConfig } from '@cdktf/provider-google/lib/compute-firewall/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import type { Namer } from '../naming.ts';
import { GOOGLE_PROBES, type Ranges, RESTRICTED_APIS } from './addresses.ts';

export interface FirewallProps {
  readonly named: Namer;
  readonly networkId: string;
  readonly ranges: Ranges;
  /** Addresses of the accounts that VMs run as. */
  readonly accounts: { readonly gatewayNodes: string; readonly counterNodes: string; readonly broker: string };
}

type Rule = Pick<ComputeFirewallConfig, 'description' | 'sourceRanges' | 'destinationRanges' | 'sourceServiceAccounts' | 'targetServiceAccounts' | 'allow' | 'deny' | 'priority'>;

export class Firewall extends Construct {
  constructor(scope: Construct, id: string, { named, networkId, ranges, accounts }: FirewallProps) {
    super(scope, id);
    const rule = (direction: 'INGRESS' | 'EGRESS', part: string, config: Rule): ComputeFirewall =>
      new ComputeFirewall(this, part, { name: named('gcp-generic', part), network: networkId, direction, priority: 1_000, logConfig: { metadata: 'INCLUDE_ALL_METADATA' }, ...config });
    const { gatewayNodes, counterNodes, broker } = accounts;
    const nodes = [gatewayNodes, counterNodes];
    const tcp = (...ports: number[]) => [{ protocol: 'tcp', ports: ports.map(String) }];

    rule('EGRESS', 'deny-egress', { description: 'Whatever no rule allows', destinationRanges: ['0.0.0.0/0'], deny: [{ protocol: 'all' }], priority: 65_000 });
    rule('INGRESS', 'deny-ingress', { description: 'Whatever no rule allows', sourceRanges: ['0.0.0.0/0'], deny: [{ protocol: 'all' }], priority: 65_000 });

    rule('EGRESS', 'apis', { description: 'Google APIs, restricted range', targetServiceAccounts: [...nodes, broker], destinationRanges: [RESTRICTED_APIS.cidr], allow: tcp(443) });
    // Nodes, pods, the control plane's endpoint in the node subnet; inside, network policies decide.
    rule('EGRESS', 'cluster-egress', { description: 'Inside the cluster', targetServiceAccounts: nodes, destinationRanges: [ranges.nodes, ranges.pods, ranges.clusterServices], allow: [{ protocol: 'tcp' }, { protocol: 'udp' }, { protocol: 'icmp' }] });
    rule('INGRESS', 'cluster-ingress', { description: 'Inside the cluster', targetServiceAccounts: nodes, sourceRanges: [ranges.nodes, ranges.pods], allow: [{ protocol: 'tcp' }, { protocol: 'udp' }, { protocol: 'icmp' }] });
    rule('EGRESS', 'gateway-to-database', { description: 'Cloud SQL connector', targetServiceAccounts: [gatewayNodes], destinationRanges: [ranges.services.cidr], allow: tcp(3_307) });

    // Counters reach brokers through the gateway's internal listener too, but challenge and release go straight to the broker.
    rule('EGRESS', 'nodes-to-broker', { description: 'Challenge, attest, release', targetServiceAccounts: nodes, destinationRanges: [ranges.brokers], allow: tcp(PORTS.broker) });
    rule('INGRESS', 'broker-from-nodes', { description: 'Challenge, attest, release', targetServiceAccounts: [broker], sourceServiceAccounts: nodes, allow: tcp(PORTS.broker) });
    rule('EGRESS', 'broker-to-gateway', { description: 'Policy, sealed keys, receipts', targetServiceAccounts: [broker], destinationRanges: [ranges.nodes, ranges.pods], allow: tcp(PORTS.internal) });
    rule('INGRESS', 'gateway-from-broker', { description: 'Policy, sealed keys, receipts', targetServiceAccounts: [gatewayNodes], sourceServiceAccounts: [broker], allow: tcp(PORTS.internal) });

    rule('INGRESS', 'gateway-from-edge', { description: 'Front ends and health checks of the load balancer', targetServiceAccounts: [gatewayNodes], sourceRanges: [...GOOGLE_PROBES], allow: tcp(PORTS.public, PORTS.internal) });
    rule('INGRESS', 'broker-from-probes', { description: 'Health checks', targetServiceAccounts: [broker], sourceRanges: [...GOOGLE_PROBES], allow: tcp(PORTS.broker) });
  }
}

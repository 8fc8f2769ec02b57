/**
 * The cell's network: no NAT, no public address, no default route. What runs here reaches Google's APIs through the restricted address range, Cloud SQL through
 * the peering, and each other where a firewall rule names the two accounts (firewall.ts); collateral of chip vendors arrives with the evidence or through the gateway.
 */
import { ComputeAddress } from '@cdktf/provider-google/lib/compute-address/index.js';
import { ComputeGlobalAddress } from '@cdktf/provider-google/lib/compute-global-address/index.js';
import { ComputeNetwork } from '@cdktf/provider-google/lib/compute-network/index.js';
import { ComputeRoute } from '@cdktf/provider-google/lib/compute-route/index.js';
import { ComputeSubnetwork, type ComputeSubnetworkConfig } from '@cdktf/provider-google/lib/compute-subnetwork/index.js';
import { DnsManagedZone } from '@cdktf/provider-google/lib/dns-managed-zone/index.js';
import { DnsPolicy } from '@cdktf/provider-google/lib/dns-policy/index.js';
import { DnsRecordSet } from '@cdktf/provider-google/lib/dns-record-set/index.js';
import { ServiceNetworkingConnection } from '@cdktf/provider-google/lib/service-networking-connection/index.js';
import { Construct } from 'constructs';
import { HOSTS } from '../cell-config.ts';
import type { Namer } from '../naming.ts';
import { cut, type Ranges, RESTRICTED_APIS } from './addresses.ts';

export const RANGE_NAMES = { pods: 'pods', services: 'services' } as const;

export interface NetworkProps {
  readonly named: Namer;
  readonly region: string;
  /** A /16 of 10.0.0.0/8. */
  readonly cidr: string;
}

export class Network extends Construct {
  readonly networkId: string;
  readonly nodeSubnetId: string;
  readonly brokerSubnetId: string;
  readonly brokerAddress: string;
  readonly ranges: Ranges;
  /** What gets a private address of the peering must wait for this. */
  readonly peering: ServiceNetworkingConnection;

  constructor(scope: Construct, id: string, { named, region, cidr }: NetworkProps) {
    super(scope, id);
    const name = (part: string): string => named('gcp-generic', part);
    this.ranges = cut(cidr);
    const network = new ComputeNetwork(this, 'vpc', { name: name('net'), autoCreateSubnetworks: false, routingMode: 'REGIONAL', deleteDefaultRoutesOnCreate: true, networkFirewallPolicyEnforcementOrder: 'BEFORE_CLASSIC_FIREWALL' });
    this.networkId = network.id;
    new ComputeRoute(this, 'to-restricted-apis', {
      // The gateway's name is what the API wants; packets to this range never leave Google's network.
      name: name('to-restricted-apis'), network: network.id, destRange: RESTRICTED_APIS.cidr, nextHopGateway: 'default-internet-gateway', priority: 900, description: 'Google APIs through the restricted range; there is no other route out',
    });

    const subnet = (part: string, ipCidrRange: string, more: Partial<ComputeSubnetworkConfig> = {}): ComputeSubnetwork =>
      new ComputeSubnetwork(this, part, {
        name: name(part), network: network.id, region, ipCidrRange, privateIpGoogleAccess: true, stackType: 'IPV4_ONLY',
        logConfig: { aggregationInterval: 'INTERVAL_5_SEC', flowSampling: 1, metadata: 'INCLUDE_ALL_METADATA' }, ...more,
      });
    const nodes = subnet('nodes', this.ranges.nodes, { secondaryIpRange: [{ rangeName: RANGE_NAMES.pods, ipCidrRange: this.ranges.pods }, { rangeName: RANGE_NAMES.services, ipCidrRange: this.ranges.clusterServices }] });
    const brokers = subnet('brokers', this.ranges.brokers);
    this.nodeSubnetId = nodes.id;
    this.brokerSubnetId = brokers.id;

    const peered = new ComputeGlobalAddress(this, 'services-range', { name: name('services'), purpose: 'VPC_PEERING', addressType: 'INTERNAL', network: network.id, address: this.ranges.services.address, prefixLength: this.ranges.services.prefix });
    this.peering = new ServiceNetworkingConnection(this, 'services-peering', { network: network.id, service: 'servicenetworking.googleapis.com', reservedPeeringRanges: [peered.name] });

    // Fixed, so that each side's configuration names the other before it exists. The Kubernetes stack finds the gateway's by its name.
    const gateway = new ComputeAddress(this, 'gateway-address', { name: name('gateway-internal'), region, addressType: 'INTERNAL', purpose: 'GCE_ENDPOINT', subnetwork: nodes.id, address: this.ranges.gatewayAddress });
    const broker = new ComputeAddress(this, 'broker-address', { name: name('broker-internal'), region, addressType: 'INTERNAL', purpose: 'GCE_ENDPOINT', subnetwork: brokers.id, address: this.ranges.brokerAddress });
    this.brokerAddress = broker.id;

    const privateZone = (part: string, dnsName: string): DnsManagedZone =>
      new DnsManagedZone(this, `zone-${part}`, { name: name(part), dnsName, description: `${dnsName} inside the cell`, visibility: 'private', privateVisibilityConfig: { networks: [{ networkUrl: network.id }] }, forceDestroy: false });
    const record = (part: string, zone: DnsManagedZone, recordName: string, type: string, rrdatas: string[]): DnsRecordSet =>
      new DnsRecordSet(this, part, { name: recordName, managedZone: zone.name, type, ttl: 300, rrdatas });
    // Every name of these domains is the restricted range: what it does not serve cannot be reached at all.
    for (const [part, domain] of [['apis', 'googleapis.com.'], ['registry', 'pkg.dev.'], ['cluster', 'gke.goog.']] as const) {
      const zone = privateZone(part, domain);
      record(`${part}-restricted`, zone, domain, 'A', [...RESTRICTED_APIS.addresses]);
      record(`${part}-all`, zone, `*.${domain}`, 'CNAME', [domain]);
    }
    const cell = privateZone('cell', `${HOSTS.gateway.split('.').slice(1).join('.')}.`);
    record('gateway-name', cell, `${HOSTS.gateway}.`, 'A', [gateway.address]);
    record('broker-name', cell, `${HOSTS.broker}.`, 'A', [broker.address]);
    new DnsPolicy(this, 'dns', { name: name('dns'), enableLogging: true, networks: [{ networkUrl: network.id }] });
  }
}

/**
 * One virtual network per cell, a subnet per role. Nothing has a public address, a default way out or a NAT: what a VM may reach is a private endpoint or the
 * neighbour that its rules name. Each subnet has its own security group that ends in deny-all both ways.
 */
import { NetworkDdosProtectionPlan } from '@cdktf/provider-azurerm/lib/network-ddos-protection-plan/index.js';
import { NetworkSecurityGroup, type NetworkSecurityGroupSecurityRule } from '@cdktf/provider-azurerm/lib/network-security-group/index.js';
import { NetworkWatcherFlowLog } from '@cdktf/provider-azurerm/lib/network-watcher-flow-log/index.js';
import { Subnet } from '@cdktf/provider-azurerm/lib/subnet/index.js';
import { SubnetNetworkSecurityGroupAssociation } from '@cdktf/provider-azurerm/lib/subnet-network-security-group-association/index.js';
import { VirtualNetwork } from '@cdktf/provider-azurerm/lib/virtual-network/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { need } from '../configuration-error.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import { PrivateLinks } from './private-link.ts';
import { type AzureScope, placed } from './scope.ts';

export const SUBNETS = ['gateway', 'broker', 'counter', 'endpoints', 'database', 'link'] as const;
export type SubnetName = (typeof SUBNETS)[number];
/** Where the gateway's process speaks TLS to the edge; the process behind it listens on `PORTS.public`. */
export const ORIGIN_PORT = 443;

/** Where Azure keeps the watchers it makes. */
export const WATCHER_GROUP = 'NetworkWatcherRG';

export interface NetworkProps {
  readonly scope: AzureScope;
  /** A /16. */
  readonly cidr: string;
  /** A plan costs about 3,000 US dollars a month and serves a whole tenant. */
  readonly ddosProtection: boolean;
}

interface Flow { readonly name: string; readonly direction: 'in' | 'out'; readonly peer: string; readonly ports: readonly number[]; readonly protocol?: 'Tcp' | 'Udp' }

export class Network extends Construct {
  readonly virtualNetwork: VirtualNetwork;
  readonly links: PrivateLinks;
  readonly #subnets: Readonly<Record<SubnetName, Subnet>>;
  readonly #cidrs: Readonly<Record<SubnetName, string>>;
  readonly #groups: NetworkSecurityGroup[] = [];
  readonly #scope: AzureScope;

  constructor(parent: Construct, id: string, { scope, cidr, ddosProtection }: NetworkProps) {
    super(parent, id);
    need(/^10\.\d{1,3}\.0\.0\/16$/.test(cidr), 'vnetCidr', cidr, 'a /16 inside 10.0.0.0/8');
    this.#scope = scope;
    const { named } = scope;
    const prefix = cidr.split('.').slice(0, 2).join('.');
    this.#cidrs = Object.fromEntries(SUBNETS.map((name, index) => [name, `${prefix}.${index + 1}.0/24`])) as Record<SubnetName, string>;

    const ddos = ddosProtection ? new NetworkDdosProtectionPlan(this, 'ddos', { ...placed(scope), name: named('azure-generic', 'ddos') }) : undefined;
    this.virtualNetwork = new VirtualNetwork(this, 'vnet', {
      ...placed(scope), name: named('azure-generic', 'vnet'), addressSpace: [cidr],
      ...(ddos === undefined ? {} : { ddosProtectionPlan: { enable: true, id: ddos.id } }),
    });
    this.#subnets = Object.fromEntries(SUBNETS.map((name) => [name, this.#subnet(name)])) as Record<SubnetName, Subnet>;
    this.links = new PrivateLinks(this, 'links', { scope, network: this.virtualNetwork, subnetId: this.#subnets.endpoints.id });
  }

  subnetId(name: SubnetName): string {
    return this.#subnets[name].id;
  }

  /** A fixed address of a subnet: `host` from 4 (Azure keeps the first four) to 254. */
  address(name: SubnetName, host: number): string {
    need(Number.isInteger(host) && host >= 4 && host <= 254, `address in ${name}`, host, 'a host number from 4 to 254');
    return `${this.#cidrs[name].split('.').slice(0, 3).join('.')}.${host}`;
  }

  /** Flow logs of the whole network (those of single groups are retired) into the archive, and the groups' own events. */
  observe({ archiveId, workspaceGuid, workspaceId, days }: { readonly archiveId: string; readonly workspaceGuid: string; readonly workspaceId: string; readonly days: number }): void {
    const scope = this.#scope;
    new NetworkWatcherFlowLog(this, 'flow-log', {
      // A subscription has one watcher per location, which Azure makes with the first network there; a second one is refused.
      networkWatcherName: `NetworkWatcher_${scope.location}`, resourceGroupName: WATCHER_GROUP, location: scope.location, name: scope.named('azure-generic', 'flow-log'),
      targetResourceId: this.virtualNetwork.id, storageAccountId: archiveId, enabled: true, version: 2, retentionPolicy: { enabled: true, days: Math.min(days, 365) },
      trafficAnalytics: { enabled: true, intervalInMinutes: 10, workspaceId: workspaceGuid, workspaceRegion: scope.location, workspaceResourceId: workspaceId },
    });
    const to: Destinations = { workspaceId };
    for (const [index, group] of this.#groups.entries()) diagnose(this, `nsg-${SUBNETS[index]}-logs`, group.id, to, { metrics: [] });
    diagnose(this, 'vnet-logs', this.virtualNetwork.id, to);
  }

  #subnet(name: SubnetName): Subnet {
    const { named, group } = this.#scope;
    const subnet = new Subnet(this, `subnet-${name}`, {
      name, resourceGroupName: group.name, virtualNetworkName: this.virtualNetwork.name, addressPrefixes: [this.#cidrs[name]], defaultOutboundAccessEnabled: false,
      // Without this a security group is not asked about traffic to private endpoints.
      privateEndpointNetworkPolicies: 'Enabled',
      // Source addresses of a private link service cannot come from a subnet with policies on.
      privateLinkServiceNetworkPoliciesEnabled: name !== 'link',
      ...(name === 'database' ? { delegation: [{ name: 'postgresql', serviceDelegation: { name: 'Microsoft.DBforPostgreSQL/flexibleServers', actions: ['Microsoft.Network/virtualNetworks/subnets/join/action'] } }] } : {}),
    });
    const securityGroup = new NetworkSecurityGroup(this, `nsg-${name}`, { ...placed(this.#scope), name: named('azure-generic', `nsg-${name}`), securityRule: this.#rules(name) });
    this.#groups.push(securityGroup);
    new SubnetNetworkSecurityGroupAssociation(this, `nsg-${name}-subnet`, { subnetId: subnet.id, networkSecurityGroupId: securityGroup.id });
    return subnet;
  }

  #rules(name: SubnetName): NetworkSecurityGroupSecurityRule[] {
    const own = this.#cidrs[name];
    const flows = this.#flows(name).map(({ direction, name: flow, peer, ports, protocol = 'Tcp' }, index): NetworkSecurityGroupSecurityRule => ({
      name: flow, priority: 100 + 10 * index, direction: direction === 'in' ? 'Inbound' : 'Outbound', access: 'Allow', protocol, sourcePortRange: '*', destinationPortRanges: ports.map(String),
      ...(direction === 'in' ? { sourceAddressPrefix: peer, destinationAddressPrefix: own } : { sourceAddressPrefix: own, destinationAddressPrefix: peer }),
      description: `${flow.replaceAll('-', ' ')}`,
    }));
    const deny = (direction: 'Inbound' | 'Outbound'): NetworkSecurityGroupSecurityRule => ({
      name: `deny-all-${direction === 'Inbound' ? 'in' : 'out'}`, priority: 4096, direction, access: 'Deny', protocol: '*', sourcePortRange: '*', destinationPortRange: '*', sourceAddressPrefix: '*', destinationAddressPrefix: '*',
      description: 'whatever no rule above names',
    });
    return [...flows, deny('Inbound'), deny('Outbound')];
  }

  /** DNS and the metadata service are the platform's (168.63.129.16, 169.254.169.254) and pass security groups unless they are denied by tag. */
  #flows(name: SubnetName): Flow[] {
    const c = this.#cidrs;
    const endpoints: Flow = { name: 'to-private-endpoints', direction: 'out', peer: c.endpoints, ports: [443] };
    const probes: Flow = { name: 'from-load-balancer-probes', direction: 'in', peer: 'AzureLoadBalancer', ports: [ORIGIN_PORT, PORTS.internal, PORTS.broker, PORTS.health] };
    switch (name) {
      case 'gateway':
        return [
          { name: 'from-private-link', direction: 'in', peer: c.link, ports: [ORIGIN_PORT] }, probes,
          { name: 'from-brokers', direction: 'in', peer: c.broker, ports: [PORTS.internal] }, { name: 'from-counters', direction: 'in', peer: c.counter, ports: [PORTS.internal] },
          { name: 'to-brokers', direction: 'out', peer: c.broker, ports: [PORTS.broker] }, { name: 'to-database', direction: 'out', peer: c.database, ports: [5432, 6432] },
          endpoints,
        ];
      case 'broker':
        return [
          { name: 'from-gateways', direction: 'in', peer: c.gateway, ports: [PORTS.broker] }, probes, { name: 'to-gateways', direction: 'out', peer: c.gateway, ports: [PORTS.internal] }, endpoints];
      case 'counter':
        return [probes, { name: 'to-gateways', direction: 'out', peer: c.gateway, ports: [PORTS.internal] }, endpoints];
      case 'endpoints':
        return [c.gateway, c.broker, c.counter].map((peer, index): Flow => ({ name: `from-${['gateways', 'brokers', 'counters'][index]}`, direction: 'in', peer, ports: [443] }));
      case 'database':
        return [
          { name: 'from-gateways', direction: 'in', peer: c.gateway, ports: [5432, 6432] },
          // Replication and failover between the members of the delegated subnet; the service writes its logs to storage.
          { name: 'from-members', direction: 'in', peer: c.database, ports: [5432, 6432] }, { name: 'to-members', direction: 'out', peer: c.database, ports: [5432, 6432] },
          { name: 'to-storage', direction: 'out', peer: 'Storage', ports: [443] }, { name: 'to-directory', direction: 'out', peer: 'AzureActiveDirectory', ports: [443] },
        ];
      case 'link':
        return [{ name: 'to-gateways', direction: 'out', peer: c.gateway, ports: [ORIGIN_PORT] }];
    }
  }
}

/**
 * An internal Standard load balancer of a role. Public traffic of gateways comes per colour through `front` ends; traffic inside the cell through one
 * `internal` front end with a fixed address, which private DNS names. A broker keeps challenges and sessions in memory, so internal flows stick to a peer.
 */
import { Lb } from '@cdktf/provider-azurerm/lib/lb/index.js';
import { LbBackendAddressPool } from '@cdktf/provider-azurerm/lib/lb-backend-address-pool/index.js';
import { LbProbe } from '@cdktf/provider-azurerm/lib/lb-probe/index.js';
import { LbRule } from '@cdktf/provider-azurerm/lib/lb-rule/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import type { Generation } from '../measurements.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import { type AzureScope, placed } from './scope.ts';

export interface BalancerProps {
  readonly scope: AzureScope;
  readonly logs: Destinations;
  readonly role: string;
  readonly subnetId: string;
  readonly zones: readonly string[];
  /** Fixed address and port inside the cell. */
  readonly internal: { readonly address: string; readonly port: number };
  /** Fixed address per colour, and the port of its VMs. */
  readonly front?: { readonly addresses: Readonly<Record<Generation, string>>; readonly port: number };
}

export class Balancer extends Construct {
  readonly lb: Lb;
  readonly probe: LbProbe;
  readonly rules: readonly LbRule[];
  readonly #names: readonly string[];
  readonly #pools: ReadonlyMap<string, LbBackendAddressPool>;

  constructor(parent: Construct, id: string, { scope, logs, role, subnetId, zones, internal, front }: BalancerProps) {
    super(parent, id);
    const ends = [
      { name: 'internal', address: internal.address, port: internal.port, sticky: true },
      ...(front === undefined ? [] : (['blue', 'green'] as const).map((name) => ({ name, address: front.addresses[name], port: front.port, sticky: false }))),
    ];
    this.#names = ends.map(({ name }) => name);
    this.lb = new Lb(this, 'lb', {
      ...placed(scope), name: scope.named('azure-generic', `lb-${role}`), sku: 'Standard',
      frontendIpConfiguration: ends.map(({ name, address }) => ({ name, subnetId, privateIpAddressAllocation: 'Static', privateIpAddress: address, privateIpAddressVersion: 'IPv4', zones: [...zones] })),
    });
    this.probe = new LbProbe(this, 'probe', { name: 'health', loadbalancerId: this.lb.id, protocol: 'Http', port: PORTS.health, requestPath: '/', intervalInSeconds: 5, numberOfProbes: 2, probeThreshold: 2 });
    this.#pools = new Map(ends.map(({ name }) => [name, new LbBackendAddressPool(this, `pool-${name}`, { name, loadbalancerId: this.lb.id })]));
    this.rules = ends.map(({ name, port, sticky }) => new LbRule(this, `rule-${name}`, {
      name, loadbalancerId: this.lb.id, protocol: 'Tcp', frontendPort: port, backendPort: port, frontendIpConfigurationName: name, backendAddressPoolIds: [this.#pool(name).id], probeId: this.probe.id,
      disableOutboundSnat: true, tcpResetEnabled: true, idleTimeoutInMinutes: 15, loadDistribution: sticky ? 'SourceIP' : 'Default',
    }));
    diagnose(this, 'lb-logs', this.lb.id, logs);
  }

  /** Pools of one colour's VMs. */
  poolsOf(generation: Generation): string[] {
    return ['internal', generation].filter((name) => this.#pools.has(name)).map((name) => this.#pool(name).id);
  }

  frontendId(generation: Generation): string {
    return this.lb.frontendIpConfiguration.get(this.#names.indexOf(generation)).id;
  }

  #pool(name: string): LbBackendAddressPool {
    const pool = this.#pools.get(name);
    if (pool === undefined) throw new TypeError(`no pool ${name}`);
    return pool;
  }
}

/** A PaaS resource inside the network: a private endpoint, its name in the private zone of the service. */
import { PrivateDnsZone } from '@cdktf/provider-azurerm/lib/private-dns-zone/index.js';
import { PrivateDnsZoneVirtualNetworkLink } from '@cdktf/provider-azurerm/lib/private-dns-zone-virtual-network-link/index.js';
import { PrivateEndpoint } from '@cdktf/provider-azurerm/lib/private-endpoint/index.js';
import type { VirtualNetwork } from '@cdktf/provider-azurerm/lib/virtual-network/index.js';
import { Construct } from 'constructs';
import { type AzureScope, placed } from './scope.ts';

/** Zones by service; names are fixed by Azure ("private endpoint DNS zone values"). */
export const ZONES = {
  vault: ['privatelink.vaultcore.azure.net'],
  blob: ['privatelink.blob.core.windows.net'],
  attestation: ['privatelink.attest.azure.net'],
  registry: ['privatelink.azurecr.io'],
  // Azure Monitor answers under several names; its agents also read solution packs from blob storage.
  monitor: ['privatelink.monitor.azure.com', 'privatelink.oms.opinsights.azure.com', 'privatelink.ods.opinsights.azure.com', 'privatelink.agentsvc.azure-automation.net', 'privatelink.blob.core.windows.net'],
} as const satisfies Record<string, readonly string[]>;
export type PrivateService = keyof typeof ZONES;

const SUBRESOURCE: Readonly<Record<PrivateService, string>> = { vault: 'vault', blob: 'blob', attestation: 'standard', registry: 'registry', monitor: 'azuremonitor' };

export class PrivateLinks extends Construct {
  readonly #scope: AzureScope;
  readonly #network: VirtualNetwork;
  readonly #subnetId: string;
  readonly #zones = new Map<string, PrivateDnsZone>();

  constructor(parent: Construct, id: string, props: { readonly scope: AzureScope; readonly network: VirtualNetwork; readonly subnetId: string }) {
    super(parent, id);
    this.#scope = props.scope;
    this.#network = props.network;
    this.#subnetId = props.subnetId;
  }

  /** `service` of `targetId`, reachable from the network's subnets alone. */
  connect(id: string, service: PrivateService, targetId: string): PrivateEndpoint {
    const { named } = this.#scope;
    return new PrivateEndpoint(this, id, {
      ...placed(this.#scope), name: named('azure-generic', `pe-${id}`), subnetId: this.#subnetId, customNetworkInterfaceName: named('azure-generic', `pe-${id}-nic`),
      privateServiceConnection: { name: id, isManualConnection: false, privateConnectionResourceId: targetId, subresourceNames: [SUBRESOURCE[service]] },
      privateDnsZoneGroup: { name: 'default', privateDnsZoneIds: ZONES[service].map((name) => this.zone(name).id) },
    });
  }

  /** The private zone `name`, linked to the network; made once. */
  zone(name: string): PrivateDnsZone {
    const known = this.#zones.get(name);
    if (known !== undefined) return known;
    const slug = name.replaceAll('.', '-');
    const zone = new PrivateDnsZone(this, `zone-${slug}`, { name, resourceGroupName: this.#scope.group.name });
    new PrivateDnsZoneVirtualNetworkLink(this, `zone-link-${slug}`, { name: 'cell', privateDnsZoneName: zone.name, virtualNetworkId: this.#network.id, resourceGroupName: this.#scope.group.name, registrationEnabled: false });
    this.#zones.set(name, zone);
    return zone;
  }
}

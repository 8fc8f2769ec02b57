/** Images of the roles, by digest, behind a private endpoint. The pipeline imports a digest that was built once; nothing is built or exported here. */
import { ContainerRegistry } from '@cdktf/provider-azurerm/lib/container-registry/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { Construct } from 'constructs';
import { type Destinations, diagnose } from './diagnostics.ts';
import type { InfraKey } from './infra-key.ts';
import type { PrivateLinks } from './private-link.ts';
import { type AzureScope, guarded, placed } from './scope.ts';

export interface RegistryProps {
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  readonly logs: Destinations;
  readonly key: InfraKey;
  /** A second location, inside the residency. */
  readonly copyLocation: string;
}

export class Registry extends Construct {
  readonly registry: ContainerRegistry;
  /** Known from the name, so that custom data is known at synthesis. */
  readonly host: string;

  constructor(parent: Construct, id: string, { scope, links, logs, key, copyLocation }: RegistryProps) {
    super(parent, id);
    const name = scope.named('container-registry', 'images');
    this.host = `${name}.azurecr.io`;
    const { identity, grant } = key.user('registry');
    this.registry = new ContainerRegistry(this, 'registry', {
      ...placed(scope), name, sku: 'Premium', adminEnabled: false, anonymousPullEnabled: false, publicNetworkAccessEnabled: false, exportPolicyEnabled: false, dataEndpointEnabled: true, zoneRedundancyEnabled: true,
      networkRuleBypassOption: 'None', quarantinePolicyEnabled: false, retentionPolicyInDays: 90,
      georeplications: [{ location: copyLocation, zoneRedundancyEnabled: true, regionalEndpointEnabled: false }],
      identity: { type: 'UserAssigned', identityIds: [identity.id] }, encryption: [{ keyVaultKeyId: key.key.versionlessId, identityClientId: identity.clientId }],
      dependsOn: [grant], lifecycle: guarded(scope.protect),
    });
    links.connect('registry', 'registry', this.registry.id);
    diagnose(this, 'registry-logs', this.registry.id, logs);
  }

  grantPull(id: string, principalId: string): RoleAssignment {
    return new RoleAssignment(this, `${id}-pull`, { scope: this.registry.id, roleDefinitionName: 'AcrPull', principalId, principalType: 'ServicePrincipal', description: 'pulls its own image' });
  }
}

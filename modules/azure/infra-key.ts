/** The infrastructure's keys: encryption at rest of databases, stores and images. Their users are Azure services, so no evidence guards them; never the data key. */
import { KeyVault } from '@cdktf/provider-azurerm/lib/key-vault/index.js';
import { KeyVaultKey } from '@cdktf/provider-azurerm/lib/key-vault-key/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { UserAssignedIdentity } from '@cdktf/provider-azurerm/lib/user-assigned-identity/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import type { PrivateLinks } from './private-link.ts';
import { type AzureScope, days, guarded, placed } from './scope.ts';

export interface InfraKeyProps {
  /** Where the key lives: of the cell, or of the paired region for copies there. */
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  /** Part of the names: `inf`, or `geo` in the paired region. */
  readonly part: 'inf' | 'geo';
  readonly rotationDays: number;
  readonly softDeleteDays: number;
}

export class InfraKey extends Construct {
  readonly vault: KeyVault;
  readonly key: KeyVaultKey;
  readonly #scope: AzureScope;
  readonly #part: string;

  constructor(parent: Construct, id: string, { scope, links, part, rotationDays, softDeleteDays }: InfraKeyProps) {
    super(parent, id);
    needWhole('keys.rotationDays', rotationDays, 1, 90, 'days');
    needWhole('soft delete', softDeleteDays, 90, 90, 'days');
    this.#scope = scope;
    this.#part = part;
    const { named } = scope;
    this.vault = new KeyVault(this, 'vault', {
      ...placed(scope), name: named('key-vault', part), tenantId: scope.tenantId, skuName: 'premium', rbacAuthorizationEnabled: true, purgeProtectionEnabled: true, softDeleteRetentionDays: softDeleteDays,
      publicNetworkAccessEnabled: false, enabledForDeployment: false, enabledForDiskEncryption: false, enabledForTemplateDeployment: false,
      // Storage, registry and database reach their key as trusted services.
      networkAcls: { bypass: 'AzureServices', defaultAction: 'Deny', ipRules: [], virtualNetworkSubnetIds: [] },
      lifecycle: guarded(scope.protect),
    });
    const endpoint = links.connect(`vault-${part}`, 'vault', this.vault.id);
    this.key = new KeyVaultKey(this, 'key', {
      name: named('key-vault-key', 'infra'), keyVaultId: this.vault.id, keyType: 'RSA-HSM', keySize: 3072, keyOpts: ['wrapKey', 'unwrapKey'],
      rotationPolicy: { automatic: { timeAfterCreation: days(rotationDays) }, expireAfter: days(2 * rotationDays), notifyBeforeExpiry: days(30) },
      // A vault without a public side is reached through its endpoint alone, by the apply too.
      dependsOn: [endpoint], lifecycle: guarded(scope.protect),
    });
  }

  /** Apart from the constructor: the archive that the log goes to is encrypted with this key. */
  observe(logs: Destinations): void {
    diagnose(this, 'vault-logs', this.vault.id, logs, { dedicated: true });
  }

  /** An identity that may wrap and unwrap with this key, for one service. */
  user(id: string): { identity: UserAssignedIdentity; grant: RoleAssignment } {
    const identity = new UserAssignedIdentity(this, `${id}-identity`, { ...placed(this.#scope), name: this.#scope.named('azure-generic', `cmk-${this.#part}-${id}`) });
    const grant = new RoleAssignment(this, `${id}-grant`, {
      scope: this.key.resourceVersionlessId, roleDefinitionName: 'Key Vault Crypto Service Encryption User', principalId: identity.principalId, principalType: 'ServicePrincipal', description: `encryption at rest of ${id}`,
    });
    return { identity, grant };
  }
}

/**
 * Encryption of the VMs' disks with our own key. Two principals use the key: the disk service, through the set's identity, and the platform's Confidential VM
 * Orchestrator, to which the key is released when a VM boots. The key cannot rotate by itself: every VM on the set would have to be stopped, so rotation is
 * another key, another set and another colour of fleet.
 */
import { DiskEncryptionSet } from '@cdktf/provider-azurerm/lib/disk-encryption-set/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { ServicePrincipal } from '@cdktf/provider-azuread/lib/service-principal/index.js';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { AzapiResource } from '../untyped.ts';
import { type AzureScope, guarded, placed } from './scope.ts';

/** "Confidential VM Orchestrator", the same application in every tenant. */
export const ORCHESTRATOR = 'bf7b6499-ff71-4aa2-97a4-f372087be7f0';

export class DiskEncryption extends Construct {
  readonly set: DiskEncryptionSet;
  /** What must be there before a VM boots. */
  readonly grants: readonly ITerraformDependable[];

  constructor(parent: Construct, id: string, { scope, key }: { readonly scope: AzureScope; readonly key: AzapiResource }) {
    super(parent, id);
    this.set = new DiskEncryptionSet(this, 'set', {
      ...placed(scope), name: scope.named('azure-generic', 'disks'), encryptionType: 'ConfidentialVmEncryptedWithCustomerKey', keyVaultKeyId: key.output('properties.keyUriWithVersion'), autoKeyRotationEnabled: false,
      identity: { type: 'SystemAssigned' }, lifecycle: guarded(scope.protect),
    });
    const orchestrator = new ServicePrincipal(this, 'orchestrator', { clientId: ORCHESTRATOR, useExisting: true });
    this.grants = [
      new RoleAssignment(this, 'set-wraps', { scope: key.id, roleDefinitionName: 'Key Vault Crypto Service Encryption User', principalId: this.set.identity.principalId, principalType: 'ServicePrincipal', description: 'the disk service' }),
      new RoleAssignment(this, 'orchestrator-releases', { scope: key.id, roleDefinitionName: 'Key Vault Crypto Service Release User', principalId: orchestrator.objectId, principalType: 'ServicePrincipal', description: 'boots the confidential VMs' }),
    ];
  }
}

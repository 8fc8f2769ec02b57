/** Ciphertext: one storage account, reachable through its private endpoint with directory identities only. */
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { StorageAccount } from '@cdktf/provider-azurerm/lib/storage-account/index.js';
import { StorageContainer } from '@cdktf/provider-azurerm/lib/storage-container/index.js';
import { StorageContainerImmutabilityPolicy } from '@cdktf/provider-azurerm/lib/storage-container-immutability-policy/index.js';
import { StorageManagementPolicy } from '@cdktf/provider-azurerm/lib/storage-management-policy/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import type { InfraKey } from './infra-key.ts';
import type { PrivateLinks } from './private-link.ts';
import { type AzureScope, guarded, placed } from './scope.ts';

export interface AccountProps {
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  readonly key: InfraKey;
  /** Part of the names. */
  readonly part: string;
  /** `GZRS` also copies to the paired region, `ZRS` to the zones of this one. */
  readonly replication: 'ZRS' | 'GZRS';
  /** Days that a deleted blob or container can be brought back. */
  readonly undeleteDays: number;
}

/** A storage account as all of them are here. */
export function storageAccount(parent: Construct, id: string, { scope, links, key, part, replication, undeleteDays }: AccountProps): StorageAccount {
  needWhole('undelete', undeleteDays, 7, 365, 'days');
  const { identity, grant } = key.user(part);
  const account = new StorageAccount(parent, id, {
    ...placed(scope), name: scope.named('storage-account', part), accountKind: 'StorageV2', accountTier: 'Standard', accountReplicationType: replication, accessTier: 'Hot',
    minTlsVersion: 'TLS1_2', httpsTrafficOnlyEnabled: true, sharedAccessKeyEnabled: false, defaultToOauthAuthentication: true, localUserEnabled: false, allowNestedItemsToBePublic: false, publicNetworkAccessEnabled: false,
    crossTenantReplicationEnabled: false, allowedCopyScope: 'AAD', infrastructureEncryptionEnabled: true, sftpEnabled: false,
    networkRules: { defaultAction: 'Deny', bypass: ['AzureServices'], ipRules: [], virtualNetworkSubnetIds: [] },
    identity: { type: 'UserAssigned', identityIds: [identity.id] },
    customerManagedKey: { keyVaultKeyId: key.key.versionlessId, userAssignedIdentityId: identity.id },
    blobProperties: { versioningEnabled: true, changeFeedEnabled: true, changeFeedRetentionInDays: 365, deleteRetentionPolicy: { days: undeleteDays }, containerDeleteRetentionPolicy: { days: undeleteDays } },
    sasPolicy: { expirationPeriod: '00.01:00:00', expirationAction: 'Log' },
    dependsOn: [grant], lifecycle: guarded(scope.protect),
  });
  links.connect(`blob-${part}`, 'blob', account.id);
  return account;
}

export interface StoreProps extends Omit<AccountProps, 'part'> {
  readonly logs: Destinations;
  readonly lock: 'reversible' | 'irreversible';
  /** Days that nobody can delete or change a stored message. */
  readonly lockDays: number;
  /** Days after which a message is deleted. */
  readonly keepDays: number;
}

export class Store extends Construct {
  readonly account: StorageAccount;
  readonly container: StorageContainer;
  readonly url: string;

  constructor(parent: Construct, id: string, { logs, lock, lockDays, keepDays, ...account }: StoreProps) {
    super(parent, id);
    needWhole('store.lockDays', lockDays, 1, 30, 'days');
    needWhole('store.keepDays', keepDays, lockDays + 1, 3_653, 'days');
    this.account = storageAccount(this, 'account', { ...account, part: 'store' });
    this.url = `azblob://${account.scope.named('storage-account', 'store')}/messages`;
    this.container = new StorageContainer(this, 'messages', { name: 'messages', storageAccountId: this.account.id, containerAccessType: 'private', lifecycle: guarded(account.scope.protect) });
    new StorageContainerImmutabilityPolicy(this, 'messages-immutability', { storageContainerResourceManagerId: this.container.resourceManagerId, immutabilityPeriodInDays: lockDays, locked: lock === 'irreversible', protectedAppendWritesAllEnabled: false });
    new StorageManagementPolicy(this, 'messages-lifecycle', {
      storageAccountId: this.account.id,
      rule: [{
        name: 'forget', enabled: true, filters: { blobTypes: ['blockBlob'], prefixMatch: ['messages/'] },
        actions: { baseBlob: { tierToCoolAfterDaysSinceModificationGreaterThan: 30, deleteAfterDaysSinceModificationGreaterThan: keepDays }, version: { deleteAfterDaysSinceCreation: keepDays }, snapshot: { deleteAfterDaysSinceCreationGreaterThan: keepDays } },
      }],
    });
    diagnose(this, 'account-logs', `${this.account.id}/blobServices/default`, logs, { metrics: ['Transaction'] });
  }

  /** Reads and writes messages, and nothing else of the account. */
  grantMessages(id: string, principalId: string): RoleAssignment {
    return new RoleAssignment(this, `${id}-messages`, { scope: this.container.resourceManagerId, roleDefinitionName: 'Storage Blob Data Contributor', principalId, principalType: 'ServicePrincipal', description: 'a gateway of this cell' });
  }
}

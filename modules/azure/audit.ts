/**
 * What nobody may change: the audit log's tiles, the logs of keys and networks. In a resource group of its own with a lock, on an account of its own, apart
 * from data; containers are append-only for the retention of the environment, irrevocably where its lock says so.
 */
import { ManagementLock } from '@cdktf/provider-azurerm/lib/management-lock/index.js';
import { MonitorDiagnosticSetting } from '@cdktf/provider-azurerm/lib/monitor-diagnostic-setting/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import type { StorageAccount } from '@cdktf/provider-azurerm/lib/storage-account/index.js';
import { StorageContainer } from '@cdktf/provider-azurerm/lib/storage-container/index.js';
import { StorageContainerImmutabilityPolicy } from '@cdktf/provider-azurerm/lib/storage-container-immutability-policy/index.js';
import { StorageManagementPolicy } from '@cdktf/provider-azurerm/lib/storage-management-policy/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import { diagnose } from './diagnostics.ts';
import { type AzureScope, guarded } from './scope.ts';
import { type AccountProps, storageAccount } from './store.ts';

/**
 * Checkpoints and tiles of the audit log, receipts of brokers, and, under the names that Azure Monitor gives them, what vaults and the attestation instance
 * did and who did what in the subscription. Flow logs rewrite their blobs, which an immutable container refuses: theirs is made by the service.
 */
const CONTAINERS = ['audit-tiles', 'receipts', 'insights-logs-auditevent', 'insights-activity-logs'] as const;

export interface AuditProps extends Omit<AccountProps, 'part' | 'scope'> {
  /** Of the resource group of audit. */
  readonly scope: AzureScope;
  readonly workspaceId: string;
  readonly lock: 'reversible' | 'irreversible';
  readonly retentionDays: number;
}

export class Audit extends Construct {
  readonly account: StorageAccount;
  readonly tiles: StorageContainer;

  constructor(parent: Construct, id: string, { workspaceId, lock, retentionDays, ...account }: AuditProps) {
    super(parent, id);
    needWhole('retention.audit', retentionDays, 365, 3_653, 'days');
    const { scope } = account;
    this.account = storageAccount(this, 'account', { ...account, part: 'audit' });
    const containers = CONTAINERS.map((name) => {
      const container = new StorageContainer(this, name, { name, storageAccountId: this.account.id, containerAccessType: 'private', lifecycle: guarded(scope.protect) });
      new StorageContainerImmutabilityPolicy(this, `${name}-immutability`, {
        storageContainerResourceManagerId: container.resourceManagerId, immutabilityPeriodInDays: retentionDays, locked: lock === 'irreversible', protectedAppendWritesAllEnabled: true,
      });
      return container;
    });
    this.tiles = containers[0] as StorageContainer;
    new StorageManagementPolicy(this, 'lifecycle', {
      storageAccountId: this.account.id,
      rule: [{
        name: 'keep', enabled: true, filters: { blobTypes: ['blockBlob', 'appendBlob'], prefixMatch: ['insights-'] },
        actions: { baseBlob: { deleteAfterDaysSinceModificationGreaterThan: retentionDays + 1 }, version: { deleteAfterDaysSinceCreation: retentionDays + 1 } },
      }],
    });
    diagnose(this, 'account-logs', `${this.account.id}/blobServices/default`, { workspaceId }, { metrics: ['Transaction'] });
    // Who did what in the subscription: into the workspace and into the archive.
    new MonitorDiagnosticSetting(this, 'activity-log', {
      name: scope.named('azure-generic', 'activity'), targetResourceId: `/subscriptions/${scope.subscriptionId}`, logAnalyticsWorkspaceId: workspaceId, storageAccountId: this.account.id,
      enabledLog: ['Administrative', 'Security', 'ServiceHealth', 'Alert', 'Recommendation', 'Policy', 'Autoscale', 'ResourceHealth'].map((category) => ({ category })),
    });
    // The pipeline can write locks and not delete them (identity.ts).
    if (scope.protect) new ManagementLock(this, 'group-lock', { name: 'audit', scope: scope.group.id, lockLevel: 'CanNotDelete', notes: 'Audit trails are kept for the retention of the environment.' });
  }

  /** Appends tiles; may neither delete nor overwrite, by the containers' policy. */
  grantAppend(id: string, principalId: string): RoleAssignment {
    return new RoleAssignment(this, `${id}-tiles`, { scope: this.tiles.resourceManagerId, roleDefinitionName: 'Storage Blob Data Contributor', principalId, principalType: 'ServicePrincipal', description: 'writes the tiles of the audit log' });
  }
}

/**
 * Who may change the cell: two identities of the pipeline, without secrets, by tokens of GitHub (which live an hour and less). `plan` reads, on pull requests and at night on main;
 * `apply` writes, from the environment that people approve. Neither can read, release or use a key, run a command in a VM, delete a lock or purge a vault.
 * The first apply is an owner's: it makes these identities.
 */
import { FederatedIdentityCredential } from '@cdktf/provider-azurerm/lib/federated-identity-credential/index.js';
import type { KeyVault } from '@cdktf/provider-azurerm/lib/key-vault/index.js';
import { ManagementLock } from '@cdktf/provider-azurerm/lib/management-lock/index.js';
import { ResourceGroupPolicyAssignment } from '@cdktf/provider-azurerm/lib/resource-group-policy-assignment/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { RoleDefinition } from '@cdktf/provider-azurerm/lib/role-definition/index.js';
import { UserAssignedIdentity } from '@cdktf/provider-azurerm/lib/user-assigned-identity/index.js';
import type { ResourceGroup } from '@cdktf/provider-azurerm/lib/resource-group/index.js';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import { WATCHER_GROUP } from './network.ts';
import { type AzureScope, placed } from './scope.ts';

export interface IdentityProps {
  readonly scope: AzureScope;
  /** Every resource group of the cell. */
  readonly groups: Readonly<Record<string, ResourceGroup>>;
  /** Vaults of infrastructure keys, which Terraform makes through the vault itself. The attested vault is not among them: its keys come through ARM, which cannot change them. */
  readonly infraVaults: Readonly<Record<string, KeyVault>>;
  /** `owner/name`. */
  readonly repository: string;
  /** GitHub environment with required reviewers. */
  readonly deployment: string;
  readonly residency: readonly string[];
  /** Resources that nobody deletes by accident; by name. */
  readonly locked: Readonly<Record<string, string>>;
}

const ISSUER = 'https://token.actions.githubusercontent.com';
const AUDIENCE = 'api://AzureADTokenExchange';
/** The built-in definition "Allowed locations"; it passes over global resources. */
const ALLOWED_LOCATIONS = '/providers/Microsoft.Authorization/policyDefinitions/e56962a6-4747-49cd-b67b-bf8b01975c4c';

/** The only roles that `apply` may give, and only to service principals: ids of the built-in roles of this cell. */
const ASSIGNABLE = {
  AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d',
  'Key Vault Crypto Service Encryption User': 'e147488a-f6f5-4113-8e2d-b22465e65bf6',
  'Key Vault Crypto Service Release User': '08bbd89e-9f13-488c-ac41-acfcb10c90ab',
  'Key Vault Reader': '21090545-7ca7-4776-b22c-e363652d74d2',
  'Key Vault Secrets User': '4633458b-17de-408a-b874-0445c86b69e6',
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb',
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe',
  Reader: 'acdd72a7-3385-48ef-bd42-f606fba81ae7',
} as const;

const WRITES = [
  'Microsoft.Attestation/*', 'Microsoft.Cdn/*', 'Microsoft.Compute/virtualMachineScaleSets/*', 'Microsoft.Compute/diskEncryptionSets/*', 'Microsoft.ConfidentialLedger/ledgers/*', 'Microsoft.Consumption/budgets/*',
  'Microsoft.ContainerRegistry/registries/*', 'Microsoft.DataProtection/backupVaults/*', 'Microsoft.DBforPostgreSQL/flexibleServers/*', 'Microsoft.Insights/*', 'Microsoft.KeyVault/vaults/*', 'Microsoft.ManagedIdentity/userAssignedIdentities/*',
  'Microsoft.Network/*', 'Microsoft.OperationalInsights/workspaces/*', 'Microsoft.Resources/deployments/*', 'Microsoft.Resources/subscriptions/resourceGroups/*', 'Microsoft.Storage/storageAccounts/*',
  'Microsoft.Authorization/locks/read', 'Microsoft.Authorization/locks/write', 'Microsoft.Authorization/policyAssignments/*', 'Microsoft.Authorization/roleAssignments/*', 'Microsoft.Authorization/roleDefinitions/read',
] as const;
const NEVER = [
  // Ways into a running VM, and keys or stores that would be gone for good.
  'Microsoft.Compute/virtualMachineScaleSets/virtualMachines/runCommand/action', 'Microsoft.Compute/virtualMachineScaleSets/virtualMachines/runCommands/*', 'Microsoft.Compute/virtualMachineScaleSets/virtualMachines/retrieveBootDiagnosticsData/action',
  'Microsoft.KeyVault/locations/deletedVaults/purge/action', 'Microsoft.Storage/storageAccounts/listKeys/action', 'Microsoft.Storage/storageAccounts/regenerateKey/action', 'Microsoft.ContainerRegistry/registries/listCredentials/action',
] as const;

export class Identity extends Construct {
  readonly plan: UserAssignedIdentity;
  readonly apply: UserAssignedIdentity;

  constructor(parent: Construct, id: string, { scope, groups, infraVaults, repository, deployment, residency, locked }: IdentityProps) {
    super(parent, id);
    need(/^[\w.-]+\/[\w.-]+$/.test(repository), 'repository', repository, 'owner/name');
    need(residency.length > 0, 'residency', residency, 'at least one location');
    const { named } = scope;
    const identity = (name: 'plan' | 'apply', subjects: Readonly<Record<string, string>>): UserAssignedIdentity => {
      const made = new UserAssignedIdentity(this, name, { ...placed(scope), name: named('azure-generic', `ci-${name}`) });
      // One after the other: Azure refuses credentials of one identity that are written at once.
      let before: FederatedIdentityCredential[] = [];
      for (const [credential, subject] of Object.entries(subjects)) {
        before = [new FederatedIdentityCredential(this, `${name}-${credential}`, { name: credential, resourceGroupName: scope.group.name, parentId: made.id, issuer: ISSUER, audience: [AUDIENCE], subject: `repo:${repository}:${subject}`, dependsOn: before })];
      }
      return made;
    };
    // The second is the subject of scheduled runs: drift.
    this.plan = identity('plan', { github: 'pull_request', 'github-main': 'ref:refs/heads/main' });
    // The environment takes deployments of the branch main alone.
    this.apply = identity('apply', { github: `environment:${deployment}` });

    const deployer = new RoleDefinition(this, 'deployer', {
      name: named('azure-generic', 'deployer'), scope: scope.group.id, description: 'Deploys the cell. Uses no key, enters no VM.', assignableScopes: Object.values(groups).map((group) => group.id),
      permissions: [{ actions: ['*/read', ...WRITES], notActions: [...NEVER], dataActions: [], notDataActions: [] }],
    });
    const keyMaker = new RoleDefinition(this, 'key-maker', {
      name: named('azure-generic', 'key-maker'), scope: scope.group.id, description: 'Makes keys of the infrastructure and their rotation, and uses none.', assignableScopes: [scope.group.id],
      permissions: [{ actions: [], notActions: [], dataActions: ['Microsoft.KeyVault/vaults/keys/read', 'Microsoft.KeyVault/vaults/keys/create/action', 'Microsoft.KeyVault/vaults/keyrotationpolicies/read', 'Microsoft.KeyVault/vaults/keyrotationpolicies/write'], notDataActions: [] }],
    });
    for (const [name, vault] of Object.entries(infraVaults)) {
      new RoleAssignment(this, `apply-makes-${name}-key`, { scope: vault.id, roleDefinitionId: keyMaker.roleDefinitionResourceId, principalId: this.apply.principalId, principalType: 'ServicePrincipal', description: 'keys of the infrastructure' });
    }
    // The whole subscription is the environment's; both also refresh what lies beside the groups, and the attributes of keys.
    const subscription = `/subscriptions/${scope.subscriptionId}`;
    for (const [name, { principalId }] of [['plan', this.plan], ['apply', this.apply]] as const) {
      for (const role of ['Reader', 'Key Vault Reader']) {
        new RoleAssignment(this, `${name}-${role.toLowerCase().replaceAll(' ', '-')}`, { scope: subscription, roleDefinitionName: role, principalId, principalType: 'ServicePrincipal', description: `${name}s refresh the state` });
      }
    }
    new RoleAssignment(this, 'apply-watcher', { scope: `${subscription}/resourceGroups/${WATCHER_GROUP}`, roleDefinitionName: 'Network Contributor', principalId: this.apply.principalId, principalType: 'ServicePrincipal', description: 'flow logs' });
    const allowed = Object.values(ASSIGNABLE).join(', ');
    const condition = [
      `(!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'}) OR (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${allowed}} AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {'ServicePrincipal'}))`,
      `(!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'}) OR (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {${allowed}}))`,
    ].join(' AND ');
    for (const [name, group] of Object.entries(groups)) {
      new RoleAssignment(this, `apply-writes-${name}`, { scope: group.id, roleDefinitionId: deployer.roleDefinitionResourceId, principalId: this.apply.principalId, principalType: 'ServicePrincipal', description: 'deployments', condition, conditionVersion: '2.0' });
      new ResourceGroupPolicyAssignment(this, `residency-${name}`, {
        name: `residency-${name}`, displayName: 'Data residency', resourceGroupId: group.id, policyDefinitionId: ALLOWED_LOCATIONS, enforce: true, description: 'Nothing of this cell may be elsewhere.',
        parameters: JSON.stringify({ listOfAllowedLocations: { value: residency } }), nonComplianceMessage: [{ content: `Locations outside ${residency.join(', ')} are outside the residency of this environment.` }],
      });
    }
    for (const [name, target] of Object.entries(locked)) new ManagementLock(this, `lock-${name}`, { name: `keep-${name}`, scope: target, lockLevel: 'CanNotDelete', notes: 'Holds keys or data that cannot be made again.' });
  }
}

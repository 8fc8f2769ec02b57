/** Microsoft Defender for Cloud: what reports the guests' attestation, odd uses of vaults, stores and databases, and odd acts of administrators. */
import { SecurityCenterContact } from '@cdktf/provider-azurerm/lib/security-center-contact/index.js';
import { SecurityCenterSubscriptionPricing } from '@cdktf/provider-azurerm/lib/security-center-subscription-pricing/index.js';
import { Construct } from 'constructs';

/** Plans by the type of resource that they watch; names are the service's. */
export const PLANS: Readonly<Record<string, { readonly resourceType: string; readonly subplan?: string }>> = {
  arm: { resourceType: 'Arm', subplan: 'PerSubscription' },
  containers: { resourceType: 'Containers' },
  databases: { resourceType: 'OpenSourceRelationalDatabases' },
  stores: { resourceType: 'StorageAccounts', subplan: 'DefenderForStorageV2' },
  vaults: { resourceType: 'KeyVaults', subplan: 'PerKeyVault' },
  // P1: without agents inside. What a TEE runs is measured, and nothing else runs in it.
  machines: { resourceType: 'VirtualMachines', subplan: 'P1' },
};

export class Defender extends Construct {
  constructor(parent: Construct, id: string, { contact }: { readonly contact: string }) {
    super(parent, id);
    for (const [name, plan] of Object.entries(PLANS)) new SecurityCenterSubscriptionPricing(this, name, { tier: 'Standard', ...plan });
    new SecurityCenterContact(this, 'contact', { name: 'default', email: contact, alertNotifications: true, alertsToAdmins: true });
  }
}

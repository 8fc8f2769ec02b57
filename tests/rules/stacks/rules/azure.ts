/** Rule 3: confidential sizes with vTPM, Secure Boot and encrypted guest state; keys that only measured guests get; vaults that nobody reaches from outside. */
import type { Rule } from '../rule.ts';
import { at, list, resources } from '../template.ts';

const CONFIDENTIAL = /^Standard_(?:DC|EC)\d+(?:as|ads)_v[56]$|^Standard_(?:DC|EC)\d+(?:es|eds)_v6$/;

export const azureFleet: Rule = {
  id: 'azure-fleet',
  title: 'confidential size, vTPM, Secure Boot, guest state and disk encrypted by a ConfidentialVm disk encryption set, no password, no SSH from outside',
  check(t, say) {
    if (t.cloud !== 'azure') return;
    const sets = resources(t, 'azurerm_linux_virtual_machine_scale_set');
    for (const role of ['broker', 'counter']) if (!sets.some((b) => b.name.includes(role))) say(`azurerm_linux_virtual_machine_scale_set.*${role}*`, 'no scale set of this role');
    for (const b of resources(t, /^azurerm_(?:orchestrated_virtual_machine_scale_set|linux_virtual_machine|virtual_machine|windows_virtual_machine_scale_set)$/)) say(b, 'not a Uniform scale set: confidential settings cannot be expressed');
    for (const b of sets) {
      if (!CONFIDENTIAL.test(String(b.body['sku']))) say(b, `size ${String(b.body['sku'])} is not confidential`);
      if (b.body['vtpm_enabled'] !== true) say(b, 'no vTPM');
      if (b.body['secure_boot_enabled'] !== true) say(b, 'no Secure Boot');
      if (at(b.body, 'os_disk', 'security_encryption_type') !== 'DiskWithVMGuestState') say(b, 'disk and guest state are not encrypted with the VM');
      const des = /azurerm_disk_encryption_set\.([\w-]+)\./.exec(String(at(b.body, 'os_disk', 'secure_vm_disk_encryption_set_id')))?.[1];
      const set = resources(t, 'azurerm_disk_encryption_set').find((d) => d.name === des);
      if (set === undefined) say(b, 'no secure disk encryption set');
      else if (set.body['encryption_type'] !== 'ConfidentialVmEncryptedWithCustomerKey') say(set, 'not a set for confidential VMs');
      if (b.body['encryption_at_host_enabled'] === true) say(b, 'encryption at host is refused together with DiskWithVMGuestState');
      if (b.body['disable_password_authentication'] === false || b.body['admin_password'] !== undefined) say(b, 'password login');
      if (list(at(b.body, 'network_interface', 'ip_configuration', 'public_ip_address')).length > 0) say(b, 'a public address');
      if (list(b.body['zones']).length < 3) say(b, 'fewer than three zones');
      if (at(b.body, 'identity', 'type') !== 'UserAssigned') say(b, 'no identity of its own');
    }
    const identities = sets.filter((b) => /broker/.test(b.name)).flatMap((b) => list(at(b.body, 'identity', 'identity_ids')).map(String));
    for (const b of sets.filter((s) => !/broker/.test(s.name))) if (list(at(b.body, 'identity', 'identity_ids')).some((id) => identities.includes(String(id)))) say(b, 'has the identity that may get the key');
    for (const b of resources(t, 'azurerm_network_security_rule').concat(resources(t, 'azurerm_network_security_group'))) {
      for (const rule of b.type === 'azurerm_network_security_rule' ? [b.body] : list(b.body['security_rule'])) {
        const open = ['*', '0.0.0.0/0', 'Internet', '::/0'].includes(String(at(rule, 'source_address_prefix')));
        if (at(rule, 'access') === 'Allow' && at(rule, 'direction') === 'Inbound' && open) say(b, `lets the world in: ${String(at(rule, 'name'))}`);
        if (at(rule, 'access') === 'Allow' && at(rule, 'direction') === 'Inbound' && [at(rule, 'destination_port_range'), ...list(at(rule, 'destination_port_ranges'))].some((p) => p === '22' || p === '3389')) say(b, 'remote login let in');
        if (at(rule, 'access') === 'Allow' && at(rule, 'direction') === 'Outbound' && ['*', '0.0.0.0/0', 'Internet'].includes(String(at(rule, 'destination_address_prefix')))) say(b, `lets everything out: ${String(at(rule, 'name'))}`);
      }
    }
    for (const b of resources(t, 'azurerm_subnet')) if (b.body['default_outbound_access_enabled'] !== false) say(b, 'has the default way out to the internet');
    for (const b of resources(t, 'azurerm_nat_gateway')) say(b, 'a NAT gateway: TEEs have a way out');
  },
};

export const azureVault: Rule = {
  id: 'azure-vault',
  title: 'Premium vault with purge protection and no public access; exportable keys only with a release policy',
  check(t, say) {
    if (t.cloud !== 'azure') return;
    const vaults = resources(t, 'azurerm_key_vault');
    if (vaults.length === 0 && resources(t, 'azurerm_key_vault_managed_hardware_security_module').length === 0) say('azurerm_key_vault', 'no vault');
    for (const b of vaults) {
      if (b.body['sku_name'] !== 'premium') say(b, 'not Premium: keys are not in an HSM');
      if (b.body['purge_protection_enabled'] !== true) say(b, 'no purge protection');
      if (Number(b.body['soft_delete_retention_days'] ?? 90) < 90) say(b, 'soft delete below 90 days');
      if (b.body['rbac_authorization_enabled'] !== true && b.body['enable_rbac_authorization'] !== true) say(b, 'access policies instead of roles');
      if (at(b.body, 'network_acls', 'default_action') !== 'Deny') say(b, 'network ACL does not deny by default');
      if (t.environment === 'prod' && at(b.body, 'lifecycle', 'prevent_destroy') !== true) say(b, 'no prevent_destroy in prod');
    }
    const released = resources(t, 'azapi_resource').filter((b) => /^Microsoft\.KeyVault\/vaults\/keys@/.test(String(b.body['type'])));
    if (released.length === 0) say('azapi_resource', 'no key with a release policy');
    for (const b of released) {
      const properties = at(b.body, 'body', 'properties');
      if (at(properties, 'kty') !== 'RSA-HSM') say(b, `kty ${String(at(properties, 'kty'))}: not in an HSM`);
      if (at(properties, 'attributes', 'exportable') !== true) say(b, 'not exportable: nothing can be released');
      if (typeof at(properties, 'release_policy', 'data') !== 'string' || at(properties, 'release_policy', 'data') === '') say(b, 'no release policy');
      if (t.environment === 'prod' && at(b.body, 'lifecycle', 'prevent_destroy') !== true) say(b, 'no prevent_destroy in prod');
    }
    for (const b of resources(t, 'azurerm_key_vault_key')) {
      if (!/-HSM$/.test(String(b.body['key_type']))) say(b, 'a key outside the HSM');
      if (at(b.body, 'rotation_policy', 'automatic', 'time_after_creation') !== 'P90D') say(b, 'not rotated every 90 days');
    }
    for (const b of resources(t, 'azurerm_role_assignment')) {
      const role = String(b.body['role_definition_name']);
      if (['Owner', 'User Access Administrator'].includes(role)) say(b, `the role ${role} is given`);
      if (/^Key Vault (?:Administrator|Crypto Officer)$/.test(role) && /broker|counter|gateway/.test(String(b.body['principal_id']))) say(b, 'a workload administers keys');
      if (/Release User/.test(role) && !/orchestrator|broker/.test(`${b.name} ${String(b.body['principal_id'])}`)) say(b, 'keys are released to something that is no broker');
    }
    for (const b of resources(t, 'azurerm_attestation_provider')) {
      const text = String(b.body['sev_snp_policy_base64'] ?? '');
      if (text === '') say(b, 'no policy of its own for SEV-SNP');
      else if (!text.includes('${') && text.split('.').length !== 3) say(b, 'its policy is no JWT of three segments');
    }
    if (resources(t, 'azurerm_attestation_provider').length === 0) say('azurerm_attestation_provider', 'no attestation provider of our own');
  },
};

/** Rule 6 and the rule of irreversible switches: what is written stays, for long enough, and what can never be undone is in prod alone. */
import type { Rule } from '../rule.ts';
import { at, list, resources, type Template } from '../template.ts';

export const auditLocks: Rule = {
  id: 'audit-locks',
  title: 'object lock, immutability and retention are locked in prod; audit buckets are apart; every log is kept for a year',
  check(t, say) {
    const prod = t.environment === 'prod';
    if (t.cloud === 'aws') {
      const buckets = resources(t, 'aws_s3_bucket');
      if (!buckets.some((b) => /audit/.test(b.name))) say('aws_s3_bucket.*audit*', 'no bucket of its own for the audit');
      for (const b of buckets) {
        const mine = (type: string) => resources(t, type).filter((r) => String(r.body['bucket']).includes(`aws_s3_bucket.${b.name}.`));
        if (mine('aws_s3_bucket_public_access_block').length === 0) say(b, 'no public access block');
        for (const block of mine('aws_s3_bucket_public_access_block')) for (const switchName of ['block_public_acls', 'block_public_policy', 'ignore_public_acls', 'restrict_public_buckets']) if (block.body[switchName] !== true) say(block, `${switchName} is off`);
        if (!mine('aws_s3_bucket_versioning').some((r) => at(r.body, 'versioning_configuration', 'status') === 'Enabled')) say(b, 'no versioning');
        if (mine('aws_s3_bucket_server_side_encryption_configuration').length === 0) say(b, 'no encryption by our choice');
        if (!/audit|images|eif|cipher/.test(b.name) || /replica-logs|access-log/.test(b.name)) continue;
        if (b.body['object_lock_enabled'] !== true) say(b, 'object lock is off');
        const locks = mine('aws_s3_bucket_object_lock_configuration');
        if (/audit|eif/.test(b.name) && locks.length === 0) say(b, 'no default retention');
        for (const lock of locks) {
          const mode = at(lock.body, 'rule', 'default_retention', 'mode');
          if (prod && /audit/.test(b.name) && mode !== 'COMPLIANCE') say(lock, 'not locked (COMPLIANCE) in prod');
          if (/audit/.test(b.name) && Number(at(lock.body, 'rule', 'default_retention', 'days') ?? 0) < 365) say(lock, 'kept for less than a year');
        }
      }
      const trails = resources(t, 'aws_cloudtrail');
      if (trails.length === 0) say('aws_cloudtrail', 'no trail');
      for (const b of trails) {
        if (b.body['is_multi_region_trail'] !== true) say(b, 'of one region only');
        if (b.body['enable_log_file_validation'] !== true) say(b, 'log files can be altered unseen');
        if (b.body['enable_logging'] === false) say(b, 'is off');
        if (b.body['kms_key_id'] === undefined) say(b, 'without our key');
        if (b.body['cloud_watch_logs_group_arn'] === undefined) say(b, 'nothing can alarm on it');
      }
      for (const b of resources(t, 'aws_cloudwatch_log_group')) {
        if (Number(b.body['retention_in_days'] ?? 0) < 365) say(b, 'kept for less than a year');
        if (b.body['kms_key_id'] === undefined) say(b, 'without our key');
      }
      if (resources(t, 'aws_flow_log').every((b) => b.body['traffic_type'] !== 'ALL')) say('aws_flow_log', 'no flow log of all traffic');
      if (prod && !resources(t, 'aws_backup_vault_lock_configuration').some((b) => b.body['changeable_for_days'] !== undefined)) say('aws_backup_vault_lock_configuration', 'the vault is not locked in prod');
    }
    if (t.cloud === 'azure') {
      const policies = resources(t, 'azurerm_storage_container_immutability_policy');
      if (policies.length === 0) say('azurerm_storage_container_immutability_policy', 'nothing is immutable');
      for (const b of policies) {
        if (prod && b.body['locked'] !== true) say(b, 'not locked in prod');
        if (/audit/.test(b.name) && Number(b.body['immutability_period_in_days'] ?? 0) < 365) say(b, 'kept for less than a year');
      }
      if (!resources(t, 'azurerm_storage_account').some((b) => /audit/.test(b.name))) say('azurerm_storage_account.*audit*', 'no account of its own for the audit');
      for (const b of resources(t, 'azurerm_log_analytics_workspace')) if (Number(b.body['retention_in_days'] ?? 0) < 365) say(b, 'kept for less than a year');
      for (const b of resources(t, 'azurerm_network_watcher_flow_log')) if (at(b.body, 'retention_policy', 'enabled') !== true || Number(at(b.body, 'retention_policy', 'days') ?? 0) < 365) say(b, 'kept for less than a year');
      if (resources(t, 'azurerm_network_watcher_flow_log').length === 0) say('azurerm_network_watcher_flow_log', 'no flow log');
      const observed = JSON.stringify(resources(t, 'azurerm_monitor_diagnostic_setting').map((b) => b.body['target_resource_id']));
      for (const b of resources(t, /^azurerm_(?:key_vault|cdn_frontdoor_profile|postgresql_flexible_server)$/)) if (!observed.includes(`${b.type}.${b.name}.`) && !/replica/.test(b.name)) say(b, 'its log is not kept');
    }
    if (t.cloud === 'gcp') {
      const buckets = resources(t, 'google_storage_bucket');
      if (!buckets.some((b) => /audit/.test(b.name))) say('google_storage_bucket.*audit*', 'no bucket of its own for the audit');
      for (const b of buckets) {
        if (b.body['public_access_prevention'] !== 'enforced') say(b, 'public access is not prevented');
        if (b.body['uniform_bucket_level_access'] !== true) say(b, 'object ACLs');
        if (at(b.body, 'versioning', 'enabled') !== true && at(b.body, 'retention_policy') === undefined) say(b, 'neither versions nor retention');
        if (at(b.body, 'encryption', 'default_kms_key_name') === undefined) say(b, 'without our key');
        if (!/audit/.test(b.name)) continue;
        if (Number(at(b.body, 'retention_policy', 'retention_period') ?? 0) < 365 * 86_400) say(b, 'kept for less than a year');
        if (prod && at(b.body, 'retention_policy', 'is_locked') !== true) say(b, 'its retention is not locked in prod');
      }
      const logs = resources(t, 'google_logging_project_bucket_config');
      if (logs.length === 0) say('google_logging_project_bucket_config', 'no log bucket of our own');
      for (const b of logs) {
        if (Number(b.body['retention_days'] ?? 0) < 365) say(b, 'kept for less than a year');
        if (prod && b.body['locked'] !== true) say(b, 'not locked in prod');
      }
      if (!resources(t, 'google_project_iam_audit_config').some((b) => ['allServices', 'cloudkms.googleapis.com'].includes(String(b.body['service'])) && list(b.body['audit_log_config']).some((c) => at(c, 'log_type') === 'DATA_READ'))) say('google_project_iam_audit_config', 'reads of keys leave no trace');
      for (const b of resources(t, 'google_compute_subnetwork')) if (at(b.body, 'log_config') === undefined && !/REGIONAL_MANAGED_PROXY|PRIVATE_SERVICE_CONNECT/.test(String(b.body['purpose']))) say(b, 'no flow log');
    }
  },
};

export const irreversible: Rule = {
  id: 'irreversible-in-prod-only',
  title: 'switches that can never be turned back are on in no environment but prod',
  check(t, say) {
    if (t.environment === 'prod') return;
    for (const [b, what] of irreversibleSwitches(t)) say(b, what);
  },
};

type Found = ReturnType<typeof resources>[number];

/** Purge protection of vaults is not among them: releasing keys by policy needs it everywhere; names carry a uid so that a new vault can be made. */
export function irreversibleSwitches(t: Template): [Found, string][] {
  const found: [Found, string][] = [];
  for (const b of resources(t, 'aws_s3_bucket_object_lock_configuration')) if (at(b.body, 'rule', 'default_retention', 'mode') === 'COMPLIANCE') found.push([b, 'object lock in COMPLIANCE mode']);
  for (const b of resources(t, 'aws_backup_vault_lock_configuration')) if (b.body['changeable_for_days'] !== undefined) found.push([b, 'a vault lock after its grace time']);
  for (const b of resources(t, 'azurerm_storage_container_immutability_policy')) if (b.body['locked'] === true) found.push([b, 'a locked immutability policy']);
  for (const b of resources(t, 'azurerm_storage_account')) if (at(b.body, 'immutability_policy', 'state') === 'Locked') found.push([b, 'a locked immutability policy']);
  for (const b of resources(t, 'azurerm_data_protection_backup_vault')) if (b.body['immutability'] === 'Locked') found.push([b, 'a locked vault']);
  for (const b of resources(t, 'google_storage_bucket')) if (at(b.body, 'retention_policy', 'is_locked') === true) found.push([b, 'a locked retention policy']);
  for (const b of resources(t, 'google_logging_project_bucket_config')) if (b.body['locked'] === true) found.push([b, 'a locked log bucket']);
  for (const b of resources(t, 'google_gke_backup_backup_plan')) if (at(b.body, 'retention_policy', 'locked') === true) found.push([b, 'a locked backup plan']);
  return found;
}

/** What a cell on Google Cloud must have beyond the reviewer's rules that hold for every cloud (tests/rules): read from the JSON that is deployed. */
import './light.ts';
import { evaluate } from '@marcbachmann/cel-js';
import { App } from 'cdktf';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cellFile } from '../../modules/cell-config.ts';
import { type Environment, ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { brokerImages } from '../../modules/gcp/token-condition.ts';
import { placeholderLock } from '../../modules/measurements.ts';
import { GcpStack } from '../../stacks/gcp.ts';

/** JSON of Terraform. */
type Json = any;
const lock = placeholderLock();

function synthesize(environment: Environment): Json {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-gcp-'));
  try {
    const app = new App({ outdir });
    new GcpStack(app, 'stack', { environment, lock });
    app.synth();
    return JSON.parse(readFileSync(join(outdir, 'stacks/stack/cdk.tf.json'), 'utf8'));
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
const stacks = Object.fromEntries(ENVIRONMENT_NAMES.map((name) => [name, synthesize(ENVIRONMENTS[name])])) as Record<(typeof ENVIRONMENT_NAMES)[number], Json>;
const all = (json: Json, type: string): Json[] => Object.values(json.resource[type] ?? {});
const idsOf = (json: Json, type: string): string[] => Object.keys(json.resource[type] ?? {});

describe.each(ENVIRONMENT_NAMES)('%s', (name) => {
  const json = stacks[name];
  const environment = ENVIRONMENTS[name];

  test('only brokers of the lock file use the data key, by digest', () => {
    const [dataKey] = idsOf(json, 'google_kms_crypto_key').filter((id) => id.startsWith('attested-key'));
    const grants = all(json, 'google_kms_crypto_key_iam_binding').filter((grant) => grant.crypto_key_id.includes(`.${dataKey}.`));
    expect(grants).toHaveLength(1);
    expect(grants[0].members).toHaveLength(2);
    for (const [i, image] of brokerImages(lock).entries()) {
      expect(grants[0].members[i]).toBe(`principalSet://iam.googleapis.com/projects/${environment.gcp.projectNumber}/locations/global/workloadIdentityPools/ccc-${name}-attested/attribute.image_digest/${image}`);
    }
    expect(JSON.stringify(all(json, 'google_kms_crypto_key_iam_member'))).toBe('[]');
  });

  test('every encryption key is in an HSM, rotates within 90 days and is destroyed after 30 at the earliest', () => {
    const keys = all(json, 'google_kms_crypto_key').filter((key) => key.purpose === 'ENCRYPT_DECRYPT');
    expect(keys).toHaveLength(4);
    for (const key of keys) {
      expect(Number.parseInt(key.rotation_period, 10)).toBeLessThanOrEqual(7_776_000);
      expect(key.version_template.protection_level).toBe('HSM');
    }
    for (const key of all(json, 'google_kms_crypto_key')) {
      expect(Number.parseInt(key.destroy_scheduled_duration, 10)).toBeGreaterThanOrEqual(2_592_000);
      expect(key.lifecycle.prevent_destroy).toBe(environment.protect);
    }
  });

  test('administrators list actions and can neither use keys nor grant; a deny policy refuses everybody else', () => {
    const roles = all(json, 'google_project_iam_custom_role');
    const forbidden = /useTo|setIamPolicy|[*]|import|Autokey|ViaDelegation/i;
    expect(roles.find((role) => role.role_id === 'cccKeyAdministrator').permissions.filter((p: string) => forbidden.test(p))).toEqual([]);
    expect(roles.find((role) => role.role_id === 'cccKeyPipeline').permissions.filter((p: string) => /useTo|[*]|destroy|import/i.test(p))).toEqual([]);
    const [deny] = all(json, 'google_iam_deny_policy');
    const [use, grant, token] = deny.rules.map((rule: Json) => rule.deny_rule);
    expect(use.denied_permissions).toEqual(expect.arrayContaining(['cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt', 'cloudkms.googleapis.com/cryptoKeyVersions.useToEncrypt']));
    for (const rule of [use, grant, token]) expect(rule.denied_principals).toEqual(['principalSet://goog/public:all']);
    expect(token.denied_permissions).toContain('iam.googleapis.com/workloadIdentityPoolProviders.update');
    expect(token.exception_principals).toEqual(grant.exception_principals);
    expect(use.exception_principals.filter((p: string) => !p.includes('/attribute.image_digest/sha256:') && !/serviceAccounts\/(?:service-|cmek-p)[0-9]+@[a-z-]+\.iam\.gserviceaccount\.com$/.test(p))).toEqual([]);
    expect(grant.exception_principals).toEqual([`principal://iam.googleapis.com/projects/-/serviceAccounts/ccc-${name}-ci-apply@${environment.gcp.project}.iam.gserviceaccount.com`]);
    const kmsRoles = all(json, 'google_project_iam_member').filter((member) => /cloudkms(?!\.(?:publicKeyV|v)iewer)|^roles\/(?:owner|editor|viewer)$/.test(member.role));
    expect(kmsRoles).toEqual([]);
  });

  test('nodes are SEV-SNP or TDX, pools say which, and the right machines have it', () => {
    const pools = all(json, 'google_container_node_pool');
    expect(pools.map((pool) => pool.name).sort()).toEqual([...(name === 'dev' ? [`ccc-${name}-counter-snp-${environment.gcp.snpMachineType}`] : []), `ccc-${name}-counter-tdx-${environment.gcp.tdxMachineType}`, `ccc-${name}-gateway-snp-${environment.gcp.gatewayMachineType}`].map((n) => n.slice(0, 40)).sort());
    for (const { node_config: node, node_locations: zones } of pools) {
      expect(['SEV_SNP', 'TDX']).toContain(node.confidential_nodes.confidential_instance_type);
      expect(node.machine_type.startsWith(node.confidential_nodes.confidential_instance_type === 'TDX' ? 'c3-' : 'n2d-')).toBe(true);
      expect(node.confidential_nodes.enabled && node.shielded_instance_config.enable_secure_boot && node.shielded_instance_config.enable_integrity_monitoring).toBe(true);
      expect([node.workload_metadata_config.mode, node.image_type, node.metadata['disable-legacy-endpoints']]).toEqual(['GKE_METADATA', 'COS_CONTAINERD', 'true']);
      expect(node.boot_disk_kms_key).toMatch(/^\$\{google_kms_crypto_key\.infra-key/);
      expect(zones).toEqual(environment.gcp.zones);
    }
    expect(pools.filter((pool) => pool.node_config.taint?.[0].effect === 'NO_SCHEDULE')).toHaveLength(environment.gcp.counterTees.length);
  });

  test('the control plane has no address, and admits only signed images', () => {
    const [cluster] = all(json, 'google_container_cluster');
    expect(cluster.private_cluster_config).toEqual({ enable_private_nodes: true, enable_private_endpoint: true });
    expect(cluster.control_plane_endpoints_config.ip_endpoints_config.enabled).toBe(false);
    expect(cluster.binary_authorization.evaluation_mode).toBe('PROJECT_SINGLETON_POLICY_ENFORCE');
    expect(cluster.deletion_protection).toBe(environment.protect);
    expect(cluster.database_encryption.state).toBe('ENCRYPTED');
    const [policy] = all(json, 'google_binary_authorization_policy');
    expect(policy.default_admission_rule).toMatchObject({ evaluation_mode: 'REQUIRE_ATTESTATION', enforcement_mode: 'ENFORCED_BLOCK_AND_AUDIT_LOG' });
    expect(policy.admission_whitelist_patterns).toBeUndefined();
    expect(policy.cluster_admission_rules).toBeUndefined();
  });

  test('brokers are Confidential Space on TDX, by digest, with the bytes that the condition wants', () => {
    const templates = all(json, 'google_compute_region_instance_template');
    expect(templates).toHaveLength(environment.canaryPercent > 0 ? 2 : 1);
    const cell = Buffer.from(cellFile(environment, 'gcp').json).toString('base64url');
    for (const [i, template] of templates.entries()) {
      expect(template.confidential_instance_config).toEqual({ enable_confidential_compute: true, confidential_instance_type: 'TDX' });
      expect(template.shielded_instance_config).toEqual({ enable_secure_boot: true, enable_vtpm: true, enable_integrity_monitoring: true });
      expect(template.metadata['tee-image-reference'].split('@')[1]).toBe(brokerImages(lock)[i]);
      expect(template.metadata['tee-env-CCC_CELL']).toBe(cell);
      expect(Object.keys(template.metadata).filter((key) => /startup-script|ssh-keys$|tee-cmd|debug/.test(key))).toEqual(['block-project-ssh-keys']);
      expect(template.disk[0].source_image).toMatch(/confidential-space-[0-9]{6}$/);
      expect(template.network_interface[0].access_config).toBeUndefined();
      expect(template.scheduling.on_host_maintenance).toBe('TERMINATE');
    }
    const [group] = all(json, 'google_compute_region_instance_group_manager');
    expect(group.version.map((v: Json) => [v.name, v.target_size?.percent])).toEqual(environment.canaryPercent > 0 ? [['blue', undefined], ['green', environment.canaryPercent]] : [['blue', undefined]]);
    const [provider] = all(json, 'google_iam_workload_identity_pool_provider').filter((p) => p.workload_identity_pool_provider_id === 'confidential-space');
    expect(provider.attribute_condition).toContain(`'${cell}'`);
  });

  test('no way out but the restricted range, no way in but named ones', () => {
    expect(['google_compute_router_nat', 'google_compute_router', 'google_compute_instance'].flatMap((type) => all(json, type))).toEqual([]);
    const [network] = all(json, 'google_compute_network');
    expect([network.auto_create_subnetworks, network.delete_default_routes_on_create]).toEqual([false, true]);
    expect(all(json, 'google_compute_route').map((route) => route.dest_range)).toEqual(['199.36.153.4/30']);
    for (const rule of all(json, 'google_compute_firewall')) {
      expect(rule.log_config).toBeDefined();
      const open = [...(rule.source_ranges ?? []), ...(rule.destination_ranges ?? [])].includes('0.0.0.0/0');
      expect(open).toBe(rule.deny !== undefined);
      if (rule.deny === undefined) expect(rule.target_service_accounts?.length).toBeGreaterThan(0);
    }
    expect(all(json, 'google_compute_firewall').filter((rule) => rule.deny !== undefined).map((rule) => [rule.direction, rule.priority]).sort()).toEqual([['EGRESS', 65_000], ['INGRESS', 65_000]]);
    for (const subnet of all(json, 'google_compute_subnetwork')) {
      expect(subnet.private_ip_google_access).toBe(true);
      expect(subnet.log_config.flow_sampling).toBe(1);
    }
  });

  test('both databases are private, in customer keys of their region, with client certificates, IAM and the same flags', () => {
    const [primary, standby] = all(json, 'google_sql_database_instance');
    expect([primary.region, standby.region]).toEqual([environment.gcp.region, environment.gcp.standbyRegion]);
    expect(primary.encryption_key_name).toContain('infra-key');
    expect(standby.encryption_key_name).toContain('standby-key');
    expect(standby.settings.database_flags).toEqual(primary.settings.database_flags);
    for (const { settings, database_version: version, lifecycle } of [primary, standby]) {
      expect(version).toBe('POSTGRES_16');
      expect(settings.ip_configuration).toMatchObject({ ipv4_enabled: false, ssl_mode: 'TRUSTED_CLIENT_CERTIFICATE_REQUIRED' });
      const flags = Object.fromEntries(settings.database_flags.map((flag: Json) => [flag.name, flag.value]));
      expect(flags).toMatchObject({ 'cloudsql.iam_authentication': 'on', 'cloudsql.logical_decoding': 'on', 'log_parameter_max_length': '0' });
      expect(lifecycle.prevent_destroy).toBe(environment.protect);
    }
    expect(primary.settings.availability_type).toBe('REGIONAL');
    expect(primary.settings.backup_configuration).toMatchObject({ enabled: true, point_in_time_recovery_enabled: true, backup_retention_settings: { retained_backups: environment.retention.backups } });
    expect(all(json, 'google_sql_user').map((user) => [user.type, user.password])).toEqual([['CLOUD_IAM_SERVICE_ACCOUNT', undefined]]);
  });

  test('buckets are private, encrypted and retained; irreversible only where the table says so', () => {
    const buckets = all(json, 'google_storage_bucket');
    expect(buckets).toHaveLength(3);
    for (const bucket of buckets) {
      expect([bucket.uniform_bucket_level_access, bucket.public_access_prevention, bucket.force_destroy]).toEqual([true, 'enforced', false]);
      expect(bucket.encryption.default_kms_key_name).toMatch(/^\$\{google_kms_crypto_key/);
      expect(bucket.retention_policy.is_locked).toBe(environment.lock === 'irreversible');
    }
    const audit = buckets.find((bucket) => bucket.name.includes('-audit-'));
    expect(audit.retention_policy.retention_period).toBe(environment.retention.audit * 86_400);
    expect(audit.encryption.default_kms_key_name).toContain('audit-key');
    const logs = all(json, 'google_logging_project_bucket_config');
    expect(logs.map((log) => log.retention_days)).toEqual([environment.retention.logs, environment.retention.logs]);
    expect(logs.map((log) => log.locked)).toEqual([environment.lock === 'irreversible', environment.lock === 'irreversible']);
    const audited = all(json, 'google_project_iam_audit_config').find((config) => config.service === 'cloudkms.googleapis.com');
    expect(audited.audit_log_config.map((log: Json) => log.log_type)).toEqual(['ADMIN_READ', 'DATA_READ', 'DATA_WRITE']);
  });

  test('the project refuses what the cell must never have', () => {
    const policies = Object.fromEntries(all(json, 'google_org_policy_policy').map((policy) => [policy.name.split('/').at(-1), policy.spec.rules[0]]));
    expect(policies['gcp.resourceLocations'].values.allowed_values).toEqual(environment.residency.gcp.map((region) => `in:${region}-locations`));
    expect(policies['compute.restrictNonConfidentialComputing'].values.denied_values).toEqual(['compute.googleapis.com']);
    expect(policies['iam.disableServiceAccountKeyCreation'].enforce).toBe('TRUE');
    expect(policies['iam.workloadIdentityPoolProviders'].values.allowed_values).toEqual(['https://confidentialcomputing.googleapis.com', 'https://token.actions.githubusercontent.com']);
    expect(all(json, 'google_service_account_key')).toEqual([]);
  });

  test('workflows of one repository only; what writes needs main and the environment', () => {
    const providers = all(json, 'google_iam_workload_identity_pool_provider').filter((p) => p.workload_identity_pool_provider_id === 'github');
    const repository = `assertion.repository == '${environment.repository}'`;
    const sub = `assertion.sub == 'repo:${environment.repository}`;
    expect(providers.map((p) => p.attribute_condition).sort()).toEqual([`${repository} && (${sub}:pull_request' || ${sub}:ref:refs/heads/main')`, `${repository} && ${sub}:environment:${name}' && assertion.ref == 'refs/heads/main'`]);
    const members = all(json, 'google_project_iam_member');
    const plan = members.filter((m) => m.member.includes('.identity_plan_'));
    expect(plan.length).toBeGreaterThan(15);
    expect(plan.map((m) => m.role).filter((role) => !/viewer|reader|reviewer|browser/i.test(role))).toEqual([]);
    const grants = members.filter((m) => /projectIamAdmin|^roles\/(?:owner|editor)$/.test(m.role));
    expect(grants.map((m) => m.role)).toEqual(['roles/resourcemanager.projectIamAdmin']);
    expect(grants[0].condition.expression).toMatch(/modifiedGrantsByRole', \[\]\)\.hasOnly\(\['roles\/cloudsql\.client'/);
  });

  test('claims of workflows: a plan cannot become an apply', () => {
    const condition = (part: string): string => all(json, 'google_iam_workload_identity_pool_provider').find((p) => p.workload_identity_pool_id.includes(`identity_${part}-pool`)).attribute_condition;
    const claims = (sub: string, ref: string): Json => ({ repository: environment.repository, sub: `repo:${environment.repository}:${sub}`, ref });
    const cases: [Json, boolean, boolean][] = [
      [claims('pull_request', 'refs/pull/7/merge'), true, false], [claims('ref:refs/heads/main', 'refs/heads/main'), true, false], [claims(`environment:${name}`, 'refs/heads/main'), false, true],
      [claims(`environment:${name}`, 'refs/heads/feature'), false, false], [claims('environment:other', 'refs/heads/main'), false, false], [claims('ref:refs/heads/feature', 'refs/heads/feature'), false, false],
      [{ ...claims('pull_request', ''), repository: 'someone/fork' }, false, false], [{ ...claims(`environment:${name}`, 'refs/heads/main'), repository: 'someone/fork' }, false, false],
    ];
    for (const [assertion, plan, apply] of cases) expect([evaluate(condition('plan'), { assertion }), evaluate(condition('apply'), { assertion })]).toEqual([plan, apply]);
  });

  test('restores are tested every week, by an account that can delete clones only', () => {
    const [job] = all(json, 'google_cloud_scheduler_job');
    expect(job.schedule).toBe('30 4 * * 1');
    const [workflow] = all(json, 'google_workflows_workflow');
    const { main, unprotectAndDelete } = JSON.parse(workflow.source_contents);
    expect(main.steps.map((step: Json) => Object.keys(step)[0])).toEqual(['name', 'restore', 'check', 'unprotect']);
    expect(unprotectAndDelete.steps).toHaveLength(2);
    // Every expression of the workflow is escaped for Terraform; the one reference is to the instance.
    expect([...workflow.source_contents.matchAll(/(?<!\$)\$\{([a-z_]+)/g)].map(([, reference]) => reference)).toEqual(['google_sql_database_instance']);
    const admin = all(json, 'google_project_iam_member').filter((m) => m.role === 'roles/cloudsql.admin' && m.member.includes('restore-test'));
    expect(admin.map((m) => m.condition.expression)).toEqual([`resource.type == 'sqladmin.googleapis.com/Instance' && resource.name.startsWith('projects/${environment.gcp.project}/instances/ccc-${name}-restore-')`]);
    for (const { name: instance } of all(json, 'google_sql_database_instance')) expect(instance.startsWith(`ccc-${name}-restore-`)).toBe(false);
  });

  test('nothing is asked of a service before it is switched on', () => {
    const waits = Object.entries(json.resource).filter(([type]) => type.startsWith('google_') && type !== 'google_project_service').flatMap(([, resources]) => Object.values(resources as Json));
    expect(waits.length).toBeGreaterThan(150);
    expect(waits.filter((resource: Json) => !resource.depends_on.includes('terraform_data.ready'))).toEqual([]);
    expect(json.resource.terraform_data.ready.depends_on.length).toBe(all(json, 'google_project_service').length + 1);
  });

  test('objective, burn alerts over two windows each, and a budget', () => {
    expect(all(json, 'google_monitoring_slo')[0].goal).toBe(environment.sloTarget);
    const burns = all(json, 'google_monitoring_alert_policy').filter((alert) => alert.display_name.includes('-burn-'));
    expect(burns.map((alert) => [alert.combiner, alert.conditions.map((c: Json) => c.condition_threshold.threshold_value)])).toEqual([['AND', [14.4, 14.4]], ['AND', [6, 6]]]);
    const board = JSON.parse(all(json, 'google_monitoring_dashboard')[0].dashboard_json);
    expect(board.mosaicLayout.tiles).toHaveLength(9);
    expect(all(json, 'google_billing_budget')[0].amount.specified_amount).toEqual({ currency_code: 'USD', units: String(environment.budget.gcp) });
  });

  test('the edge speaks TLS 1.2 and newer and throttles, inspects, adapts', () => {
    expect(all(json, 'google_compute_ssl_policy')[0]).toMatchObject({ profile: 'RESTRICTED', min_tls_version: 'TLS_1_2' });
    const [armor] = all(json, 'google_compute_security_policy');
    expect(armor.adaptive_protection_config.layer_7_ddos_defense_config.enable).toBe(true);
    expect(armor.rule.filter((rule: Json) => rule.action === 'deny(403)')).toHaveLength(10);
    expect(armor.rule.filter((rule: Json) => rule.preview)).toEqual([]);
    expect(armor.rule.filter((rule: Json) => rule.action === 'throttle')).toHaveLength(1);
  });
});

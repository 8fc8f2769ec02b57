/** Deliberate weakenings of the synthesized stacks: each changes one thing that matters, and names the rule that has to notice. */
import { at, type Body, blocks, clone, type Json, list, type Template } from './template.ts';

export interface Mutation {
  readonly id: string;
  readonly stack: string;
  /** The rule that must speak up. */
  readonly rule: string;
  /** Changes the template in place. */
  readonly weaken: (t: Template) => void;
}

const bodiesOf = (t: Template, type: string | RegExp, name: RegExp): Body[] => {
  const found = blocks(t, type).filter((b) => name.test(b.name)).map((b) => b.body);
  if (found.length === 0) throw new Error(`${t.stack} has no ${String(type)} like ${String(name)}: the mutation is stale`);
  return found;
};

function parent(body: Json, path: readonly (string | number)[]): Record<string, Json> {
  let here: Json = body;
  for (const step of path) {
    if (Array.isArray(here) && typeof step !== 'number') here = here[0] ?? null;
    here = at(here, step) ?? null;
    if (here === null) throw new Error(`nothing at ${path.join('.')}: the mutation is stale`);
  }
  return (Array.isArray(here) ? here[0] : here) as Record<string, Json>;
}

/** Sets one member in the first block of the type. */
const set = (type: string | RegExp, name: RegExp, path: readonly string[], value: Json) => (t: Template): void => {
  const body = bodiesOf(t, type, name)[0] as Body;
  const into = parent(body, path.slice(0, -1));
  if (JSON.stringify(into[path.at(-1) as string]) === JSON.stringify(value)) throw new Error(`${path.join('.')} is that already: the mutation is stale`);
  into[path.at(-1) as string] = value;
};
const drop = (type: string | RegExp, name: RegExp, path: readonly string[]) => (t: Template): void => {
  const into = parent(bodiesOf(t, type, name)[0] as Body, path.slice(0, -1));
  if (into[path.at(-1) as string] === undefined) throw new Error(`nothing at ${path.join('.')}: the mutation is stale`);
  delete into[path.at(-1) as string];
};
/** Takes away every block of the type whose name matches. */
const remove = (type: string | RegExp, name: RegExp = /./) => (t: Template): void => {
  const found = blocks(t, type).filter((b) => name.test(b.name));
  if (found.length === 0) throw new Error(`${t.stack} has no ${String(type)} like ${String(name)}: the mutation is stale`);
  for (const b of found) delete (t.json[b.kind] as Record<string, Record<string, Json>>)[b.type]?.[b.name];
};
const add = (type: string, name: string, body: Body) => (t: Template): void => {
  const all = t.json['resource'] as Record<string, Record<string, Json>>;
  (all[type] ??= {})[name] = body;
};
/** Rewrites the text of a block. */
const rewrite = (type: string | RegExp, name: RegExp, from: RegExp | string, to: string) => (t: Template): void => {
  for (const b of blocks(t, type).filter((x) => name.test(x.name))) {
    const before = JSON.stringify(b.body);
    const after = before.replaceAll(from as string, to);
    if (after === before) continue;
    (t.json[b.kind] as Record<string, Record<string, Json>>)[b.type]![b.name] = JSON.parse(after) as Json;
    return;
  }
  throw new Error(`${t.stack}: nothing like ${String(from)} in ${String(type)}: the mutation is stale`);
};

/** Statements of the data key's policy. */
const statements = (change: (all: Body[]) => Body[]) => (t: Template): void => {
  const key = blocks(t, 'aws_kms_key').find((b) => /data/.test(b.name) && !/infra|database/.test(b.name));
  const name = /aws_iam_policy_document\.([\w-]+)\.json/.exec(String(key?.body['policy']))?.[1];
  const document = blocks(t, 'aws_iam_policy_document').find((b) => b.name === name);
  if (document === undefined) throw new Error('no policy of the data key');
  const before = JSON.stringify(document.body['statement']);
  document.body['statement'] = change(list(document.body['statement']) as Body[]);
  if (JSON.stringify(document.body['statement']) === before) throw new Error('nothing changed: the mutation is stale');
};
const allows = (s: Body): boolean => (s['effect'] ?? 'Allow') === 'Allow';
const attested = (s: Body): boolean => allows(s) && list(s['actions']).includes('kms:Decrypt');
const conditions = (s: Body, keep: (variable: string) => boolean): Body => ({ ...s, condition: list(s['condition']).filter((c) => keep(String(at(c, 'variable')))) });
const admin = (s: Body): boolean => allows(s) && /admin/i.test(JSON.stringify([s['sid'], s['principals']]));
const more = (s: Body, ...actions: string[]): Body => ({ ...s, actions: [...list(s['actions']), ...actions] });

/** The release policy inside the bytes that are deployed. */
const release = (change: (policy: any) => void) => (t: Template): void => {
  const key = blocks(t, 'azapi_resource').find((b) => /vaults\/keys@/.test(String(b.body['type'])) && !/disk/.test(b.name));
  const policy = at(key?.body ?? null, 'body', 'properties', 'release_policy') as Body;
  const value: unknown = JSON.parse(Buffer.from(String(policy['data']), 'base64url').toString('utf8'));
  change(value);
  policy['data'] = Buffer.from(JSON.stringify(value)).toString('base64url');
};
const claims = (name: RegExp) => (p: any): void => {
  for (const any of p.anyOf) any.allOf = any.allOf.filter((c: { claim: string }) => !name.test(c.claim));
};

const AWS = 'ccc-aws-prod', AZURE = 'ccc-azure-prod', GCP = 'ccc-gcp-prod', K8S = 'ccc-gcp-k8s-prod';
const VMSS = 'azurerm_linux_virtual_machine_scale_set';
const POOL = 'google_container_node_pool';
const m = (id: string, stack: string, rule: string, weaken: (t: Template) => void): Mutation => ({ id, stack, rule, weaken });

export const MUTATIONS: readonly Mutation[] = [
  // Nitro fleet
  m('enclave-off', AWS, 'aws-fleet', set('aws_launch_template', /broker/, ['enclave_options', 'enabled'], false)),
  m('imds-v1', AWS, 'aws-fleet', set('aws_launch_template', /broker/, ['metadata_options', 'http_tokens'], 'optional')),
  m('imds-hops', AWS, 'aws-fleet', set('aws_launch_template', /counter/, ['metadata_options', 'http_put_response_hop_limit'], 2)),
  m('ssh-key', AWS, 'aws-fleet', set('aws_launch_template', /broker/, ['key_name'], 'ops')),
  m('disk-unencrypted', AWS, 'aws-fleet', (t) => { for (const d of list(bodiesOf(t, 'aws_launch_template', /counter/)[0]?.['block_device_mappings'])) (at(d, 'ebs') as Body)['encrypted'] = 'false'; }),
  m('enclave-debug', AWS, 'aws-fleet', (t) => {
    const body = bodiesOf(t, 'aws_launch_template', /broker/)[0] as Body;
    const data = String(body['user_data']);
    body['user_data'] = data.startsWith('${') ? data.replace('run-enclave', 'run-enclave --debug-mode') : Buffer.from(`${Buffer.from(data, 'base64').toString()}\nnitro-cli run-enclave --debug-mode\n`).toString('base64');
  }),
  m('one-zone', AWS, 'aws-fleet', (t) => { const b = bodiesOf(t, 'aws_autoscaling_group', /broker/)[0] as Body; b['vpc_zone_identifier'] = list(b['vpc_zone_identifier']).slice(0, 1); }),
  m('any-instance-type', AWS, 'aws-fleet', drop('aws_autoscaling_group', /broker/, ['lifecycle', 'precondition'])),
  m('ssh-ingress', AWS, 'aws-fleet', add('aws_vpc_security_group_ingress_rule', 'ssh', { security_group_id: 'x', cidr_ipv4: '10.0.0.0/8', ip_protocol: 'tcp', from_port: 22, to_port: 22 })),
  m('world-ingress', AWS, 'aws-fleet', add('aws_vpc_security_group_ingress_rule', 'broker-open', { security_group_id: 'x', cidr_ipv4: '0.0.0.0/0', ip_protocol: 'tcp', from_port: 8445, to_port: 8445 })),
  m('world-egress', AWS, 'aws-fleet', add('aws_vpc_security_group_egress_rule', 'out', { security_group_id: 'x', cidr_ipv4: '0.0.0.0/0', ip_protocol: '-1' })),
  m('nat', AWS, 'aws-fleet', add('aws_nat_gateway', 'nat', { subnet_id: 'x' })),
  m('public-addresses', AWS, 'aws-fleet', set('aws_subnet', /./, ['map_public_ip_on_launch'], true)),
  // AWS keys
  m('attestation-condition-removed', AWS, 'aws-keys', statements((all) => all.map((s) => (attested(s) ? conditions(s, () => false) : s)))),
  ...(['PCR0', 'PCR1', 'PCR2', 'PCR8'] as const).map((pcr) => m(`${pcr}-removed`, AWS, 'aws-keys', statements((all) => all.map((s) => (attested(s) ? conditions(s, (v) => !v.endsWith(`:${pcr}`)) : s))))),
  m('pcr-zero', AWS, 'aws-keys', statements((all) => all.map((s) => (attested(s) ? { ...s, condition: list(s['condition']).map((c) => ({ ...(c as Body), values: [...list(at(c, 'values')), '0'.repeat(96)] })) } : s)))),
  m('pcr-foreign', AWS, 'aws-keys', statements((all) => all.map((s) => (attested(s) ? { ...s, condition: list(s['condition']).map((c) => ({ ...(c as Body), values: [...list(at(c, 'values')), 'e'.repeat(96)] })) } : s)))),
  m('null-deny-removed', AWS, 'aws-keys', statements((all) => all.filter((s) => !JSON.stringify(s['condition'] ?? []).includes('"Null"')))),
  m('null-deny-of-decrypt-only', AWS, 'aws-keys', statements((all) => all.map((s) => (JSON.stringify(s['condition'] ?? []).includes('"Null"') ? { ...s, actions: ['kms:Decrypt'] } : s)))),
  m('kms-star', AWS, 'aws-keys', statements((all) => all.map((s) => (admin(s) ? { ...s, actions: ['kms:*'] } : s)))),
  m('admin-create-star', AWS, 'aws-keys', statements((all) => all.map((s) => (admin(s) ? more(s, 'kms:Create*') : s)))),
  m('admin-grants', AWS, 'aws-keys', statements((all) => all.filter((s) => allows(s) || !list(s['actions']).includes('kms:CreateGrant')).map((s) => (admin(s) ? more(s, 'kms:CreateGrant') : s)))),
  m('root-decrypts', AWS, 'aws-keys', statements((all) => [...all, { sid: 'Root', effect: 'Allow', actions: ['kms:Decrypt'], resources: ['*'], principals: [{ type: 'AWS', identifiers: ['account-root'] }], condition: list(all.find(attested)?.['condition']) }])),
  m('anybody-changes-policy', AWS, 'aws-keys', statements((all) => all.filter((s) => allows(s) || !list(s['actions']).includes('kms:PutKeyPolicy')))),
  m('rotation-off', AWS, 'aws-keys', set('aws_kms_key', /data/, ['enable_key_rotation'], false)),
  m('rotation-yearly', AWS, 'aws-keys', set('aws_kms_key', /data/, ['rotation_period_in_days'], 365)),
  m('deletion-week', AWS, 'aws-keys', set('aws_kms_key', /data/, ['deletion_window_in_days'], 7)),
  m('key-destroyable', AWS, 'aws-keys', drop('aws_kms_key', /data/, ['lifecycle', 'prevent_destroy'])),
  m('default-key-policy', AWS, 'aws-keys', drop('aws_kms_key', /infra/, ['policy'])),
  m('replica-own-policy', AWS, 'aws-keys', set('aws_kms_replica_key', /data/, ['policy'], '${data.aws_iam_policy_document.other.json}')),
  m('replica-default-policy', AWS, 'aws-keys', drop('aws_kms_replica_key', /data/, ['policy'])),
  m('no-replica', AWS, 'aws-keys', remove('aws_kms_replica_key')),
  m('single-region-key', AWS, 'aws-keys', set('aws_kms_key', /data/, ['multi_region'], false)),
  // AWS, the rest
  m('object-lock-removed', AWS, 'audit-locks', remove('aws_s3_bucket_object_lock_configuration', /audit/)),
  m('object-lock-governance', AWS, 'audit-locks', set('aws_s3_bucket_object_lock_configuration', /audit/, ['rule', 'default_retention', 'mode'], 'GOVERNANCE')),
  m('public-access-unblocked', AWS, 'audit-locks', set('aws_s3_bucket_public_access_block', /./, ['block_public_policy'], false)),
  m('log-retention-cut', AWS, 'audit-locks', set('aws_cloudwatch_log_group', /./, ['retention_in_days'], 30)),
  m('flow-log-removed', AWS, 'audit-locks', remove('aws_flow_log')),
  m('trail-one-region', AWS, 'audit-locks', set('aws_cloudtrail', /./, ['is_multi_region_trail'], false)),
  m('trail-unvalidated', AWS, 'audit-locks', set('aws_cloudtrail', /./, ['enable_log_file_validation'], false)),
  m('vault-unlocked', AWS, 'audit-locks', remove('aws_backup_vault_lock_configuration')),
  m('waf-association-removed', AWS, 'private-services', remove('aws_wafv2_web_acl_association')),
  m('waf-log4j-removed', AWS, 'private-services', rewrite('aws_wafv2_web_acl', /./, 'AWSManagedRulesKnownBadInputsRuleSet', 'AWSManagedRulesLinuxRuleSet')),
  m('waf-log-removed', AWS, 'private-services', remove('aws_wafv2_web_acl_logging_configuration')),
  m('old-tls', AWS, 'private-services', set('aws_lb_listener', /./, ['ssl_policy'], 'ELBSecurityPolicy-2016-08')),
  m('kms-endpoint-removed', AWS, 'private-services', (t) => { for (const b of blocks(t, 'aws_vpc_endpoint').filter((x) => String(x.body['service_name']).endsWith('.kms'))) delete (t.json['resource'] as Record<string, Record<string, Json>>)['aws_vpc_endpoint']?.[b.name]; }),
  m('database-public', AWS, 'private-services', set('aws_rds_cluster_instance', /./, ['publicly_accessible'], true)),
  m('database-unencrypted', AWS, 'private-services', set('aws_rds_cluster', /./, ['storage_encrypted'], false)),
  m('database-destroyable', AWS, 'private-services', set('aws_rds_cluster', /./, ['deletion_protection'], false)),
  m('bucket-without-tls-rule', AWS, 'private-services', remove('aws_s3_bucket_policy')),
  m('tags-cut', AWS, 'tags', (t) => { delete (at(list(at(t.json, 'provider', 'aws'))[0] ?? null, 'default_tags', 'tags') as Body)['data-class']; }),
  m('region-outside', AWS, 'residency', set('aws_kms_replica_key', /./, ['region'], 'us-east-1')),
  m('provider-outside', AWS, 'residency', (t) => { (list(at(t.json, 'provider', 'aws'))[0] as Body)['region'] = 'us-west-2'; }),
  m('password-literal', AWS, 'no-secrets', set('aws_rds_cluster', /./, ['master_password'], 'hunter2hunter2')),
  m('access-key-literal', AWS, 'no-secrets', add('aws_ssm_parameter', 'x', { name: '/x', value: 'AKIAABCDEFGHIJKLMNOP' })),
  m('any-branch-deploys', AWS, 'operations', rewrite('aws_iam_policy_document', /./, /repo:[\w.-]+\/[\w.-]+:[^"]*/g as never, 'repo:*')),
  m('long-sessions', AWS, 'operations', set('aws_iam_role', /./, ['max_session_duration'], 43_200)),
  m('no-budget', AWS, 'operations', remove('aws_budgets_budget')),
  m('gate-removed', AWS, 'one-lock-file', remove('terraform_data')),
  m('gate-blinded', AWS, 'one-lock-file', (t) => { for (const key of Object.keys(t.json['locals'] as Body)) if (key.includes('placeholder')) (t.json['locals'] as Body)[key] = []; }),
  m('promotion-gate-blinded', AWS, 'one-lock-file', (t) => { (t.json['locals'] as Body)[Object.keys(t.json['locals'] as Body).find((key) => key.includes('unpromoted')) as string] = []; }),
  m('promotion-gate-removed', GCP, 'one-lock-file', (t) => { for (const b of bodiesOf(t, 'terraform_data', /built/)) parent(b, ['lifecycle'])['precondition'] = list(at(b, 'lifecycle', 'precondition')).filter((p) => !String(at(p, 'condition')).includes('unpromoted')); }),
  m('bucket-name-too-long', AWS, 'names', set('aws_s3_bucket', /./, ['bucket'], 'b'.repeat(64))),
  // Azure
  m('azure-milan', AZURE, 'snp-generations', set(VMSS, /broker/, ['sku'], 'Standard_DC8as_v5')),
  m('google-milan', GCP, 'snp-generations', (t) => { const [tdx] = bodiesOf(t, POOL, /counters-tdx/); add(POOL, 'fleet_counters-snp_pool', { ...structuredClone(tdx as Body), node_config: { machine_type: 'n2d-standard-8', min_cpu_platform: 'AMD Milan', confidential_nodes: { enabled: true, confidential_instance_type: 'SEV_SNP' } } })(t); }),
  m('milan-for-ever', 'ccc-gcp-dev', 'snp-generations', (t) => { for (const b of bodiesOf(t, 'terraform_data', /built/)) parent(b, ['lifecycle'])['precondition'] = list(at(b, 'lifecycle', 'precondition')).filter((p) => !String(at(p, 'condition')).includes('timecmp')); }),
  m('vtpm-off', AZURE, 'azure-fleet', set(VMSS, /broker/, ['vtpm_enabled'], false)),
  m('secure-boot-off', AZURE, 'azure-fleet', set(VMSS, /broker/, ['secure_boot_enabled'], false)),
  m('guest-state-only', AZURE, 'azure-fleet', set(VMSS, /broker/, ['os_disk', 'security_encryption_type'], 'VMGuestStateOnly')),
  m('no-confidential-disk', AZURE, 'azure-fleet', drop(VMSS, /counter/, ['os_disk', 'security_encryption_type'])),
  m('ordinary-des', AZURE, 'azure-fleet', set('azurerm_disk_encryption_set', /./, ['encryption_type'], 'EncryptionAtRestWithCustomerKey')),
  m('non-confidential-size', AZURE, 'azure-fleet', set(VMSS, /counter/, ['sku'], 'Standard_D4as_v5')),
  m('shared-identity', AZURE, 'azure-fleet', (t) => {
    const broker = bodiesOf(t, VMSS, /broker/)[0] as Body;
    for (const b of bodiesOf(t, VMSS, /counter/)) b['identity'] = structuredClone(broker['identity'] ?? null);
  }),
  m('password-login', AZURE, 'azure-fleet', set(VMSS, /broker/, ['disable_password_authentication'], false)),
  m('default-outbound', AZURE, 'azure-fleet', set('azurerm_subnet', /./, ['default_outbound_access_enabled'], true)),
  m('nsg-open', AZURE, 'azure-fleet', add('azurerm_network_security_rule', 'open', { name: 'open', access: 'Allow', direction: 'Inbound', source_address_prefix: '*', destination_port_range: '*' })),
  m('vault-standard', AZURE, 'azure-vault', set('azurerm_key_vault', /./, ['sku_name'], 'standard')),
  m('vault-purgeable', AZURE, 'azure-vault', set('azurerm_key_vault', /./, ['purge_protection_enabled'], false)),
  m('vault-public', AZURE, 'private-services', set('azurerm_key_vault', /./, ['public_network_access_enabled'], true)),
  m('vault-acl-allows', AZURE, 'azure-vault', set('azurerm_key_vault', /./, ['network_acls', 'default_action'], 'Allow')),
  m('release-policy-removed', AZURE, 'azure-vault', (t) => { const b = blocks(t, 'azapi_resource').find((x) => /vaults\/keys@/.test(String(x.body['type'])) && !/disk/.test(x.name)); delete (at(b?.body ?? null, 'body', 'properties') as Body)['release_policy']; }),
  m('release-without-measurement', AZURE, 'azure-release', release(claims(/launchmeasurement/))),
  m('release-without-debug-check', AZURE, 'azure-release', release(claims(/is-debuggable/))),
  m('release-without-secure-boot', AZURE, 'azure-release', release(claims(/^secureboot$/))),
  m('release-without-isolation', AZURE, 'azure-release', release(claims(/isolation-tee\.x-ms-attestation-type/))),
  m('release-foreign-authority', AZURE, 'azure-release', release((p) => { p.anyOf[0].authority = 'https://sharedeus.eus.attest.azure.net'; })),
  m('release-to-anybody-too', AZURE, 'azure-release', release((p) => { p.anyOf.push({ authority: p.anyOf[0].authority, allOf: [{ claim: 'x-ms-attestation-type', equals: 'azurevm' }] }); })),
  m('own-maa-removed', AZURE, 'azure-vault', remove('azurerm_attestation_provider')),
  m('immutability-unlocked', AZURE, 'audit-locks', set('azurerm_storage_container_immutability_policy', /audit/, ['locked'], false)),
  m('workspace-retention-cut', AZURE, 'audit-locks', set('azurerm_log_analytics_workspace', /./, ['retention_in_days'], 30)),
  m('shared-keys', AZURE, 'private-services', set('azurerm_storage_account', /./, ['shared_access_key_enabled'], true)),
  m('storage-public', AZURE, 'private-services', set('azurerm_storage_account', /./, ['public_network_access_enabled'], true)),
  m('postgres-passwords', AZURE, 'private-services', (t) => { const b = bodiesOf(t, 'azurerm_postgresql_flexible_server', /./).find((x) => x['create_mode'] !== 'Replica') as Body; parent(b, ['authentication'])['password_auth_enabled'] = true; }),
  m('front-door-detects', AZURE, 'private-services', set('azurerm_cdn_frontdoor_firewall_policy', /./, ['mode'], 'Detection')),
  m('front-door-unguarded', AZURE, 'private-services', remove('azurerm_cdn_frontdoor_security_policy')),
  m('vault-endpoint-removed', AZURE, 'private-services', (t) => { for (const b of blocks(t, 'azurerm_private_endpoint').filter((x) => JSON.stringify(x.body).includes('azurerm_key_vault.'))) delete (t.json['resource'] as Record<string, Record<string, Json>>)['azurerm_private_endpoint']?.[b.name]; }),
  m('azure-tags-cut', AZURE, 'tags', drop('azurerm_key_vault', /./, ['tags', 'cost-center'])),
  m('location-outside', AZURE, 'residency', set('azurerm_storage_account', /./, ['location'], 'eastus')),
  // Google
  m('bare-sev', GCP, 'gcp-fleet', set(POOL, /gateways/, ['node_config', 'confidential_nodes', 'confidential_instance_type'], 'SEV')),
  m('confidential-nodes-off', GCP, 'gcp-fleet', set(POOL, /tdx/, ['node_config', 'confidential_nodes', 'enabled'], false)),
  m('node-secure-boot-off', GCP, 'gcp-fleet', set(POOL, /gateways/, ['node_config', 'shielded_instance_config', 'enable_secure_boot'], false)),
  m('legacy-metadata', GCP, 'gcp-fleet', set(POOL, /gateways/, ['node_config', 'workload_metadata_config', 'mode'], 'GCE_METADATA')),
  m('wrong-machine', GCP, 'gcp-fleet', set(POOL, /tdx/, ['node_config', 'machine_type'], 'n2d-standard-8')),
  m('public-nodes', GCP, 'gcp-fleet', set('google_container_cluster', /./, ['private_cluster_config', 'enable_private_nodes'], false)),
  m('binauthz-off', GCP, 'gcp-fleet', set('google_container_cluster', /./, ['binary_authorization', 'evaluation_mode'], 'DISABLED')),
  m('binauthz-open', GCP, 'gcp-fleet', set('google_binary_authorization_policy', /./, ['default_admission_rule', 'evaluation_mode'], 'ALWAYS_ALLOW')),
  m('broker-debug-image', GCP, 'gcp-fleet', rewrite(/^google_compute_(?:region_)?instance_template$/, /broker/, 'confidential-space-2', 'confidential-space-debug-2')),
  m('broker-sev', GCP, 'gcp-fleet', set(/^google_compute_(?:region_)?instance_template$/, /broker/, ['confidential_instance_config', 'confidential_instance_type'], 'SEV')),
  m('broker-tag-instead-of-digest', GCP, 'gcp-fleet', rewrite(/^google_compute_(?:region_)?instance_template$/, /broker/, /@sha256:[0-9a-f]{64}/g as never, ':latest')),
  m('egress-allowed', GCP, 'gcp-fleet', add('google_compute_firewall', 'out', { direction: 'EGRESS', allow: [{ protocol: 'all' }], destination_ranges: ['0.0.0.0/0'] })),
  m('egress-deny-removed', GCP, 'gcp-fleet', (t) => { for (const b of blocks(t, 'google_compute_firewall').filter((x) => x.body['direction'] === 'EGRESS' && list(x.body['deny']).length > 0)) delete (t.json['resource'] as Record<string, Record<string, Json>>)['google_compute_firewall']?.[b.name]; }),
  m('pool-wide-principal-set', GCP, 'gcp-keys', rewrite(/^google_kms_crypto_key_iam_/, /./, /\/attribute\.image_digest\/sha256:[0-9a-f]{64}/g as never, '/*')),
  m('everybody-decrypts', GCP, 'gcp-keys', rewrite(/^google_kms_crypto_key_iam_/, /./, /principalSet:\/\/[^"]*image_digest\/sha256:[0-9a-f]{64}/g as never, 'allUsers')),
  m('condition-removed', GCP, 'gcp-keys', (t) => { for (const b of blocks(t, 'google_iam_workload_identity_pool_provider').filter((x) => at(x.body, 'oidc', 'issuer_uri') === 'https://confidentialcomputing.googleapis.com')) delete b.body['attribute_condition']; }),
  m('software-key', GCP, 'gcp-keys', set('google_kms_crypto_key', /data|attested/, ['version_template', 'protection_level'], 'SOFTWARE')),
  m('gcp-rotation-yearly', GCP, 'gcp-keys', set('google_kms_crypto_key', /data|attested/, ['rotation_period'], '31536000s')),
  m('project-decrypter', GCP, 'gcp-keys', add('google_project_iam_member', 'x', { project: 'p', role: 'roles/cloudkms.cryptoKeyDecrypter', member: 'serviceAccount:x' })),
  m('gcp-retention-unlocked', GCP, 'audit-locks', set('google_storage_bucket', /audit/, ['retention_policy', 'is_locked'], false)),
  m('gcp-log-retention-cut', GCP, 'audit-locks', set('google_logging_project_bucket_config', /./, ['retention_days'], 30)),
  m('key-reads-unlogged', GCP, 'audit-locks', remove('google_project_iam_audit_config')),
  m('sql-public', GCP, 'private-services', set('google_sql_database_instance', /./, ['settings', 'ip_configuration', 'ipv4_enabled'], true)),
  m('sql-replica-plain', GCP, 'private-services', (t) => { const b = bodiesOf(t, 'google_sql_database_instance', /./).find((x) => x['master_instance_name'] !== undefined) as Body; delete parent(b, ['settings', 'ip_configuration'])['ssl_mode']; }),
  m('armor-detached', K8S, 'k8s', (t) => { for (const b of blocks(t, 'kubernetes_manifest').filter((x) => JSON.stringify(x.body).includes('GCPBackendPolicy'))) delete (t.json['resource'] as Record<string, Record<string, Json>>)['kubernetes_manifest']?.[b.name]; }),
  m('gcp-location-outside', GCP, 'residency', set('google_storage_bucket', /./, ['location'], 'US')),
  m('slo-lowered', GCP, 'operations', set('google_monitoring_slo', /./, ['goal'], 0.9)),
  // Kubernetes
  m('pod-by-tag', K8S, 'k8s', rewrite('kubernetes_deployment_v1', /counter/, /@sha256:[0-9a-f]{64}/g as never, ':latest')),
  m('pod-root', K8S, 'k8s', rewrite('kubernetes_deployment_v1', /gateway/, '"run_as_non_root":true', '"run_as_non_root":false')),
  m('pod-anywhere', K8S, 'k8s', (t) => { const pod = at(bodiesOf(t, 'kubernetes_deployment_v1', /counter/)[0] as Body, 'spec', 'template', 'spec') as Body; delete (Array.isArray(pod) ? (pod[0] as Body) : pod)['node_selector']; }),
  m('edge-without-tls-policy', K8S, 'k8s', (t) => { for (const b of blocks(t, 'kubernetes_manifest').filter((x) => JSON.stringify(x.body).includes('GCPGatewayPolicy'))) delete (t.json['resource'] as Record<string, Record<string, Json>>)['kubernetes_manifest']?.[b.name]; }),
  m('network-policy-removed', K8S, 'k8s', remove('kubernetes_network_policy_v1', /deny|default/)),
  // dev
  m('dev-compliance-lock', 'ccc-aws-dev', 'irreversible-in-prod-only', set('aws_s3_bucket_object_lock_configuration', /./, ['rule', 'default_retention', 'mode'], 'COMPLIANCE')),
  m('dev-immutability-locked', 'ccc-azure-dev', 'irreversible-in-prod-only', set('azurerm_storage_container_immutability_policy', /./, ['locked'], true)),
  m('dev-retention-locked', 'ccc-gcp-dev', 'irreversible-in-prod-only', set('google_storage_bucket', /audit/, ['retention_policy', 'is_locked'], true)),
];

export function mutated(mutation: Mutation, all: readonly Template[]): Template {
  const t = all.find((x) => x.stack === mutation.stack);
  if (t === undefined) throw new Error(`no stack ${mutation.stack}`);
  const copy = clone(t);
  mutation.weaken(copy);
  return copy;
}

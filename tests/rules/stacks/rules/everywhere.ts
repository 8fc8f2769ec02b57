/** Rules 7 to 10: private services, tags, residency, no secrets; and what an environment must have in every cloud. */
import { ENVIRONMENTS } from '../../../../modules/environments.ts';
import type { Rule, Say } from '../rule.ts';
import { at, type Block, blocks, list, resources, strings, type Template } from '../template.ts';

export const privateServices: Rule = {
  id: 'private-services',
  title: 'no service has a public endpoint, TLS 1.2 and newer, no shared keys or local accounts, a WAF in front of the public edge',
  check(t, say) {
    for (const b of resources(t)) {
      if (b.body['public_network_access_enabled'] === true || b.body['publicly_accessible'] === true || b.body['public_network_access'] === 'Enabled') say(b, 'a public endpoint');
    }
    if (t.cloud === 'aws') awsPrivate(t, say);
    if (t.cloud === 'azure') azurePrivate(t, say);
    if (t.cloud === 'gcp') gcpPrivate(t, say);
  },
};

/** By prefix of an action; what is missing is no service of the network's (sts of the instance's own role comes by the metadata service). */
const ENDPOINTS: Readonly<Record<string, readonly string[]>> = {
  kms: ['kms'], s3: ['s3'], logs: ['logs'], cloudwatch: ['monitoring'], ssm: ['ssm'], ecr: ['ecr.api', 'ecr.dkr'], autoscaling: ['autoscaling'], secretsmanager: ['secretsmanager'], sqs: ['sqs'], sns: ['sns'],
};

function awsPrivate(t: Template, say: Say): void {
  // What the machines are allowed to call they must be able to reach: there is no other way out.
  const used = new Set(blocks(t, 'aws_iam_policy_document').filter((b) => /broker|counter|gateway/.test(b.name)).flatMap((b) => list(b.body['statement'])).flatMap((s) => list(at(s, 'actions'))).map((action) => String(action).split(':')[0] as string));
  for (const service of ['kms', 's3', 'logs']) used.add(service);
  for (const prefix of used) {
    const suffix = ENDPOINTS[prefix];
    if (suffix === undefined) continue;
    for (const service of suffix) if (!resources(t, 'aws_vpc_endpoint').some((b) => String(b.body['service_name']).endsWith(`.${service}`))) say('aws_vpc_endpoint', `no endpoint for ${service}`);
  }
  for (const b of resources(t, 'aws_vpc_endpoint')) {
    if (b.body['vpc_endpoint_type'] === 'Interface' && b.body['private_dns_enabled'] !== true) say(b, 'without private DNS');
    if (b.body['policy'] === undefined) say(b, 'without a policy of its own');
  }
  for (const b of resources(t, 'aws_lb_listener')) {
    if (!/^ELBSecurityPolicy-TLS13-/.test(String(b.body['ssl_policy'])) && b.body['protocol'] !== 'TCP' && at(b.body, 'default_action', 'type') !== 'redirect') say(b, 'TLS older than 1.2');
  }
  const acls = resources(t, 'aws_wafv2_web_acl');
  if (acls.length === 0) say('aws_wafv2_web_acl', 'no WAF');
  for (const b of resources(t, 'aws_lb').filter((lb) => lb.body['internal'] !== true && lb.body['load_balancer_type'] !== 'network')) {
    if (!resources(t, 'aws_wafv2_web_acl_association').some((a) => String(a.body['resource_arn']).includes(`aws_lb.${b.name}.`))) say(b, 'no WAF in front');
    if (b.body['drop_invalid_header_fields'] !== true) say(b, 'lets invalid headers through');
    if (at(b.body, 'access_logs', 'enabled') !== true) say(b, 'no access log');
    if (t.environment === 'prod' && b.body['enable_deletion_protection'] !== true) say(b, 'no deletion protection in prod');
  }
  for (const b of acls) {
    const rules = JSON.stringify(b.body['rule'] ?? []);
    for (const group of ['AWSManagedRulesCommonRuleSet', 'AWSManagedRulesKnownBadInputsRuleSet']) if (!rules.includes(group)) say(b, `without ${group}`);
    if (!rules.includes('rate_based_statement')) say(b, 'without a rate limit');
    if (list(b.body['rule']).some((r) => at(r, 'override_action', 'count') !== undefined)) say(b, 'a managed rule only counts');
    if (!resources(t, 'aws_wafv2_web_acl_logging_configuration').some((l) => String(l.body['resource_arn']).includes(`aws_wafv2_web_acl.${b.name}.`))) say(b, 'no log');
  }
  const clusters = resources(t, 'aws_rds_cluster');
  if (clusters.length === 0) say('aws_rds_cluster', 'no database');
  for (const b of clusters) {
    if (b.body['storage_encrypted'] !== true || b.body['kms_key_id'] === undefined) say(b, 'not encrypted by our key');
    if (b.body['iam_database_authentication_enabled'] !== true) say(b, 'no IAM authentication');
    if (b.body['master_password'] !== undefined) say(b, 'a password in the state');
    if (t.environment === 'prod' && (b.body['deletion_protection'] !== true || at(b.body, 'lifecycle', 'prevent_destroy') !== true)) say(b, 'can be destroyed in prod');
    if (resources(t, 'aws_rds_cluster_instance').filter((i) => String(i.body['cluster_identifier']).includes(`aws_rds_cluster.${b.name}.`)).length < 2 && !/standby|dr/.test(b.name)) say(b, 'no reader');
    if (Number(b.body['backup_retention_period'] ?? 1) < 7) say(b, 'backups of less than a week');
  }
  for (const b of resources(t, 'aws_s3_bucket')) {
    const tls = resources(t, 'aws_s3_bucket_policy').some((p) => String(p.body['bucket']).includes(`aws_s3_bucket.${b.name}.`)
      && blocks(t, 'aws_iam_policy_document').some((d) => String(p.body['policy']).includes(`aws_iam_policy_document.${d.name}.`)
        && list(d.body['statement']).some((s) => at(s, 'effect') === 'Deny' && list(at(s, 'condition')).some((c) => at(c, 'variable') === 'aws:SecureTransport' && list(at(c, 'values')).includes('false')))));
    if (!tls) say(b, 'can be reached without TLS');
  }
}

function azurePrivate(t: Template, say: Say): void {
  const endpoints = JSON.stringify(resources(t, 'azurerm_private_endpoint').map((b) => b.body['private_service_connection']));
  for (const b of resources(t, /^azurerm_(?:key_vault|storage_account|attestation_provider|container_registry|confidential_ledger)$/)) {
    if (b.type !== 'azurerm_attestation_provider' && b.type !== 'azurerm_confidential_ledger' && b.body['public_network_access_enabled'] !== false) say(b, 'a public endpoint');
    if (b.type !== 'azurerm_confidential_ledger' && !endpoints.includes(`${b.type}.${b.name}.`)) say(b, 'no private endpoint');
  }
  for (const b of resources(t, 'azurerm_storage_account')) {
    if (b.body['shared_access_key_enabled'] !== false) say(b, 'shared keys');
    if (b.body['min_tls_version'] !== 'TLS1_2' && b.body['min_tls_version'] !== 'TLS1_3') say(b, 'TLS older than 1.2');
    if (b.body['allow_nested_items_to_be_public'] !== false) say(b, 'containers could be public');
    if (b.body['infrastructure_encryption_enabled'] !== true) say(b, 'encrypted once only');
  }
  for (const b of resources(t, 'azurerm_postgresql_flexible_server')) {
    if (b.body['public_network_access_enabled'] !== false) say(b, 'a public endpoint');
    if (at(b.body, 'authentication', 'password_auth_enabled') !== false && b.body['create_mode'] !== 'Replica') say(b, 'passwords');
    if (b.body['administrator_password'] !== undefined) say(b, 'a password in the state');
    if (t.environment === 'prod' && at(b.body, 'lifecycle', 'prevent_destroy') !== true) say(b, 'can be destroyed in prod');
  }
  if (resources(t, 'azurerm_postgresql_flexible_server').length < 2) say('azurerm_postgresql_flexible_server', 'no replica');
  for (const b of resources(t, 'azurerm_container_registry')) if (b.body['admin_enabled'] === true) say(b, 'an admin account');
  const policies = resources(t, 'azurerm_cdn_frontdoor_firewall_policy');
  if (policies.length === 0) say('azurerm_cdn_frontdoor_firewall_policy', 'no WAF');
  for (const b of policies) {
    if (b.body['mode'] !== 'Prevention' || b.body['enabled'] === false) say(b, 'does not prevent');
    if (!list(b.body['managed_rule']).some((r) => /DefaultRuleSet/.test(String(at(r, 'type'))) && at(r, 'action') === 'Block')) say(b, 'no default rule set that blocks');
    if (!list(b.body['custom_rule']).some((r) => at(r, 'type') === 'RateLimitRule')) say(b, 'without a rate limit');
  }
  for (const b of resources(t, 'azurerm_cdn_frontdoor_endpoint')) if (!JSON.stringify(resources(t, 'azurerm_cdn_frontdoor_security_policy').map((p) => p.body)).includes(`azurerm_cdn_frontdoor_endpoint.${b.name}.`)) say(b, 'no WAF in front');
  for (const b of resources(t, 'azurerm_cdn_frontdoor_origin')) if (at(b.body, 'private_link') === undefined) say(b, 'reached over the internet');
}

function gcpPrivate(t: Template, say: Say): void {
  const databases = resources(t, 'google_sql_database_instance');
  if (databases.length < 2) say('google_sql_database_instance', 'no replica');
  for (const b of databases) {
    if (at(b.body, 'settings', 'ip_configuration', 'ipv4_enabled') !== false) say(b, 'a public address');
    if (!['TRUSTED_CLIENT_CERTIFICATE_REQUIRED', 'ENCRYPTED_ONLY'].includes(String(at(b.body, 'settings', 'ip_configuration', 'ssl_mode')))) say(b, 'answers without TLS');
    if (b.body['encryption_key_name'] === undefined) say(b, 'without our key');
    if (!list(at(b.body, 'settings', 'database_flags')).some((f) => at(f, 'name') === 'cloudsql.iam_authentication' && at(f, 'value') === 'on')) say(b, 'no IAM authentication');
    if (t.environment === 'prod' && (b.body['deletion_protection'] !== true || at(b.body, 'lifecycle', 'prevent_destroy') !== true)) say(b, 'can be destroyed in prod');
    if (b.body['master_instance_name'] === undefined && at(b.body, 'settings', 'backup_configuration', 'point_in_time_recovery_enabled') !== true) say(b, 'no point-in-time recovery');
  }
  for (const b of resources(t, 'google_compute_ssl_policy')) if (!['TLS_1_2', 'TLS_1_3'].includes(String(b.body['min_tls_version']))) say(b, 'TLS older than 1.2');
  if (resources(t, 'google_compute_ssl_policy').length === 0) say('google_compute_ssl_policy', 'no TLS policy at the edge');
  const armor = resources(t, 'google_compute_security_policy').concat(resources(t, 'google_compute_region_security_policy'));
  if (armor.length === 0) say('google_compute_security_policy', 'no WAF');
  for (const b of armor) {
    const rules = JSON.stringify(b.body);
    if (!/evaluatePreconfiguredWaf/.test(rules)) say(b, 'without preconfigured WAF rules');
    if (!/throttle|rate_based_ban/.test(rules)) say(b, 'without a rate limit');
  }
  for (const b of resources(t, /^google_compute_(?:region_)?backend_service$/).filter((s) => /EXTERNAL/.test(String(s.body['load_balancing_scheme'])))) {
    if (b.body['security_policy'] === undefined) say(b, 'no WAF in front');
    if (at(b.body, 'log_config', 'enable') !== true) say(b, 'no access log');
  }
  for (const b of resources(t, 'google_artifact_registry_repository')) if (b.body['format'] === 'DOCKER' && at(b.body, 'docker_config', 'immutable_tags') !== true) say(b, 'tags can move');
}

const NEEDED = ['app', 'env', 'cost-center', 'data-class'] as const;
/** Taggable resources of azurerm: its provider has no default tags. */
const AZURE_TAGGED = /^azurerm_(?:resource_group|virtual_network|network_security_group|key_vault|key_vault_key|storage_account|linux_virtual_machine_scale_set|lb|private_endpoint|private_dns_zone|postgresql_flexible_server|log_analytics_workspace|user_assigned_identity|disk_encryption_set|attestation_provider|container_registry|public_ip|private_link_service|cdn_frontdoor_profile|cdn_frontdoor_endpoint|cdn_frontdoor_firewall_policy|monitor_action_group|monitor_autoscale_setting|data_protection_backup_vault|network_ddos_protection_plan|route_table|application_insights|network_watcher_flow_log|monitor_metric_alert|monitor_scheduled_query_rules_alert_v2)$/;

export const tags: Rule = {
  id: 'tags',
  title: 'app, env, cost-center and data-class on everything that can carry them',
  check(t, say) {
    const complete = (have: unknown): boolean => typeof have === 'object' && have !== null && NEEDED.every((key) => typeof (have as Record<string, unknown>)[key] === 'string') && (have as Record<string, unknown>)['env'] === t.environment;
    const provider = (name: string) => list(at(t.json, 'provider', name));
    if (t.cloud === 'aws' || t.cloud === 'edge') for (const p of provider('aws')) if (!complete(at(p, 'default_tags', 'tags'))) say('provider.aws', 'default tags are incomplete');
    if (t.cloud === 'gcp') for (const p of provider('google')) if (!complete(at(p, 'default_labels'))) say('provider.google', 'default labels are incomplete');
    // An ASG's tags are not the provider's: those of its instances are set there.
    for (const b of resources(t, 'aws_autoscaling_group')) for (const key of NEEDED) if (!list(b.body['tag']).some((x) => at(x, 'key') === key && at(x, 'propagate_at_launch') === true)) say(b, `instances do not get the tag ${key}`);
    for (const b of resources(t, AZURE_TAGGED)) if (!complete(b.body['tags'])) say(b, 'tags are incomplete');
  },
};

const LOCATION_KEYS = /(?:^|\.|_)(?:region|location|replica_location|zone|zones|availability_zones?|distribution_policy_zones|node_locations|locations|regions|allowed_persistence_regions|data_locations|geo_location|primary_region|destination_region|listOfAllowedLocations)(?:\[\d+\])?$/;
const LOCATION = /^(?:[a-z]{2}(?:-gov)?-[a-z]+-\d[a-f]?|(?:europe|us|asia|northamerica|southamerica|australia|me|africa)-[a-z]+\d(?:-[a-f])?|[a-z]{4,}(?:europe|us|asia)\d?|(?:east|west|central|north|south)[a-z]+\d?|eur\d|nam\d|asia\d|EU|US|ASIA|europe|us|asia)$/;

export const residency: Rule = {
  id: 'residency',
  title: 'every region and location is one of the environment\'s residency',
  check(t, say) {
    const e = ENVIRONMENTS[t.environment];
    const cloud = t.cloud === 'k8s' ? 'gcp' : t.cloud === 'edge' ? 'aws' : t.cloud;
    const allowed = e.residency[cloud];
    const inside = (text: string): boolean => allowed.some((region) => text === region || (text.startsWith(region) && /^(?:-?[a-f])$/.test(text.slice(region.length)))) || text === 'global';
    for (const b of blocks(t)) {
      for (const { path, text } of strings(b.body)) {
        if (text.includes('${')) continue;
        if (LOCATION_KEYS.test(path) && LOCATION.test(text) && !inside(text)) say(b, `${path} is ${text}, need one of ${allowed.join(', ')}`);
        const arn = /^arn:aws:[a-z0-9-]+:([a-z]{2}-[a-z]+-\d):/.exec(text)?.[1];
        // Certificates, web ACLs and budgets of global services live in us-east-1 whatever the customer chooses.
        if (arn !== undefined && !inside(arn)) say(b, `${path} names ${arn}`);
      }
    }
    for (const [name, configured] of Object.entries((t.json['provider'] ?? {}) as Record<string, unknown>)) {
      for (const p of list(configured as never)) if (typeof at(p, 'region') === 'string' && !inside(String(at(p, 'region')))) say(`provider.${name}`, `region ${String(at(p, 'region'))}`);
    }
  },
};

const SECRET = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/, /(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])/, /(?<![\w-])gh[pousr]_[A-Za-z0-9]{36}/, /AIza[0-9A-Za-z_-]{35}/, /xox[baprs]-[0-9A-Za-z-]{10,}/,
  /AccountKey=[A-Za-z0-9+/=]{40,}/, /ccc_live_[A-Za-z0-9]+_[A-Za-z0-9_-]+/, /"d"\s*:\s*"[A-Za-z0-9_-]{43}"/,
];

export const noSecrets: Rule = {
  id: 'no-secrets',
  title: 'no literal that looks like a secret, no sensitive output',
  check(t, say) {
    const look = (address: string, value: Parameters<typeof strings>[0]): void => {
      for (const { path, text } of strings(value)) {
        if (SECRET.some((pattern) => pattern.test(text))) say(address, `${path} looks like a secret`);
        if (/(?:^|[._])(?:password|secret|token|client_secret|private_key|access_key|connection_string|master_password|administrator_password)$/.test(path) && !text.includes('${')) say(address, `${path} is a literal`);
      }
    };
    for (const b of blocks(t)) look(b.address, b.body);
    for (const section of ['provider', 'locals', 'variable', 'output', 'terraform']) look(section, t.json[section]);
    for (const b of resources(t, /^random_(?:password|string|id)$/)) say(b, 'a secret that lives in the state');
    for (const [name, output] of Object.entries((t.json['output'] ?? {}) as Record<string, never>)) if (at(output, 'sensitive') === true) say(`output.${name}`, 'sensitive outputs are secrets in the state');
  },
};

const PER_CLOUD: Record<'aws' | 'azure' | 'gcp', Record<string, RegExp>> = {
  aws: { 'a budget': /^aws_budgets_budget$/, 'a burn-rate alarm': /^aws_cloudwatch_composite_alarm$/, 'a dashboard': /^aws_cloudwatch_dashboard$/, 'a backup plan': /^aws_backup_plan$/, 'a restore test': /^aws_backup_restore_testing_plan$/, 'an identity for CI': /^aws_iam_openid_connect_provider$/, 'a cost allocation tag': /^aws_ce_cost_allocation_tag$/ },
  azure: { 'a budget': /^azurerm_consumption_budget_/, 'a burn-rate alarm': /^azurerm_monitor_scheduled_query_rules_alert_v2$/, 'a dashboard': /^azurerm_(?:portal_dashboard|application_insights_workbook|dashboard_grafana)$/, 'a backup': /^azurerm_data_protection_backup_/, 'an identity for CI': /^azurerm_federated_identity_credential$/, 'a rule for locations': /^azurerm_.*policy_assignment$/ },
  gcp: { 'a budget': /^google_billing_budget$/, 'an objective': /^google_monitoring_slo$/, 'a burn-rate alarm': /^google_monitoring_alert_policy$/, 'a dashboard': /^google_monitoring_dashboard$/, 'an identity for CI': /^google_iam_workload_identity_pool$/ },
};

export const operations: Rule = {
  id: 'operations',
  title: 'budget, objective, burn-rate alarms, dashboard, backups and CI identities exist per environment',
  check(t, say) {
    if (t.cloud !== 'aws' && t.cloud !== 'azure' && t.cloud !== 'gcp') return;
    for (const [what, type] of Object.entries(PER_CLOUD[t.cloud])) if (resources(t, type).length === 0) say(String(type), `no ${what.replace(/^an? /, '')}`);
    for (const b of resources(t, 'google_monitoring_slo')) if (b.body['goal'] !== ENVIRONMENTS[t.environment].sloTarget) say(b, `goal ${String(b.body['goal'])}`);
    for (const b of resources(t, 'aws_iam_role')) if (Number(b.body['max_session_duration'] ?? 3600) > 3600) say(b, 'sessions longer than an hour');
    for (const b of resources(t, 'google_iam_workload_identity_pool_provider')) if (at(b.body, 'oidc', 'issuer_uri') === 'https://token.actions.githubusercontent.com' && !String(b.body['attribute_condition']).includes('repository')) say(b, 'any repository may deploy');
    for (const b of federatedTrusts(t)) say(b, 'any repository, or any branch, may take this role');
  },
};

/** Trust documents for GitHub's tokens without the repository in their condition. */
function federatedTrusts(t: Template): Block[] {
  return blocks(t, 'aws_iam_policy_document').filter((b) => (list(b.body['statement'])).some((s) => JSON.stringify(at(s, 'principals') ?? []).includes('Federated')
    && !list(at(s, 'condition')).some((c) => at(c, 'variable') === 'token.actions.githubusercontent.com:sub' && list(at(c, 'values')).every((v) => /^repo:[\w.-]+\/[\w.-]+:.+/.test(String(v)) && !/^repo:[^:]*\*/.test(String(v))))));
}

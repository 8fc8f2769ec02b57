/** Every literal name fits what its service takes: the limits of modules/naming.ts by type of resource, and patterns of the providers' documentation for the rest. */
import { checkName, type NameKind } from '../../../../modules/naming.ts';
import type { Rule } from '../rule.ts';
import { at, resources } from '../template.ts';

type Form = NameKind | RegExp;

const RFC1035 = /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_NAME = /^(?=.{1,254}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.?$/;
const IAM = /^[\w+=,.@-]{1,128}$/;
/** Network resources of Azure: a letter or digit first, a letter, digit or underscore last. */
const AZURE_NETWORK = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}\w)?$/;
const AZURE_ALERT = /^[^*#&+:<>?@%{}\\/|]{1,259}[^*#&+:<>?@%{}\\/|. ]$/;
const KMS = /^[A-Za-z0-9_-]{1,63}$/;
const TITLE = (max: number): RegExp => new RegExp(`^[^\\n]{1,${max}}$`);
const FRONT_DOOR = (max: number): RegExp => new RegExp(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,${max - 2}}[A-Za-z0-9])$`);
const SQL_IDENTIFIER = /^[a-z_][a-z0-9_]{0,62}$/;

/** By type and attribute; types of one form share a line. What is not here has no known limit, which is a finding of its own. */
const FORMS: readonly (readonly [types: string, attribute: string, form: Form])[] = [
  ['aws_s3_bucket', 'bucket', 's3-bucket'], ['aws_cloudtrail', 's3_bucket_name', 's3-bucket'], ['aws_s3_bucket_logging', 'target_bucket', 's3-bucket'],
  ['aws_iam_role', 'name', 'iam-role'], ['aws_iam_policy aws_iam_role_policy', 'name', IAM], ['aws_lb', 'name', 'load-balancer'], ['aws_lb_target_group', 'name', 'target-group'],
  ['aws_rds_cluster', 'cluster_identifier', 'rds'], ['aws_rds_cluster_instance', 'identifier', 'rds'], ['aws_rds_cluster', 'database_name', SQL_IDENTIFIER], ['aws_rds_cluster', 'final_snapshot_identifier', /^[A-Za-z](?!.*--)[A-Za-z0-9-]{0,253}[A-Za-z0-9]$/],
  ['aws_rds_cluster_parameter_group', 'name', /^[a-z](?!.*--)[a-z0-9-]{0,253}[a-z0-9]$/], ['aws_db_subnet_group', 'name', /^[a-z0-9 ._-]{1,255}$/],
  ['aws_launch_template', 'name', 'launch-template'], ['aws_autoscaling_group', 'name', 'autoscaling-group'], ['aws_autoscaling_lifecycle_hook aws_autoscaling_policy', 'name', /^[A-Za-z0-9_/-]{1,255}$/],
  ['aws_security_group', 'name', 'security-group'], ['aws_kms_alias', 'name', /^alias\/(?!aws\/)[A-Za-z0-9/_-]{1,250}$/], ['aws_cloudwatch_log_group', 'name', /^[.\-_/#A-Za-z0-9]{1,512}$/],
  ['aws_accessanalyzer_analyzer', 'analyzer_name', /^[A-Za-z][A-Za-z0-9_.-]{0,254}$/], ['aws_backup_plan aws_backup_selection', 'name', /^[A-Za-z0-9._-]{1,50}$/], ['aws_backup_vault', 'name', /^[A-Za-z0-9_-]{2,50}$/],
  ['aws_backup_restore_testing_plan aws_backup_restore_testing_selection', 'name', /^[A-Za-z0-9_]{1,50}$/], ['aws_budgets_budget', 'name', /^[^:\\\n]{1,100}$/], ['aws_cloudtrail', 'name', /^[A-Za-z0-9](?!.*[._-]{2})[A-Za-z0-9._-]{1,126}[A-Za-z0-9]$/],
  ['aws_cloudwatch_composite_alarm aws_cloudwatch_metric_alarm', 'alarm_name', TITLE(255)], ['aws_cloudwatch_metric_alarm', 'metric_name', TITLE(255)], ['aws_cloudwatch_dashboard', 'dashboard_name', /^[A-Za-z0-9_-]{1,255}$/],
  ['aws_cloudwatch_log_metric_filter', 'name', /^[^:*\n]{1,512}$/], ['aws_ecr_repository', 'name', /^(?=.{2,256}$)(?:[a-z0-9]+(?:[._-][a-z0-9]+)*\/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$/],
  ['aws_shield_protection', 'name', /^[ A-Za-z0-9_.-]{1,128}$/], ['aws_sns_topic', 'name', /^[A-Za-z0-9_-]{1,256}$/], ['aws_wafv2_web_acl', 'name', /^[\w-]{1,128}$/], ['aws_route53_record aws_route53_zone', 'name', DNS_NAME],

  ['azurerm_resource_group', 'name', 'resource-group'], ['azurerm_key_vault', 'name', 'key-vault'], ['azurerm_key_vault_key azapi_resource', 'name', 'key-vault-key'], ['azurerm_storage_account', 'name', 'storage-account'],
  ['azurerm_attestation_provider', 'name', 'attestation-provider'], ['azurerm_cdn_frontdoor_firewall_policy', 'name', 'waf-policy'], ['azurerm_linux_virtual_machine_scale_set', 'name', 'vmss'], ['azurerm_linux_virtual_machine_scale_set', 'computer_name_prefix', 'computer-name-prefix'],
  ['azurerm_postgresql_flexible_server azurerm_postgresql_flexible_server_virtual_endpoint', 'name', 'postgres-flexible'], ['azurerm_postgresql_flexible_server_database', 'name', SQL_IDENTIFIER], ['azurerm_postgresql_flexible_server_configuration', 'name', /^[a-z_.]{1,63}$/],
  ['azurerm_container_registry', 'name', 'container-registry'], ['azurerm_cdn_frontdoor_endpoint', 'name', 'front-door-endpoint'], ['azurerm_cdn_frontdoor_profile', 'name', FRONT_DOOR(46)], ['azurerm_cdn_frontdoor_custom_domain', 'name', FRONT_DOOR(260)],
  ['azurerm_cdn_frontdoor_origin azurerm_cdn_frontdoor_origin_group azurerm_cdn_frontdoor_route azurerm_cdn_frontdoor_security_policy', 'name', FRONT_DOOR(90)], ['azurerm_cdn_frontdoor_origin azurerm_cdn_frontdoor_custom_domain', 'host_name', DNS_NAME],
  ['azurerm_lb azurerm_lb_backend_address_pool azurerm_lb_probe azurerm_lb_rule azurerm_network_security_group azurerm_network_ddos_protection_plan azurerm_network_watcher_flow_log azurerm_private_link_service azurerm_subnet azurerm_private_dns_zone_virtual_network_link', 'name', AZURE_NETWORK],
  ['azurerm_private_endpoint', 'name', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\w$/], ['azurerm_private_endpoint', 'custom_network_interface_name', AZURE_NETWORK], ['azurerm_virtual_network', 'name', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\w$/], ['azurerm_lb_rule', 'frontend_ip_configuration_name', AZURE_NETWORK],
  ['azurerm_log_analytics_workspace', 'name', /^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$/], ['azurerm_application_insights', 'name', /^[A-Za-z0-9_.()-]{1,259}[A-Za-z0-9_()-]$/], ['azurerm_application_insights_workbook', 'name', /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/],
  ['azurerm_consumption_budget_resource_group', 'name', /^[A-Za-z0-9_-]{1,63}$/], ['azurerm_data_protection_backup_vault', 'name', /^[A-Za-z][A-Za-z0-9-]{0,48}[A-Za-z0-9]$/],
  ['azurerm_data_protection_backup_instance_postgresql_flexible_server azurerm_data_protection_backup_policy_postgresql_flexible_server', 'name', /^[A-Za-z0-9-]{3,150}$/], ['azurerm_disk_encryption_set', 'name', /^[\w-]{1,80}$/], ['azurerm_federated_identity_credential', 'name', /^[A-Za-z0-9][\w-]{2,119}$/],
  ['azurerm_management_lock', 'name', /^[A-Za-z0-9._()-]{1,260}$/], ['azurerm_monitor_action_group', 'name', AZURE_ALERT], ['azurerm_monitor_action_group', 'short_name', TITLE(12)], ['azurerm_monitor_activity_log_alert azurerm_monitor_metric_alert azurerm_monitor_scheduled_query_rules_alert_v2 azurerm_monitor_autoscale_setting azurerm_monitor_diagnostic_setting', 'name', AZURE_ALERT],
  ['azurerm_monitor_private_link_scope azurerm_monitor_private_link_scoped_service', 'name', /^[A-Za-z0-9._()-]{1,254}[A-Za-z0-9_()-]$/], ['azurerm_private_dns_zone azurerm_private_dns_a_record', 'name', DNS_NAME], ['azurerm_resource_group_policy_assignment', 'name', /^[^#<>%&:\\?/\s]{1,64}$/],
  ['azurerm_role_definition', 'name', TITLE(128)], ['azurerm_security_center_contact', 'name', /^default$/], ['azurerm_storage_container', 'name', /^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/], ['azurerm_user_assigned_identity', 'name', /^[A-Za-z0-9][\w-]{2,127}$/],

  ['google_storage_bucket', 'name', 'gcs-bucket'], ['google_storage_bucket_iam_member', 'bucket', 'gcs-bucket'], ['google_service_account', 'account_id', 'service-account'], ['google_service_account', 'display_name', TITLE(100)],
  ['google_iam_workload_identity_pool', 'workload_identity_pool_id', 'workload-identity-pool'], ['google_iam_workload_identity_pool_provider', 'workload_identity_pool_provider_id', 'workload-identity-pool'], ['google_iam_workload_identity_pool google_iam_workload_identity_pool_provider', 'display_name', TITLE(32)],
  ['google_container_cluster', 'name', 'gke-cluster'], ['google_container_node_pool', 'name', 'gke-node-pool'], ['google_sql_database_instance', 'name', 'cloud-sql'], ['google_sql_database', 'name', SQL_IDENTIFIER], ['google_sql_user', 'name', /^[a-z0-9@.-]{1,63}$/],
  ['google_kms_key_ring', 'name', 'key-ring'], ['google_kms_crypto_key', 'name', KMS],
  ['google_artifact_registry_repository', 'repository_id', RFC1035], ['google_binary_authorization_attestor google_certificate_manager_certificate google_certificate_manager_certificate_map google_certificate_manager_certificate_map_entry google_certificate_manager_dns_authorization', 'name', RFC1035],
  ['google_compute_address google_compute_firewall google_compute_forwarding_rule google_compute_global_address google_compute_network google_compute_region_autoscaler google_compute_region_backend_service google_compute_region_health_check google_compute_region_instance_group_manager google_compute_route google_compute_security_policy google_compute_ssl_policy google_compute_subnetwork google_dns_managed_zone google_dns_policy', 'name', RFC1035],
  // The provider puts 26 digits behind a prefix; instances get five characters behind their group's base name.
  ['google_compute_region_instance_template', 'name_prefix', /^[a-z][a-z0-9-]{0,36}$/], ['google_compute_region_instance_group_manager', 'base_instance_name', /^[a-z](?:[-a-z0-9]{0,56}[a-z0-9])?$/],
  ['google_dns_managed_zone', 'dns_name', /^(?:[a-z0-9-]{1,63}\.)+$/], ['google_dns_record_set', 'name', /^(?:[a-z0-9_*-]{1,63}\.)+$/], ['google_cloud_scheduler_job', 'name', /^[A-Za-z0-9_-]{1,500}$/], ['google_workflows_workflow', 'name', /^[A-Za-z](?:[\w-]{0,62}[A-Za-z0-9])?$/], ['google_container_analysis_note', 'name', RFC1035],
  ['google_iam_deny_policy', 'name', /^[a-z][a-z0-9.-]{2,62}$/], ['google_iam_deny_policy', 'display_name', TITLE(63)], ['google_logging_metric', 'name', /^[A-Za-z0-9_\-.,+!*',()%/]{1,100}$/], ['google_logging_project_bucket_config', 'bucket_id', /^[\w.-]{1,100}$/], ['google_logging_project_sink', 'name', /^[\w.-]{1,100}$/],
  ['google_monitoring_custom_service', 'service_id', /^[a-z0-9-]{1,63}$/], ['google_monitoring_slo', 'slo_id', /^[A-Za-z0-9_:.-]{1,63}$/], ['google_billing_budget', 'display_name', TITLE(60)], ['google_project_iam_custom_role', 'role_id', /^[A-Za-z0-9_.]{3,64}$/], ['google_org_policy_policy', 'name', /^projects\/[a-z][a-z0-9-]{4,28}[a-z0-9]\/policies\/[A-Za-z]+(?:\.[A-Za-z]+)+$/],
];

/** Names by which a service knows the thing, as opposed to references, titles that people read, and words of the service. */
const NAMES = ['name', 'name_prefix', 'alarm_name', 'analyzer_name', 'bucket', 'cluster_identifier', 'identifier', 'account_id', 'repository_id', 'workload_identity_pool_id', 'workload_identity_pool_provider_id', 'bucket_id', 'service_id', 'slo_id', 'role_id', 'dashboard_name', 'base_instance_name', 'computer_name_prefix'];

const forms = new Map<string, Form>(FORMS.flatMap(([types, attribute, form]) => types.split(' ').map((type) => [`${type}.${attribute}`, form] as const)));

function wrong(form: Form, name: string): string | undefined {
  if (form instanceof RegExp) return form.test(name) ? undefined : `"${name}" does not match ${form.source}`;
  try {
    checkName(form, name);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

export const names: Rule = {
  id: 'names',
  title: 'every literal name fits the limits of its service, and none has limits that nobody knows',
  check(t, say) {
    const taken = new Map<string, string>();
    for (const b of resources(t)) {
      if (b.type.startsWith('kubernetes_')) {
        const name = b.type === 'kubernetes_manifest' ? at(b.body, 'manifest', 'metadata', 'name') : at(b.body, 'metadata', 'name');
        if (typeof name !== 'string') say(b, 'without a name');
        // Role and binding names are path segments; all others are DNS names, and those of services and namespaces single labels.
        else if (!name.includes('${') && !(/_role|role_binding/.test(b.type) ? /^[^%/]{1,253}$/ : /^kubernetes_(?:service_v1|namespace)/.test(b.type) ? RFC1035 : DNS_NAME).test(name)) say(b, `"${name}" is no name of Kubernetes`);
        continue;
      }
      for (const [attribute, value] of Object.entries(b.body)) {
        if (typeof value !== 'string' || value.includes('${')) continue;
        const form = forms.get(`${b.type}.${attribute}`);
        if (form === undefined) {
          if (NAMES.includes(attribute)) say(b, `no known limit for ${attribute}: tests/rules/stacks/rules/names.ts`);
          continue;
        }
        const why = wrong(form, value);
        if (why !== undefined) say(b, `${attribute}: ${why}`);
      }
      const unique = UNIQUE[b.type];
      const name = unique === undefined ? undefined : b.body[unique];
      if (typeof name !== 'string') continue;
      const other = taken.get(`${b.type} ${name}`);
      if (other !== undefined) say(b, `has the name of ${other}`);
      taken.set(`${b.type} ${name}`, b.address);
    }
  },
};

/** Types whose names no two may share, wherever they are. */
const UNIQUE: Readonly<Record<string, string>> = { aws_s3_bucket: 'bucket', aws_iam_role: 'name', azurerm_key_vault: 'name', azurerm_storage_account: 'name', google_storage_bucket: 'name', google_service_account: 'account_id' };

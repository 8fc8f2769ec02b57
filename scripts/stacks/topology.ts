/** What a synthesized stack consists of, read from its JSON: role-named constructs (by `//.metadata.path`), what they hold, which refers to which. */

export interface Holding { readonly kind: string; readonly name: string }
export interface Part { readonly name: string; readonly holdings: readonly Holding[]; readonly resources: number; readonly refersTo: readonly string[] }

/** Resources that a reader of the architecture looks for; the others are their settings, permissions and alarms. */
const KINDS: Readonly<Record<string, string>> = {
  aws_autoscaling_group: 'fleet', azurerm_linux_virtual_machine_scale_set: 'fleet', google_compute_region_instance_group_manager: 'fleet', google_container_node_pool: 'fleet',
  kubernetes_deployment_v1: 'fleet', kubernetes_daemon_set_v1: 'fleet', google_container_cluster: 'cluster',
  aws_kms_key: 'key', aws_kms_replica_key: 'key', azurerm_key_vault_key: 'key', google_kms_crypto_key: 'key', azurerm_key_vault: 'vault', azurerm_disk_encryption_set: 'disk encryption',
  aws_rds_cluster: 'database', aws_rds_cluster_instance: 'database', aws_db_instance: 'database', azurerm_postgresql_flexible_server: 'database', google_sql_database_instance: 'database',
  aws_s3_bucket: 'bucket', google_storage_bucket: 'bucket', azurerm_storage_account: 'bucket', aws_backup_vault: 'backups', azurerm_data_protection_backup_vault: 'backups',
  aws_ecr_repository: 'registry', azurerm_container_registry: 'registry', google_artifact_registry_repository: 'registry', google_binary_authorization_policy: 'admission',
  aws_lb: 'edge', aws_wafv2_web_acl: 'edge', azurerm_cdn_frontdoor_endpoint: 'edge', azurerm_cdn_frontdoor_firewall_policy: 'edge', google_compute_security_policy: 'edge', google_compute_global_address: 'edge',
  azurerm_lb: 'balancer', google_compute_forwarding_rule: 'balancer', kubernetes_manifest: 'edge', kubernetes_service_v1: 'service', aws_route53_health_check: 'edge', aws_route53_zone: 'zone',
  aws_vpc_endpoint: 'endpoint', azurerm_private_endpoint: 'endpoint', azurerm_private_link_service: 'endpoint', google_service_networking_connection: 'endpoint', google_compute_address: 'endpoint',
  azurerm_attestation_provider: 'attestation', google_iam_workload_identity_pool_provider: 'federation', aws_iam_openid_connect_provider: 'federation', azurerm_federated_identity_credential: 'federation',
};

type Json = Readonly<Record<string, unknown>>;
type Blocks = Readonly<Record<string, Readonly<Record<string, Json>>>>;

/** @throws Error when a resource carries no path: then this reads something else than CDKTF's output */
export function topology(stack: Json): Part[] {
  const of = new Map<string, string>();
  const found: { readonly part: string; readonly type: string; readonly name: string; readonly body: Json }[] = [];
  for (const section of ['resource', 'data'] as const) {
    for (const [type, blocks] of Object.entries((stack[section] ?? {}) as Blocks)) {
      for (const [id, body] of Object.entries(blocks)) {
        const path = (body['//'] as { metadata?: { path?: string } } | undefined)?.metadata?.path?.split('/');
        if (path === undefined || path.length < 2) throw new Error(`${type}.${id} has no construct path`);
        const [part, name] = path.length === 2 ? ['stack', path[1] ?? ''] : [path[1] ?? '', path.slice(2).join('/')];
        of.set(`${section === 'data' ? 'data.' : ''}${type}.${id}`, part);
        found.push({ part, type, name, body });
      }
    }
  }
  const parts = new Map<string, { holdings: Holding[]; resources: number; refersTo: Set<string> }>();
  for (const { part, type, name, body } of found) {
    const entry = parts.get(part) ?? { holdings: [], resources: 0, refersTo: new Set() };
    parts.set(part, entry);
    entry.resources += 1;
    const kind = kindOf(type, body);
    if (kind !== undefined) entry.holdings.push({ kind, name });
    for (const reference of references(body)) {
      const target = of.get(reference);
      if (target !== undefined && target !== part) entry.refersTo.add(target);
    }
  }
  return [...parts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { holdings, resources, refersTo }]) => ({ name, holdings, resources, refersTo: [...refersTo].sort() }));
}

function kindOf(type: string, body: Json): string | undefined {
  if (type === 'azapi_resource') return /\/vaults\/keys@/.test(String(body['type'])) ? 'key' : undefined;
  return KINDS[type];
}

/** Addresses in expressions: `aws_kms_key.x`, `data.google_project.y`. */
function references(value: unknown): Set<string> {
  const { '//': _, ...body } = value as Json;
  const expressions = JSON.stringify(body).match(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g) ?? [];
  const direct = JSON.stringify((value as Json)['depends_on'] ?? []);
  return new Set([...expressions, direct].flatMap((text) => text.match(/(?:data\.)?[a-z0-9]+_[a-z0-9_]+\.[A-Za-z0-9_-]+/g) ?? []));
}

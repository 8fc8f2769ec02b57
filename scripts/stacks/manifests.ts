/** Kubernetes manifests out of the provider's resources: what the API server will be given, for validators that know its schemas. */
import type { Json } from './hollow.ts';

type Body = { [key: string]: Json };
export interface Manifest { readonly address: string; readonly object: Body }

const KINDS: Readonly<Record<string, readonly [apiVersion: string, kind: string]>> = {
  api_service_v1: ['apiregistration.k8s.io/v1', 'APIService'], cluster_role_binding_v1: ['rbac.authorization.k8s.io/v1', 'ClusterRoleBinding'], cluster_role_v1: ['rbac.authorization.k8s.io/v1', 'ClusterRole'], config_map_v1: ['v1', 'ConfigMap'],
  daemon_set_v1: ['apps/v1', 'DaemonSet'], deployment_v1: ['apps/v1', 'Deployment'], horizontal_pod_autoscaler_v2: ['autoscaling/v2', 'HorizontalPodAutoscaler'], namespace_v1: ['v1', 'Namespace'], network_policy_v1: ['networking.k8s.io/v1', 'NetworkPolicy'],
  pod_disruption_budget_v1: ['policy/v1', 'PodDisruptionBudget'], role_binding_v1: ['rbac.authorization.k8s.io/v1', 'RoleBinding'], role_v1: ['rbac.authorization.k8s.io/v1', 'Role'], service_account_v1: ['v1', 'ServiceAccount'], service_v1: ['v1', 'Service'],
};
/** Repeated blocks have a singular name in Terraform. */
const LISTS: Readonly<Record<string, string>> = {
  container: 'containers', init_container: 'initContainers', port: 'ports', env: 'env', env_from: 'envFrom', volume: 'volumes', volume_mount: 'volumeMounts', rule: 'rules', subject: 'subjects', toleration: 'tolerations', metric: 'metrics', policy: 'policies',
  topology_spread_constraint: 'topologySpreadConstraints', node_selector_term: 'nodeSelectorTerms',
};
const SPELLED: Readonly<Record<string, string>> = { cluster_ip: 'clusterIP', host_pid: 'hostPID', host_ipc: 'hostIPC', insecure_skip_tls_verify: 'insecureSkipTLSVerify', external_ips: 'externalIPs' };
/** Maps whose keys are the user's, not the schema's. */
const MAPS = new Set(['labels', 'annotations', 'match_labels', 'data', 'binary_data', 'node_selector', 'limits', 'requests', 'selector:service']);
/** Strings in Terraform, numbers in the API. */
const NUMBERS = new Set(['replicas', 'run_as_user', 'run_as_group', 'fs_group', 'min_available', 'max_unavailable', 'max_surge', 'target_port']);
/** Blocks that are single in the API, though Terraform takes lists of one. */
const SINGLE = new Set(['metadata', 'spec', 'template', 'selector', 'tcp_socket', 'http_get', 'liveness_probe', 'readiness_probe', 'startup_probe', 'security_context', 'config_map', 'empty_dir', 'host_path', 'strategy', 'rolling_update', 'role_ref', 'pod_selector', 'namespace_selector', 'ip_block', 'affinity', 'capabilities', 'seccomp_profile', 'resources', 'behavior', 'scale_target_ref', 'service', 'label_selector', 'scale_down', 'scale_up']);
const OF_TERRAFORM = new Set(['//', 'depends_on', 'lifecycle', 'timeouts', 'wait_for_rollout', 'wait_for_load_balancer', 'wait_for_default_service_account', 'provider', 'count', 'for_each']);

const camel = (key: string): string => SPELLED[key] ?? key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const settled = (value: Json): Json => (typeof value === 'string' ? (/^\$\{.*\}$/.test(value) ? 'a-reference' : value) : Array.isArray(value) ? value.map(settled) : value !== null && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, settled(v)])) : value);
const number = (value: Json): Json => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value);

function convert(value: Json, kind: string): Json {
  if (Array.isArray(value)) return value.map((each) => convert(each, kind));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, given]): [string, Json] => {
    if (MAPS.has(key) || MAPS.has(`${key}:${kind}`)) return [camel(key), Array.isArray(given) && given.length === 1 ? given[0] as Json : given];
    if (NUMBERS.has(key)) return [camel(key), number(given)];
    const block = given !== null && typeof given === 'object';
    // The one metric of an external metric has the name of the list of all.
    if (LISTS[key] !== undefined && (block || key !== 'port') && (key !== 'metric' || Array.isArray(given))) return [LISTS[key], convert(Array.isArray(given) ? given : [given], kind)];
    if (key === 'port') return ['port', number(given)];
    if (key === 'default_mode') return ['defaultMode', Number.parseInt(String(given), 8)];
    return [kind === 'daemon set' && key === 'strategy' ? 'updateStrategy' : camel(key), convert(SINGLE.has(key) && Array.isArray(given) && typeof given[0] !== 'string' ? given[0] ?? {} : given, kind)];
  }));
}

/** @throws for a type that is not in the table */
export function manifestsOf(stack: Json): Manifest[] {
  const found: Manifest[] = [];
  for (const [type, named] of Object.entries((stack as { resource: { [type: string]: { [name: string]: Body } } }).resource)) {
    if (!type.startsWith('kubernetes_')) continue;
    for (const [name, body] of Object.entries(named)) {
      const address = `${type}.${name}`;
      if (type === 'kubernetes_manifest') { found.push({ address, object: settled(body['manifest'] ?? {}) as Body }); continue; }
      const kind = KINDS[type.slice('kubernetes_'.length)];
      if (kind === undefined) throw new Error(`${type} is no kind that is known here`);
      const own = Object.fromEntries(Object.entries(body).filter(([key]) => !OF_TERRAFORM.has(key)));
      found.push({ address, object: { apiVersion: kind[0], kind: kind[1], ...(settled(convert(own, type === 'kubernetes_service_v1' ? 'service' : type === 'kubernetes_daemon_set_v1' ? 'daemon set' : '')) as Body) } });
    }
  }
  return found;
}

/** The Kubernetes objects of a cell on Google Cloud, read from the JSON that is deployed. */
import './light.ts';
import { App } from 'cdktf';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cellFile } from '../../modules/cell-config.ts';
import { ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { cut } from '../../modules/gcp/addresses.ts';
import { shareOf } from '../../modules/gcp/k8s-pod.ts';
import { entriesOf, placeholderLock } from '../../modules/measurements.ts';
import { GcpK8sStack } from '../../stacks/gcp-k8s.ts';
import { GcpStack } from '../../stacks/gcp.ts';
import { parseCell } from '../../workloads/protocol/cell.ts';

/** JSON of Terraform. */
type Json = any;
const lock = placeholderLock();

function synthesize(name: (typeof ENVIRONMENT_NAMES)[number]): { k8s: Json; cloud: Json } {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-gcp-k8s-'));
  try {
    const app = new App({ outdir });
    new GcpStack(app, 'cloud', { environment: ENVIRONMENTS[name], lock });
    new GcpK8sStack(app, 'k8s', { environment: ENVIRONMENTS[name], lock });
    app.synth();
    const read = (stack: string): Json => JSON.parse(readFileSync(join(outdir, `stacks/${stack}/cdk.tf.json`), 'utf8'));
    return { k8s: read('k8s'), cloud: read('cloud') };
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}
const all = (json: Json, type: string): Json[] => Object.values(json.resource[type] ?? {});

describe.each(ENVIRONMENT_NAMES)('%s', (name) => {
  const { k8s, cloud } = synthesize(name);
  const environment = ENVIRONMENTS[name];
  const deployments = all(k8s, 'kubernetes_deployment_v1');
  const podOf = (deployment: Json): Json => deployment.spec.template.spec;
  const counters = deployments.filter((d) => d.metadata.name.startsWith('counter-'));
  const gateways = deployments.filter((d) => d.metadata.name.startsWith('gateway-'));

  test('counters: one deployment for each TEE and colour, each with its device and image', () => {
    const colours = environment.canaryPercent > 0 ? ['blue', 'green'] as const : ['blue'] as const;
    expect(counters.map((d) => d.metadata.name).sort()).toEqual((name === 'dev' ? ['snp', 'tdx'] : ['tdx']).flatMap((tee) => colours.map((colour) => `counter-${tee}-${colour}`)).sort());
    for (const deployment of counters) {
      const [, tee, colour] = deployment.metadata.name.split('-');
      const pod = podOf(deployment);
      const [container] = pod.container;
      const device = { snp: 'amd.com/sev-snp', tdx: 'intel.com/tdx' }[tee as 'snp' | 'tdx'];
      expect(container.resources.limits[device]).toBe('1');
      expect(container.resources.requests).toEqual(container.resources.limits);
      expect(pod.node_selector['cloud.google.com/gke-confidential-nodes-instance-type']).toBe(tee === 'snp' ? 'SEV_SNP' : 'TDX');
      expect(container.image.split('@')[1]).toBe(entriesOf(lock, 'counter')[colour === 'blue' ? 0 : 1]?.image);
      expect(container.env.map((entry: Json) => entry.name)).toEqual(['POD_NAME', 'METRICS_ADDRESS']);
    }
  });

  test('pods of ours are restricted; the device plugin alone is privileged, in a namespace of its own', () => {
    for (const deployment of deployments) {
      const pod = podOf(deployment);
      expect(pod.security_context).toMatchObject({ run_as_non_root: true, seccomp_profile: { type: 'RuntimeDefault' } });
      expect([pod.host_network, pod.host_pid, pod.host_ipc].filter(Boolean)).toEqual([]);
      expect(pod.volume.filter((volume: Json) => volume.host_path !== undefined)).toEqual([]);
      for (const container of pod.container) {
        expect(container.security_context).toMatchObject({ allow_privilege_escalation: false, privileged: false, read_only_root_filesystem: true, capabilities: { drop: ['ALL'] } });
        expect(container.image).toMatch(new RegExp(`^${environment.gcp.region}-docker\\.pkg\\.dev/${environment.gcp.project}/ccc-${name}-images/[a-z-]+@sha256:[0-9a-f]{64}$`));
        expect(container.liveness_probe).toBeDefined();
        expect(container.readiness_probe).toBeDefined();
        expect(Object.keys(container.resources.limits)).toEqual(expect.arrayContaining(['cpu', 'memory']));
      }
    }
    expect(deployments.filter((d) => podOf(d).automount_service_account_token).map((d) => d.metadata.name)).toEqual(['metrics-adapter']);
    const profiles = Object.fromEntries(all(k8s, 'kubernetes_namespace_v1').map((ns) => [ns.metadata.name, ns.metadata.labels['pod-security.kubernetes.io/enforce']]));
    expect(profiles).toEqual({ 'ccc-system': 'privileged', 'ccc-metrics': 'restricted', 'ccc-gateway': 'restricted', 'ccc-counter': 'restricted' });
    const plugins = all(k8s, 'kubernetes_daemon_set_v1');
    expect(plugins.map((plugin) => [plugin.metadata.namespace.includes('system'), podOf(plugin).container[0].image.includes('@sha256:')])).toEqual([[true, true]]);
  });

  test('each process gets the bytes that were measured', async () => {
    const cell = cellFile(environment, 'gcp');
    const maps = all(k8s, 'kubernetes_config_map_v1');
    expect(maps).toHaveLength(2);
    for (const map of maps) {
      expect(map.immutable).toBe(true);
      expect(createHash('sha256').update(map.data['cell.json']).digest('hex')).toBe(cell.digest);
      expect((await parseCell(new TextEncoder().encode(map.data['cell.json']))).cell.brokerPlatform).toBe('confidential-space');
    }
    for (const deployment of [...counters, ...gateways]) {
      const pod = podOf(deployment);
      expect(pod.volume.find((v: Json) => v.name === 'cell').config_map.name).toBe(maps[0].metadata.name);
      expect(pod.container[0].volume_mount).toContainEqual({ name: 'cell', mount_path: '/var/lib/ccc/cell.json', sub_path: 'cell.json', read_only: true });
      expect(pod.container[0].args).toEqual(counters.includes(deployment) ? ['--data', '/var/lib/ccc', '--name', '$(POD_NAME)'] : ['--data', '/var/lib/ccc']);
    }
  });

  test('the gateway\'s database is the connector beside it, with no password', () => {
    for (const deployment of gateways) {
      const [gateway, connector] = podOf(deployment).container;
      expect(gateway.env).toEqual([{ name: 'DATABASE_URL', value: `postgres://ccc-${name}-gateway%40${environment.gcp.project}.iam@127.0.0.1:5432/ccc` }, { name: 'STORE_URL', value: `gs://${all(cloud, 'google_storage_bucket').find((bucket) => String(bucket.name).includes('ciphertext'))?.name}` }, { name: 'METRICS_PUSH', value: `google:${environment.gcp.project}` }]);
      expect(connector.args).toEqual(expect.arrayContaining(['--auto-iam-authn', '--private-ip', '--address=127.0.0.1', `${environment.gcp.project}:${environment.gcp.region}:ccc-${name}-ledger-${environment.uid}`]));
    }
    expect(all(cloud, 'google_sql_database_instance').map((db) => db.name)).toContain(`ccc-${name}-ledger-${environment.uid}`);
    expect(all(cloud, 'google_sql_user').map((user) => user.name)).toEqual([`ccc-${name}-gateway@${environment.gcp.project}.iam`]);
  });

  test('every namespace denies by default, and no rule is open', () => {
    const policies = all(k8s, 'kubernetes_network_policy_v1');
    const deny = policies.filter((policy) => policy.metadata.name === 'deny-all');
    expect(deny).toHaveLength(4);
    for (const { spec } of deny) expect([spec.policy_types, spec.pod_selector, spec.ingress, spec.egress]).toEqual([['Ingress', 'Egress'], {}, undefined, undefined]);
    for (const { spec } of policies.filter((policy) => policy.metadata.name === 'allow')) {
      for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
        expect(rule.ports.length).toBeGreaterThan(0);
        expect([...(rule.from ?? []), ...(rule.to ?? [])].length).toBeGreaterThan(0);
        expect(JSON.stringify(rule)).not.toContain('0.0.0.0/0');
      }
    }
    // A counter speaks to gateway and broker, and to nothing else but the resolver.
    const counter = policies.find((policy) => policy.metadata.name === 'allow' && policy.metadata.namespace.includes('.counter_'));
    const ranges = cut(environment.gcp.networkCidr);
    expect(counter.spec.ingress ?? []).toEqual([]);
    expect(counter.spec.egress.flatMap((rule: Json) => rule.ports.map((port: Json) => port.port)).sort()).toEqual(['53', '53', '8444', '8444', '8445']);
    expect(JSON.stringify(counter.spec.egress)).toContain(`${ranges.brokerAddress}/32`);
  });

  test('counters scale on the age of the oldest due job and on the backlog', () => {
    const scalers = all(k8s, 'kubernetes_horizontal_pod_autoscaler_v2');
    expect(scalers).toHaveLength(counters.length + gateways.length);
    for (const { metadata, spec } of scalers.filter((s) => s.metadata.name.startsWith('counter-'))) {
      expect(spec.metric.map((metric: Json) => metric.external.metric.name)).toEqual(['custom.googleapis.com|ccc|oldest_due_seconds', 'custom.googleapis.com|ccc|due_jobs']);
      expect(spec.max_replicas).toBe(metadata.name.endsWith('blue') ? environment.gcp.counters.max : shareOf(environment.gcp.counters.max, environment.canaryPercent));
    }
    expect(all(k8s, 'kubernetes_pod_disruption_budget_v1')).toHaveLength(counters.length + gateways.length);
    expect(all(k8s, 'kubernetes_api_service_v1').map((api) => api.metadata.name)).toEqual(['v1beta1.external.metrics.k8s.io']);
  });

  test('traffic: HTTPS by the other stack\'s certificates, TLS policy and Cloud Armor, weights that add up', () => {
    const manifests = all(k8s, 'kubernetes_manifest').map(({ manifest }) => manifest);
    const gateway = manifests.find((m) => m.kind === 'Gateway');
    expect(gateway.spec.listeners.map((l: Json) => [l.protocol, l.port])).toEqual([['HTTPS', 443]]);
    expect(gateway.metadata.annotations['networking.gke.io/certmap']).toBe(all(cloud, 'google_certificate_manager_certificate_map')[0].name);
    expect(all(cloud, 'google_compute_global_address').map((address) => address.name)).toContain(gateway.spec.addresses[0].value);
    expect(manifests.find((m) => m.kind === 'GCPGatewayPolicy').spec.default.sslPolicy).toBe(all(cloud, 'google_compute_ssl_policy')[0].name);
    const backends = manifests.find((m) => m.kind === 'HTTPRoute').spec.rules[0].backendRefs;
    expect(backends.map((b: Json) => [b.name, b.weight])).toEqual(environment.canaryPercent > 0 ? [['gateway-blue', 100 - environment.canaryPercent], ['gateway-green', environment.canaryPercent]] : [['gateway-blue', 100]]);
    const armored = manifests.filter((m) => m.kind === 'GCPBackendPolicy');
    expect(armored.map((m) => m.spec.targetRef.name)).toEqual(backends.map((b: Json) => b.name));
    expect(new Set(armored.map((m) => m.spec.default.securityPolicy))).toEqual(new Set([all(cloud, 'google_compute_security_policy')[0].name]));
    expect(manifests.find((m) => m.kind === 'HTTPRoute').spec.hostnames).toEqual(all(cloud, 'google_certificate_manager_certificate_map_entry').map((entry) => entry.hostname).sort().reverse().sort((a: string) => (a === environment.hosts.gcp ? -1 : 1)));
    const internal = all(k8s, 'kubernetes_service_v1').find((service) => service.metadata.name === 'gateway-internal');
    expect(all(cloud, 'google_compute_address').map((address) => address.name)).toContain(internal.metadata.annotations['networking.gke.io/load-balancer-ip-addresses']);
  });

  test('accounts of pods are those that the other stack lets them be', () => {
    const bindings = all(cloud, 'google_service_account_iam_binding').filter((binding) => binding.members[0].includes('.svc.id.goog['));
    const allowed = bindings.map((binding) => /\[(.+)\]$/.exec(binding.members[0])?.[1]).sort();
    const names: Record<string, string> = Object.fromEntries(Object.entries(k8s.resource.kubernetes_namespace_v1).map(([id, ns]) => [`\${kubernetes_namespace_v1.${id}.metadata[0].name}`, (ns as Json).metadata.name]));
    const asked = all(k8s, 'kubernetes_service_account_v1').filter((sa) => sa.metadata.annotations !== undefined).map((sa) => `${names[sa.metadata.namespace]}/${sa.metadata.name}`).sort();
    expect(asked).toEqual(allowed);
  });

  test('the cluster is looked up, never referred to', () => {
    expect(JSON.stringify(k8s)).not.toContain('terraform_remote_state');
    expect(k8s.data.google_container_cluster.cluster.name).toBe(all(cloud, 'google_container_cluster')[0].name);
    expect(k8s.output).toBeUndefined();
    expect(cloud.output).toBeUndefined();
  });
});

test.each([[3, 10, 1], [24, 10, 3], [1, 50, 1], [4, 100, 4], [10, 25, 3]])('green\'s share of %i at %i percent is %i', (count, percent, share) => {
  expect(shareOf(count, percent)).toBe(share);
});

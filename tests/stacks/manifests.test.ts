/** Manifests out of Terraform's resources: the API's spelling. The schemas themselves judge them in CI. */
import { expect, test } from 'vitest';
import { type Json } from '../../scripts/stacks/hollow.ts';
import { manifestsOf } from '../../scripts/stacks/manifests.ts';
import { blocks, templates } from '../rules/stacks/template.ts';

const one = (type: string, body: Record<string, Json>): unknown => manifestsOf({ resource: { [`kubernetes_${type}`]: { x: body } } })[0]?.object;

test('repeated blocks become lists, numbers numbers, keys of the user stay', () => {
  expect(one('deployment_v1', {
    '//': { metadata: {} }, wait_for_rollout: true, metadata: { name: 'a', labels: { 'my_label.x/y_z': 'v' } },
    spec: { replicas: '2', template: { spec: { host_pid: false, container: [{ name: 'c', image_pull_policy: 'IfNotPresent', port: [{ container_port: 80 }], liveness_probe: { tcp_socket: [{ port: '80' }] }, volume_mount: { name: 'v', mount_path: '/v' } }], volume: [{ name: 'v', config_map: { name: '${x.y.z}', default_mode: '0444' } }] } } },
  })).toEqual({
    apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a', labels: { 'my_label.x/y_z': 'v' } },
    spec: { replicas: 2, template: { spec: { hostPID: false, containers: [{ name: 'c', imagePullPolicy: 'IfNotPresent', ports: [{ containerPort: 80 }], livenessProbe: { tcpSocket: { port: 80 } }, volumeMounts: [{ name: 'v', mountPath: '/v' }] }], volumes: [{ name: 'v', configMap: { name: 'a-reference', defaultMode: 0o444 } }] } } },
  });
});

test('what one name means in different kinds', () => {
  expect(one('service_v1', { metadata: { name: 's' }, spec: { selector: { a_b: 'c' }, port: [{ port: 443, target_port: '8443' }] } })).toMatchObject({ spec: { selector: { a_b: 'c' }, ports: [{ port: 443, targetPort: 8443 }] } });
  expect(one('daemon_set_v1', { spec: { strategy: { type: 'RollingUpdate' } } })).toMatchObject({ spec: { updateStrategy: { type: 'RollingUpdate' } } });
  expect(one('horizontal_pod_autoscaler_v2', { spec: { metric: [{ external: { metric: { name: 'm' } } }], behavior: { scale_down: [{ policy: [{ value: 1 }] }] } } })).toMatchObject({ spec: { metrics: [{ external: { metric: { name: 'm' } } }], behavior: { scaleDown: { policies: [{ value: 1 }] } } } });
  expect(one('cluster_role_v1', { rule: [{ resources: ['pods'], verbs: ['get'] }] })).toMatchObject({ rules: [{ resources: ['pods'] }] });
});

test('every Kubernetes object of every stack becomes one; an unknown kind stops', () => {
  for (const t of templates().filter((x) => x.cloud === 'k8s')) {
    const made = manifestsOf(t.json);
    expect(made).toHaveLength(blocks(t, /^kubernetes_/).length);
    for (const { object } of made) expect(object).toMatchObject({ apiVersion: expect.any(String), kind: expect.any(String), metadata: { name: expect.any(String) } });
    expect(JSON.stringify(made)).not.toContain('"//"');
  }
  expect(() => one('ingress_v1', {})).toThrow(/no kind/);
});

/** Adapter between the autoscalers and Cloud Monitoring (`external.metrics.k8s.io`): counters scale on the age of the oldest due job, which the gateway publishes. */
import { ApiServiceV1 } from '@cdktf/provider-kubernetes/lib/api-service-v1/index.js';
import { ClusterRoleBindingV1 } from '@cdktf/provider-kubernetes/lib/cluster-role-binding-v1/index.js';
import { ClusterRoleV1 } from '@cdktf/provider-kubernetes/lib/cluster-role-v1/index.js';
import { DeploymentV1 } from '@cdktf/provider-kubernetes/lib/deployment-v1/index.js';
import { RoleBindingV1 } from '@cdktf/provider-kubernetes/lib/role-binding-v1/index.js';
import { ServiceV1 } from '@cdktf/provider-kubernetes/lib/service-v1/index.js';
import { Construct } from 'constructs';
import { EXTERNAL_METRICS } from './k8s-counters.ts';
import { containerSecurity, labelsOf, podSecurity } from './k8s-pod.ts';
import { ROLE_LABEL } from './node-pool.ts';

export const ADAPTER_PORT = 6_443;
const GROUP = 'external.metrics.k8s.io';

export interface MetricsAdapterProps { readonly namespace: string; readonly serviceAccount: string; /** With digest. */ readonly image: string }

export class MetricsAdapter extends Construct {
  constructor(scope: Construct, id: string, { namespace, serviceAccount, image }: MetricsAdapterProps) {
    super(scope, id);
    const name = 'metrics-adapter';
    const labels = labelsOf(name);
    const self = [{ kind: 'ServiceAccount', name: serviceAccount, namespace }];
    const role = (kind: string, roleName: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: roleName });
    // What every aggregated API server has: it asks the real one who calls and whether they may.
    new ClusterRoleBindingV1(this, 'delegator', { metadata: { name: 'ccc-metrics-auth-delegator' }, roleRef: role('ClusterRole', 'system:auth-delegator'), subject: self });
    new RoleBindingV1(this, 'reader', { metadata: { name: 'ccc-metrics-auth-reader', namespace: 'kube-system' }, roleRef: role('Role', 'extension-apiserver-authentication-reader'), subject: self });
    const readers = new ClusterRoleV1(this, 'external-metrics', { metadata: { name: 'ccc-external-metrics-reader' }, rule: [{ apiGroups: [GROUP], resources: Object.values(EXTERNAL_METRICS), verbs: ['get', 'list', 'watch'] }] });
    new ClusterRoleBindingV1(this, 'autoscalers', { metadata: { name: 'ccc-external-metrics-reader' }, roleRef: role('ClusterRole', readers.metadata.name), subject: [{ kind: 'ServiceAccount', name: 'horizontal-pod-autoscaler', namespace: 'kube-system' }] });

    new DeploymentV1(this, 'adapter', {
      metadata: { name, namespace, labels }, waitForRollout: true, timeouts: { create: '20m', update: '20m' },
      spec: {
        replicas: '2', selector: { matchLabels: labels }, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '1', maxUnavailable: '0' } },
        template: {
          metadata: { labels },
          spec: {
            // It talks to the Kubernetes API: the one pod of ours with a token of the cluster.
            serviceAccountName: serviceAccount, automountServiceAccountToken: true, nodeSelector: { [ROLE_LABEL]: 'gateway' }, securityContext: podSecurity,
            container: [{
              name, image, imagePullPolicy: 'IfNotPresent', command: ['/adapter'], args: ['--use-new-resource-model=true', `--secure-port=${ADAPTER_PORT}`, '--cert-dir=/tmp'], port: [{ name: 'https', containerPort: ADAPTER_PORT, protocol: 'TCP' }],
              resources: { requests: { cpu: '100m', memory: '200Mi' }, limits: { cpu: '250m', memory: '200Mi' } }, securityContext: containerSecurity, volumeMount: [{ name: 'tmp', mountPath: '/tmp' }],
              livenessProbe: { tcpSocket: [{ port: String(ADAPTER_PORT) }], periodSeconds: 10 }, readinessProbe: { tcpSocket: [{ port: String(ADAPTER_PORT) }], periodSeconds: 10 },
            }],
            volume: [{ name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } }],
          },
        },
      },
    });
    const service = new ServiceV1(this, 'service', { metadata: { name, namespace, labels }, spec: { type: 'ClusterIP', selector: labels, port: [{ name: 'https', port: 443, targetPort: String(ADAPTER_PORT), protocol: 'TCP' }] } });
    // The adapter signs its own certificate at each start; the API server reaches it through its tunnel into the cluster. At stake are counts, and how many counters run.
    new ApiServiceV1(this, 'api', { metadata: { name: `v1beta1.${GROUP}` }, spec: { group: GROUP, version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTlsVerify: true, service: { name: service.metadata.name, namespace, port: 443 } } });
  }
}

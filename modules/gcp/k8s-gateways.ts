/** Gateways of one colour: a plain container that sees ciphertext. Its database connection is the Cloud SQL connector beside it: private address, IAM credentials, a client certificate of an hour. */
import { DeploymentV1, type DeploymentV1SpecTemplateSpecContainer } from '@cdktf/provider-kubernetes/lib/deployment-v1/index.js';
import { HorizontalPodAutoscalerV2 } from '@cdktf/provider-kubernetes/lib/horizontal-pod-autoscaler-v2/index.js';
import { PodDisruptionBudgetV1 } from '@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1/index.js';
import { ServiceV1 } from '@cdktf/provider-kubernetes/lib/service-v1/index.js';
import { Construct } from 'constructs';
import { HOSTS, PORTS } from '../cell-config.ts';
import { need, needWhole } from '../configuration-error.ts';
import type { Generation } from '../measurements.ts';
import { colourLabel, containerSecurity, DATA_FOLDER, dataMounts, dataVolumes, labelsOf, podSecurity, spreadOverZones } from './k8s-pod.ts';
import { ROLE_LABEL } from './node-pool.ts';

export interface GatewaysProps {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly configMap: string;
  readonly generation: Generation;
  /** With digests. */
  readonly image: string;
  readonly sqlProxyImage: string;
  /** Bucket of the ciphertext. */
  readonly bucket: string;
  /** `project:region:instance`. */
  readonly sqlInstance: string;
  /** Address of the Google account that gateways are: their name in PostgreSQL is this without `.gserviceaccount.com`. */
  readonly account: string;
  readonly min: number;
  readonly max: number;
}

export class Gateways extends Construct {
  /** Name of its service: a plain value, since names of routes and policies are made of it. */
  readonly service: string;

  constructor(scope: Construct, id: string, props: GatewaysProps) {
    super(scope, id);
    needWhole(`${id}.min`, props.min, 1, 1_000, 'pods');
    needWhole(`${id}.max`, props.max, props.min, 1_000, 'pods');
    need(/^[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+$/.test(props.sqlInstance), `${id}.sqlInstance`, props.sqlInstance, 'project:region:instance');
    const { namespace, generation } = props;
    const name = `gateway-${generation}`;
    const labels = labelsOf('gateway', colourLabel(generation));
    const user = encodeURIComponent(props.account.replace(/\.gserviceaccount\.com$/, ''));
    const health = (path: string) => ({ httpGet: { path, port: String(PORTS.public), scheme: 'HTTP' }, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 });
    const gateway: DeploymentV1SpecTemplateSpecContainer = {
      name: 'gateway', image: props.image, imagePullPolicy: 'IfNotPresent', args: ['--data', DATA_FOLDER],
      // To the connector over the pod's own loopback; from there on it is TLS with client certificates.
      env: [{ name: 'DATABASE_URL', value: `postgres://${user}@127.0.0.1:5432/ccc` }, { name: 'STORE_URL', value: `gs://${props.bucket}` }, { name: 'METRICS_PUSH', value: `google:${props.sqlInstance.split(':')[0]}` }],
      port: [{ name: 'public', containerPort: PORTS.public, protocol: 'TCP' }, { name: 'internal', containerPort: PORTS.internal, protocol: 'TCP' }],
      resources: { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '2', memory: '1Gi' } }, securityContext: containerSecurity, volumeMount: dataMounts,
      // Alive is the port; ready is what the cell says of itself, database and broker included.
      livenessProbe: { tcpSocket: [{ port: String(PORTS.public) }], periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 }, readinessProbe: health('/v1/health'), startupProbe: { tcpSocket: [{ port: String(PORTS.public) }], periodSeconds: 5, failureThreshold: 60 },
    };
    const connector: DeploymentV1SpecTemplateSpecContainer = {
      name: 'sql-proxy', image: props.sqlProxyImage, imagePullPolicy: 'IfNotPresent', args: ['--auto-iam-authn', '--private-ip', '--address=127.0.0.1', '--port=5432', '--structured-logs', '--max-sigterm-delay=30s', '--health-check', '--http-address=0.0.0.0', '--http-port=9090', props.sqlInstance],
      resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '500m', memory: '256Mi' } }, securityContext: containerSecurity,
      livenessProbe: { httpGet: { path: '/liveness', port: '9090', scheme: 'HTTP' }, periodSeconds: 10, timeoutSeconds: 3 }, readinessProbe: { httpGet: { path: '/readiness', port: '9090', scheme: 'HTTP' }, periodSeconds: 10, timeoutSeconds: 3 },
    };

    const deployment = new DeploymentV1(this, 'deployment', {
      metadata: { name, namespace, labels }, waitForRollout: true, timeouts: { create: '20m', update: '20m' },
      spec: {
        selector: { matchLabels: labels }, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '1', maxUnavailable: '0' } }, revisionHistoryLimit: 5, progressDeadlineSeconds: 900,
        template: {
          metadata: { labels },
          spec: {
            terminationGracePeriodSeconds: 60, serviceAccountName: props.serviceAccount, automountServiceAccountToken: false, enableServiceLinks: false, hostNetwork: false, hostPid: false, hostIpc: false, nodeSelector: { [ROLE_LABEL]: 'gateway' }, topologySpreadConstraint: spreadOverZones(labels),
            // `cell.json` names where to listen; here that name is every address of the pod.
            hostAliases: [{ ip: '0.0.0.0', hostnames: [HOSTS.gateway] }],
            securityContext: podSecurity, container: [gateway, connector], volume: dataVolumes(props.configMap),
          },
        },
      },
      // The autoscaler owns the count.
      lifecycle: { ignoreChanges: ['spec[0].replicas'] },
    });
    new HorizontalPodAutoscalerV2(this, 'autoscaler', {
      metadata: { name, namespace, labels },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name }, minReplicas: props.min, maxReplicas: props.max, metric: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 60 } } }],
        behavior: { scaleDown: [{ stabilizationWindowSeconds: 300, selectPolicy: 'Min', policy: [{ type: 'Pods', value: 1, periodSeconds: 60 }] }] },
      },
    });
    new PodDisruptionBudgetV1(this, 'disruptions', { metadata: { name, namespace, labels }, spec: { maxUnavailable: '1', selector: { matchLabels: labels } } });
    new ServiceV1(this, 'service', {
      metadata: { name, namespace, labels }, spec: { type: 'ClusterIP', selector: labels, port: [{ name: 'public', port: PORTS.public, targetPort: String(PORTS.public), protocol: 'TCP', appProtocol: 'http' }] },
    });
    this.service = name;
  }
}

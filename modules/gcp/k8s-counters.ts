/**
 * Counters of one TEE and colour. A pod attests with the device of its node; what that proves is the node (`binding.scope: "node"`), so that the pool takes
 * counters only, by taint, and images only by signature, by Binary Authorization.
 */
import { DeploymentV1 } from '@cdktf/provider-kubernetes/lib/deployment-v1/index.js';
import { HorizontalPodAutoscalerV2 } from '@cdktf/provider-kubernetes/lib/horizontal-pod-autoscaler-v2/index.js';
import { PodDisruptionBudgetV1 } from '@cdktf/provider-kubernetes/lib/pod-disruption-budget-v1/index.js';
import { Construct } from 'constructs';
import { PORTS } from '../cell-config.ts';
import { needWhole } from '../configuration-error.ts';
import type { Generation } from '../measurements.ts';
import { colourLabel, containerSecurity, DATA_FOLDER, dataMounts, dataVolumes, labelsOf, podSecurity, spreadOverZones } from './k8s-pod.ts';
import { COUNTER_TAINT, type NodeTee, ROLE_LABEL, TEE_LABEL, teeLabel } from './node-pool.ts';

/** Resource of the device plugin for the evidence of each TEE. */
export const TEE_RESOURCE: Readonly<Record<NodeTee, string>> = { SEV_SNP: 'amd.com/sev-snp', TDX: 'intel.com/tdx' };

/** Published by the gateway; the adapter writes Cloud Monitoring's slashes as bars. */
export const EXTERNAL_METRICS = { oldestDue: 'custom.googleapis.com|ccc|oldest_due_seconds', dueJobs: 'custom.googleapis.com|ccc|due_jobs' } as const;

export interface CountersProps {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly configMap: string;
  readonly tee: NodeTee;
  readonly generation: Generation;
  /** With digest. */
  readonly image: string;
  readonly min: number;
  readonly max: number;
  /** Age of the oldest due job that asks for more counters, seconds. */
  readonly oldestDueSeconds: number;
  /** Due jobs that one counter may have before it. */
  readonly backlogPerCounter: number;
}

export class Counters extends Construct {
  constructor(scope: Construct, id: string, props: CountersProps) {
    super(scope, id);
    needWhole(`${id}.min`, props.min, 1, 1_000, 'pods');
    needWhole(`${id}.max`, props.max, props.min, 1_000, 'pods');
    needWhole(`${id}.oldestDueSeconds`, props.oldestDueSeconds, 1, 3_600, 'seconds');
    needWhole(`${id}.backlogPerCounter`, props.backlogPerCounter, 1, 10_000, 'jobs');
    const { namespace, tee, generation } = props;
    const name = `counter-${teeLabel(tee)}-${generation}`;
    const labels = labelsOf('counter', { ...colourLabel(generation), [TEE_LABEL]: teeLabel(tee) });
    const resources = { cpu: '2', memory: '6Gi', [TEE_RESOURCE[tee]]: '1' };
    // Alive is the process; ready is its attested session. A gateway that is away must not restart counters.
    const probe = (path: '/v1/live' | '/v1/health') => ({ httpGet: { path, port: String(PORTS.health), scheme: 'HTTP' }, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 });

    const deployment = new DeploymentV1(this, 'deployment', {
      metadata: { name, namespace, labels }, waitForRollout: true, timeouts: { create: '20m', update: '20m' },
      spec: {
        selector: { matchLabels: labels }, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '1', maxUnavailable: '0' } }, revisionHistoryLimit: 5, progressDeadlineSeconds: 900,
        template: {
          metadata: { labels },
          spec: {
            // A count in progress is finished or its lease released before the pod goes.
            terminationGracePeriodSeconds: 60, serviceAccountName: props.serviceAccount, automountServiceAccountToken: false, enableServiceLinks: false, hostNetwork: false, hostPid: false, hostIpc: false, shareProcessNamespace: false,
            nodeSelector: { [ROLE_LABEL]: 'counter', [TEE_LABEL]: teeLabel(tee), 'cloud.google.com/gke-confidential-nodes-instance-type': tee }, toleration: [{ key: COUNTER_TAINT.key, operator: 'Equal', value: COUNTER_TAINT.value, effect: 'NoSchedule' }],
            topologySpreadConstraint: spreadOverZones(labels), securityContext: podSecurity,
            container: [{
              name: 'counter', image: props.image, imagePullPolicy: 'IfNotPresent', args: ['--data', DATA_FOLDER, '--name', '$(POD_NAME)'],
              env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }, { name: 'METRICS_ADDRESS', value: `0.0.0.0:${PORTS.health}` }],
              port: [{ name: 'health', containerPort: PORTS.health, protocol: 'TCP' }],
              // Requests are limits and cores are whole: the pod has its cores to itself.
              resources: { requests: resources, limits: resources }, securityContext: containerSecurity, volumeMount: dataMounts, livenessProbe: probe('/v1/live'), readinessProbe: probe('/v1/health'), startupProbe: { ...probe('/v1/live'), periodSeconds: 5, failureThreshold: 60 },
            }],
            volume: dataVolumes(props.configMap),
          },
        },
      },
      // The autoscaler owns the count.
      lifecycle: { ignoreChanges: ['spec[0].replicas'] },
    });
    const external = (name: string, target: { type: string; value?: string; averageValue?: string }) => ({ type: 'External', external: { metric: { name }, target } });
    new HorizontalPodAutoscalerV2(this, 'autoscaler', {
      metadata: { name, namespace, labels },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment.metadata.name }, minReplicas: props.min, maxReplicas: props.max,
        metric: [external(EXTERNAL_METRICS.oldestDue, { type: 'Value', value: String(props.oldestDueSeconds) }), external(EXTERNAL_METRICS.dueJobs, { type: 'AverageValue', averageValue: String(props.backlogPerCounter) })],
        behavior: {
          scaleUp: [{ stabilizationWindowSeconds: 0, selectPolicy: 'Max', policy: [{ type: 'Percent', value: 100, periodSeconds: 60 }] }],
          scaleDown: [{ stabilizationWindowSeconds: 600, selectPolicy: 'Min', policy: [{ type: 'Pods', value: 1, periodSeconds: 120 }] }],
        },
      },
    });
    // One at a time: with a single pod nothing could be drained if one had to stay.
    new PodDisruptionBudgetV1(this, 'disruptions', { metadata: { name, namespace, labels }, spec: { maxUnavailable: '1', selector: { matchLabels: labels } } });
  }
}

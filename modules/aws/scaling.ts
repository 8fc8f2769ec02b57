/** What a fleet follows. Metrics of the cell come from the gateway, once a minute, in one namespace with the cell's name as dimension. */
import type { AutoscalingPolicyConfig } from '@cdktf/provider-aws/lib/autoscaling-policy/index.js';

/** Metrics that gateways show (workloads/protocol/metrics.ts, without `ccc_`). The agent takes counters as what they grew by, and no histograms. */
export const CELL_METRICS = {
  oldestDue: 'oldest_due_seconds', due: 'due_jobs', releases: 'releases_total', releaseSeconds: 'release_p99_seconds', jobs: 'jobs_total', refusals: 'refusals_total', lag: 'replication_lag_seconds', replicationAlarms: 'replication_alarms',
} as const;
/** Of these the label is a dimension as well. */
export const CELL_DIMENSIONS = { [CELL_METRICS.jobs]: 'state', [CELL_METRICS.refusals]: 'code' } as const;
export const CELL_NAMESPACE = 'ccc';

export type Scaling =
  /** The metric itself, which falls as instances are added: the age of the oldest due job. */
  | { readonly name: string; readonly of: 'age'; readonly cell: string; readonly metric: string; readonly target: number }
  /** The metric divided by the instances in service. `Sum` of what each gateway did; `Maximum` of what all of them see, which is the same queue. */
  | { readonly name: string; readonly of: 'per-instance'; readonly cell: string; readonly metric: string; readonly stat: 'Sum' | 'Maximum'; readonly target: number }
  | { readonly name: string; readonly of: 'requests'; readonly loadBalancerSuffix: string; readonly targetGroupSuffix: string; /** A target and minute. */ readonly target: number }
  | { readonly name: string; readonly of: 'cpu'; /** Percent. */ readonly target: number };

type Tracking = Pick<AutoscalingPolicyConfig, 'policyType' | 'targetTrackingConfiguration' | 'estimatedInstanceWarmup'>;

export function scalingPolicy(scaling: Scaling, group: string): Tracking {
  const tracking = (targetTrackingConfiguration: AutoscalingPolicyConfig['targetTrackingConfiguration']): Tracking => ({ policyType: 'TargetTrackingScaling', targetTrackingConfiguration });
  const { target } = scaling;
  switch (scaling.of) {
    case 'requests':
      return tracking({ targetValue: target, predefinedMetricSpecification: { predefinedMetricType: 'ALBRequestCountPerTarget', resourceLabel: `${scaling.loadBalancerSuffix}/${scaling.targetGroupSuffix}` } });
    case 'cpu':
      return tracking({ targetValue: target, predefinedMetricSpecification: { predefinedMetricType: 'ASGAverageCPUUtilization' } });
    case 'age':
      return tracking({ targetValue: target, customizedMetricSpecification: { namespace: CELL_NAMESPACE, metricName: scaling.metric, statistic: 'Maximum', metricDimension: [{ name: 'cell', value: scaling.cell }] } });
    case 'per-instance':
      return tracking({
        targetValue: target,
        customizedMetricSpecification: {
          metrics: [
            { id: 'backlog', returnData: false, metricStat: { stat: scaling.stat, metric: { namespace: CELL_NAMESPACE, metricName: scaling.metric, dimensions: [{ name: 'cell', value: scaling.cell }] } } },
            { id: 'instances', returnData: false, metricStat: { stat: 'Average', metric: { namespace: 'AWS/AutoScaling', metricName: 'GroupInServiceInstances', dimensions: [{ name: 'AutoScalingGroupName', value: group }] } } },
            { id: 'each', expression: 'backlog / IF(instances > 0, instances, 1)', label: 'per instance', returnData: true },
          ],
        },
      });
  }
}

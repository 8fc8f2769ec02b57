/**
 * Log groups, alarms, one dashboard. The service level is counted at the load balancer: answers of 5xx against requests. Burn rates after the Site Reliability Workbook,
 * chapter 5: 14.4 times the budget over an hour, 6 times over six hours, each together with a twelfth of its window, so that an alarm ends when its cause does.
 */
import { CloudwatchCompositeAlarm } from '@cdktf/provider-aws/lib/cloudwatch-composite-alarm/index.js';
import type { CloudwatchLogGroup } from '@cdktf/provider-aws/lib/cloudwatch-log-group/index.js';
import { CloudwatchMetricAlarm } from '@cdktf/provider-aws/lib/cloudwatch-metric-alarm/index.js';
import { Construct } from 'constructs';
import { need } from '../configuration-error.ts';
import { GENERATIONS, WORKLOAD_ROLES, type WorkloadRole } from '../measurements.ts';
import type { Namer } from '../naming.ts';
import { Dashboard } from './dashboard.ts';
import { type LogSettings, logGroup } from './log-group.ts';
import { groupName } from './fleet.ts';
import { CELL_METRICS, CELL_NAMESPACE } from './scaling.ts';

export interface ObservabilityProps {
  readonly named: Namer;
  readonly region: string;
  readonly cell: string;
  readonly logs: LogSettings;
  readonly logPrefix: string;
  readonly sloTarget: number;
  readonly loadBalancerSuffix: string;
  readonly publicTargetSuffix: string;
  readonly database: string;
  /** Instances of the live colour that must be in service. */
  readonly minimum: Readonly<Record<WorkloadRole, number>>;
  /** How long a job may wait, seconds. */
  readonly oldestDueSeconds: number;
  readonly alertTopic: string;
}

/** Times the budget, seconds. */
export const BURN = { fast: { factor: 14.4, long: 3_600, short: 300 }, slow: { factor: 6, long: 21_600, short: 1_800 } } as const;

/** Name of the alarm that rolls a refresh of instances back. */
export const rollbackAlarm = (named: Namer): string => named('aws-generic', 'burn-fast-short');
export const logGroupName = (logPrefix: string, role: WorkloadRole): string => `${logPrefix}${role}`;

export class Observability extends Construct {
  readonly logGroups: readonly CloudwatchLogGroup[];

  constructor(scope: Construct, id: string, props: ObservabilityProps) {
    super(scope, id);
    const { named, region, cell, logs, logPrefix, sloTarget, loadBalancerSuffix, publicTargetSuffix, database, minimum, oldestDueSeconds, alertTopic } = props;
    need(sloTarget >= 0.9 && sloTarget < 1, 'sloTarget', sloTarget, 'from 0.9 to below 1');
    this.logGroups = WORKLOAD_ROLES.map((role) => logGroup(this, `${role}-logs`, logGroupName(logPrefix, role), logs));

    // Rounded: 1 - 0.999 is not 0.001 in binary, and the number is read by people.
    const budget = Number((1 - sloTarget).toFixed(6));
    const atEdge = (id_: string, metricName: string, period: number) => ({ id: id_, returnData: false, metric: { namespace: 'AWS/ApplicationELB', metricName, stat: 'Sum', period, dimensions: { LoadBalancer: loadBalancerSuffix } } });
    const burn = (part: string, factor: number, period: number): string => new CloudwatchMetricAlarm(this, `burn-${part}`, {
      alarmName: named('aws-generic', `burn-${part}`), alarmDescription: `Errors at ${factor} times the budget over ${period} seconds`, comparisonOperator: 'GreaterThanThreshold', threshold: Number((factor * budget).toFixed(6)), evaluationPeriods: 1, treatMissingData: 'notBreaching',
      metricQuery: [
        atEdge('gateway', 'HTTPCode_Target_5XX_Count', period), atEdge('edge', 'HTTPCode_ELB_5XX_Count', period), atEdge('requests', 'RequestCount', period),
        { id: 'ratio', expression: 'IF(requests > 0, (FILL(gateway, 0) + FILL(edge, 0)) / requests, 0)', label: 'share of errors', returnData: true },
      ],
    }).alarmName;
    for (const [speed, { factor, long, short }] of Object.entries(BURN)) {
      const names = [burn(`${speed}-long`, factor, long), burn(`${speed}-short`, factor, short)];
      new CloudwatchCompositeAlarm(this, `slo-${speed}`, { alarmName: named('aws-generic', `slo-${speed}`), alarmDescription: `Error budget burns ${factor} times too fast`, alarmRule: names.map((name) => `ALARM("${name}")`).join(' AND '), alarmActions: [alertTopic], okActions: [alertTopic] });
    }

    interface Watch { readonly namespace: string; readonly metricName: string; readonly dimensions: Readonly<Record<string, string>>; readonly stat: string; readonly over?: number; readonly under?: number; readonly missing: 'breaching' | 'notBreaching'; readonly minutes: number }
    const watch = (part: string, alarmDescription: string, { namespace, metricName, dimensions, stat, over, under, missing, minutes }: Watch): void => {
      new CloudwatchMetricAlarm(this, part, {
        alarmName: named('aws-generic', part), alarmDescription, namespace, metricName, dimensions, ...(stat.startsWith('p') ? { extendedStatistic: stat } : { statistic: stat }), period: 60, evaluationPeriods: minutes, datapointsToAlarm: minutes,
        comparisonOperator: over === undefined ? 'LessThanThreshold' : 'GreaterThanThreshold', threshold: over ?? under ?? 0, treatMissingData: missing, alarmActions: [alertTopic], okActions: [alertTopic],
      });
    };
    const ofCell = { namespace: CELL_NAMESPACE, dimensions: { cell } };
    // Missing is breaching: a gateway that publishes nothing is one of the things this alarm is for.
    watch('oldest-due', 'The oldest due job waits too long, or no gateway says so', { ...ofCell, metricName: CELL_METRICS.oldestDue, stat: 'Maximum', over: oldestDueSeconds, missing: 'breaching', minutes: 5 });
    watch('release-latency', 'Releases of keys are slow', { ...ofCell, metricName: CELL_METRICS.releaseSeconds, stat: 'Maximum', over: 2, missing: 'notBreaching', minutes: 5 });
    watch('refusals', 'Evidence is refused: a wrong image, an attack, or a policy that lags behind a roll', { ...ofCell, metricName: CELL_METRICS.refusals, stat: 'Sum', over: 10, missing: 'notBreaching', minutes: 3 });
    watch('replication-lag', 'The standby cell lags', { ...ofCell, metricName: CELL_METRICS.lag, stat: 'Maximum', over: 30, missing: 'notBreaching', minutes: 3 });
    // A peer that is down has no lag that anybody knows.
    watch('replication-alarms', 'Another cell is down, lost or too far behind', { ...ofCell, metricName: CELL_METRICS.replicationAlarms, stat: 'Maximum', over: 0, missing: 'notBreaching', minutes: 3 });
    watch('unhealthy-gateways', 'Gateways behind the load balancer fail their checks', { namespace: 'AWS/ApplicationELB', metricName: 'UnHealthyHostCount', dimensions: { LoadBalancer: loadBalancerSuffix, TargetGroup: publicTargetSuffix }, stat: 'Maximum', over: 0, missing: 'notBreaching', minutes: 5 });
    for (const role of WORKLOAD_ROLES) {
      watch(`${role}-in-service`, `Too few of ${role} are in service`, { namespace: 'AWS/AutoScaling', metricName: 'GroupInServiceInstances', dimensions: { AutoScalingGroupName: groupName(named, role, 'blue') }, stat: 'Minimum', under: minimum[role], missing: 'breaching', minutes: 10 });
    }
    const ofDatabase = { namespace: 'AWS/RDS', dimensions: { DBClusterIdentifier: database } };
    watch('database-cpu', 'The database is busy', { ...ofDatabase, metricName: 'CPUUtilization', stat: 'Average', over: 80, missing: 'breaching', minutes: 10 });
    watch('database-capacity', 'The database is at its largest size', { ...ofDatabase, metricName: 'ACUUtilization', stat: 'Average', over: 90, missing: 'notBreaching', minutes: 15 });
    watch('reader-lag', 'The reader lags behind the writer, milliseconds', { ...ofDatabase, metricName: 'AuroraReplicaLagMaximum', stat: 'Maximum', over: 1_000, missing: 'notBreaching', minutes: 5 });
    // Slots that no standby reads keep the log growing.
    watch('replication-slot', 'A standby does not read: the write-ahead log grows, bytes', { ...ofDatabase, metricName: 'OldestReplicationSlotLag', stat: 'Maximum', over: 10_000_000_000, missing: 'notBreaching', minutes: 10 });

    new Dashboard(this, 'dashboard', {
      name: named('aws-generic', 'cell'), region, cell, loadBalancerSuffix, database, budget, groups: WORKLOAD_ROLES.flatMap((role) => GENERATIONS.map((generation) => groupName(named, role, generation))),
    });
  }
}

/** What an operator looks at: pictures per hour, jobs, refusals by code, release latency, age of the queue, burn of the error budget, fleet, database. */
import { CloudwatchDashboard } from '@cdktf/provider-aws/lib/cloudwatch-dashboard/index.js';
import { Construct } from 'constructs';
import { CELL_METRICS, CELL_NAMESPACE } from './scaling.ts';

export interface DashboardProps {
  readonly name: string;
  readonly region: string;
  readonly cell: string;
  readonly loadBalancerSuffix: string;
  readonly database: string;
  /** Share of requests that may fail. */
  readonly budget: number;
  readonly groups: readonly string[];
}

export class Dashboard extends Construct {
  constructor(scope: Construct, id: string, { name, region, cell, loadBalancerSuffix, database, budget, groups }: DashboardProps) {
    super(scope, id);
    const ours = (metric: string, options: object = {}): unknown[] => [CELL_NAMESPACE, metric, 'cell', cell, options];
    const atEdge = (metric: string, options: object): unknown[] => ['AWS/ApplicationELB', metric, 'LoadBalancer', loadBalancerSuffix, options];
    const widgets: [title: string, metrics: unknown[][], options?: object][] = [
      // Pictures, not cats: how many cats were in them nobody here may know.
      ['Pictures counted per hour', [[CELL_NAMESPACE, CELL_METRICS.jobs, 'cell', cell, 'state', 'completed', { stat: 'Sum', period: 3_600 }]], { view: 'singleValue', sparkline: true }],
      ['Jobs', ['accepted', 'completed', 'rejected', 'failed'].map((state) => [CELL_NAMESPACE, CELL_METRICS.jobs, 'cell', cell, 'state', state, { stat: 'Sum', label: state }])],
      ['Refusals by code', [[{ expression: `SEARCH('{${CELL_NAMESPACE},cell,code} MetricName="${CELL_METRICS.refusals}" cell="${cell}"', 'Sum', 60)`, id: 'refusals' }]]],
      ['Release latency, s, 99th percentile', [ours(CELL_METRICS.releaseSeconds, { stat: 'Maximum' })]],
      ['Age of the oldest due job, s', [ours(CELL_METRICS.oldestDue, { stat: 'Maximum' })]],
      ['Burn of the error budget, times', [
        atEdge('HTTPCode_Target_5XX_Count', { id: 'gateway', stat: 'Sum', visible: false, period: 300 }), atEdge('HTTPCode_ELB_5XX_Count', { id: 'edge', stat: 'Sum', visible: false, period: 300 }), atEdge('RequestCount', { id: 'requests', stat: 'Sum', visible: false, period: 300 }),
        [{ expression: `IF(requests > 0, (FILL(gateway, 0) + FILL(edge, 0)) / requests / ${budget}, 0)`, label: 'burn', id: 'burn' }],
      ]],
      ['Instances in service', groups.map((group) => ['AWS/AutoScaling', 'GroupInServiceInstances', 'AutoScalingGroupName', group, { stat: 'Average' }])],
      ['Replication lag, s', [ours(CELL_METRICS.lag, { stat: 'Maximum' })]],
      ['Database: capacity units, connections', [['AWS/RDS', 'ServerlessDatabaseCapacity', 'DBClusterIdentifier', database, { stat: 'Average' }], ['AWS/RDS', 'DatabaseConnections', 'DBClusterIdentifier', database, { stat: 'Sum', yAxis: 'right' }]]],
    ];
    new CloudwatchDashboard(this, 'dashboard', {
      dashboardName: name,
      // No Fn.jsonencode: it leaves the quotes inside of strings as they are. References are ARN suffixes and hold none.
      dashboardBody: JSON.stringify({
        widgets: widgets.map(([title, metrics, options], i) => ({
          type: 'metric', x: (i % 3) * 8, y: Math.floor(i / 3) * 6, width: 8, height: 6, properties: { title, region, view: 'timeSeries', period: 60, metrics, ...options },
        })),
      }),
    });
  }
}

/** Dashboard of a cell as the Monitoring API's JSON: what on-call looks at first, from left to right as a request goes. */
export interface DashboardNames { readonly title: string; readonly database: string }

export const METRICS = {
  oldestDue: 'custom.googleapis.com/ccc/oldest_due_seconds',
  requests: 'loadbalancing.googleapis.com/https/request_count',
  latency: 'loadbalancing.googleapis.com/https/total_latencies',
  replicaLag: 'cloudsql.googleapis.com/database/replication/replica_lag',
} as const;
export const LOAD_BALANCER = 'https_lb_rule';

interface Series { readonly title: string; readonly filter: string; readonly align: string; readonly reduce?: string; readonly by?: readonly string[]; readonly unit?: string }

export function dashboardJson({ title, database }: DashboardNames): string {
  const chart = ({ title: heading, filter, align, reduce, by, unit }: Series) => ({
    title: heading,
    xyChart: {
      dataSets: [{
        plotType: 'LINE', targetAxis: 'Y1',
        timeSeriesQuery: { timeSeriesFilter: { filter, aggregation: { alignmentPeriod: '60s', perSeriesAligner: align, ...(reduce === undefined ? {} : { crossSeriesReducer: reduce, groupByFields: by ?? [] }) } }, ...(unit === undefined ? {} : { unitOverride: unit }) },
      }],
      yAxis: { scale: 'LINEAR' },
    },
  });
  const of = (metric: string, resource: string, more = ''): string => `metric.type="${metric}" resource.type="${resource}"${more}`;
  const widgets = [
    chart({ title: 'Requests by class of answer', filter: of(METRICS.requests, LOAD_BALANCER), align: 'ALIGN_RATE', reduce: 'REDUCE_SUM', by: ['metric.label.response_code_class'], unit: '1/s' }),
    chart({ title: 'Latency, 95th percentile', filter: of(METRICS.latency, LOAD_BALANCER), align: 'ALIGN_PERCENTILE_95', reduce: 'REDUCE_MAX', unit: 'ms' }),
    chart({ title: 'Age of the oldest due job', filter: of(METRICS.oldestDue, 'global'), align: 'ALIGN_MAX', reduce: 'REDUCE_MAX', unit: 's' }),
    chart({ title: 'Refusals of evidence', filter: 'metric.type="logging.googleapis.com/user/ccc/attestation_refusals" resource.type="gce_instance"', align: 'ALIGN_RATE', reduce: 'REDUCE_SUM', by: ['metric.label.code'], unit: '1/s' }),
    chart({ title: 'Containers: restarts', filter: of('kubernetes.io/container/restart_count', 'k8s_container'), align: 'ALIGN_DELTA', reduce: 'REDUCE_SUM', by: ['resource.label.namespace_name'] }),
    chart({ title: 'Brokers: processor', filter: of('compute.googleapis.com/instance/cpu/utilization', 'gce_instance', ' metadata.user_labels.ccc-role="broker"'), align: 'ALIGN_MEAN', reduce: 'REDUCE_MEAN' }),
    chart({ title: 'Ledger: processor', filter: of('cloudsql.googleapis.com/database/cpu/utilization', 'cloudsql_database', ` resource.label.database_id=ends_with("${database}")`), align: 'ALIGN_MEAN' }),
    chart({ title: 'Ledger: lag of the standby', filter: of(METRICS.replicaLag, 'cloudsql_database'), align: 'ALIGN_MAX', unit: 's' }),
    chart({ title: 'Refused packets', filter: of('compute.googleapis.com/firewall/dropped_packets_count', 'gce_instance'), align: 'ALIGN_RATE', reduce: 'REDUCE_SUM' }),
  ];
  return JSON.stringify({ displayName: title, mosaicLayout: { columns: 12, tiles: widgets.map((widget, index) => ({ xPos: (index % 3) * 4, yPos: Math.floor(index / 3) * 4, width: 4, height: 4, widget })) } });
}

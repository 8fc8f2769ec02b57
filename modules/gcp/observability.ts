/**
 * The objective and who is told when it is in danger: burn rates over two windows each (Google's SRE workbook, "Alerting on SLOs"), queue age, lag of the
 * standby, and every attempt at keys. Nothing here reads payloads: metrics are counts and times, logs have codes.
 */
import { LoggingMetric } from '@cdktf/provider-google/lib/logging-metric/index.js';
import { MonitoringAlertPolicy, type MonitoringAlertPolicyConditions } from '@cdktf/provider-google/lib/monitoring-alert-policy/index.js';
import { MonitoringCustomService } from '@cdktf/provider-google/lib/monitoring-custom-service/index.js';
import { MonitoringDashboard } from '@cdktf/provider-google/lib/monitoring-dashboard/index.js';
import { MonitoringNotificationChannel } from '@cdktf/provider-google/lib/monitoring-notification-channel/index.js';
import { MonitoringSlo } from '@cdktf/provider-google/lib/monitoring-slo/index.js';
import { MonitoringUptimeCheckConfig } from '@cdktf/provider-google/lib/monitoring-uptime-check-config/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';
import { dashboardJson, LOAD_BALANCER, METRICS } from './dashboard.ts';

/** Factor over the budget's even use, and the two windows that must both burn: two percent of thirty days' budget in an hour, five in six hours. */
const BURNS = [
  { part: 'fast', factor: 14.4, long: '3600s', short: '300s', severity: 'CRITICAL' },
  { part: 'slow', factor: 6, long: '21600s', short: '1800s', severity: 'ERROR' },
] as const;

/** Events that are always worth a look. The alert quotes the log entry. */
const EVENTS = {
  'key-refused': 'protoPayload.serviceName="cloudkms.googleapis.com" AND protoPayload.status.code=7',
  'key-destroyed': 'protoPayload.serviceName="cloudkms.googleapis.com" AND protoPayload.methodName=("DestroyCryptoKeyVersion" OR "UpdateCryptoKeyVersion")',
  'key-granted': 'protoPayload.serviceName="cloudkms.googleapis.com" AND protoPayload.methodName="SetIamPolicy"',
  'attestation-changed': 'protoPayload.serviceName="iam.googleapis.com" AND protoPayload.methodName:"WorkloadIdentityPool"',
  'guardrail-changed': '(protoPayload.serviceName="orgpolicy.googleapis.com" AND protoPayload.methodName:("UpdatePolicy" OR "DeletePolicy")) OR (protoPayload.methodName:("UpdatePolicy" OR "DeletePolicy") AND protoPayload.serviceName="iam.googleapis.com")',
  'restore-failed': 'resource.type="workflows.googleapis.com/Workflow" AND severity>=ERROR',
  'break-glass': 'protoPayload.serviceName="binaryauthorization.googleapis.com" OR labels."imagepolicywebhook.image-policy.k8s.io/break-glass"="true"',
} as const;

export interface ObservabilityProps {
  readonly named: Namer;
  readonly project: string;
  readonly contact: string;
  readonly sloTarget: number;
  /** Of the standby, seconds: what the tier promises. */
  readonly lagLimitSeconds: number;
  /** Age of the oldest due job that wakes somebody, seconds. */
  readonly queueLimitSeconds: number;
  readonly host: string;
  readonly database: string;
  readonly tags: Tags;
}

export class Observability extends Construct {
  readonly channels: readonly string[];

  constructor(scope: Construct, id: string, props: ObservabilityProps) {
    super(scope, id);
    const { named, project } = props;
    need(props.sloTarget >= 0.99 && props.sloTarget < 1, `${id}.sloTarget`, props.sloTarget, 'from 0.99 to below 1');
    needWhole(`${id}.lagLimitSeconds`, props.lagLimitSeconds, 1, 604_800, 'seconds');
    needWhole(`${id}.queueLimitSeconds`, props.queueLimitSeconds, 1, 86_400, 'seconds');
    const name = (part: string): string => named('gcp-generic', part);
    const userLabels = { ...props.tags };
    const channel = new MonitoringNotificationChannel(this, 'on-call', { type: 'email', displayName: name('on-call'), labels: { email_address: props.contact }, userLabels, forceDelete: false });
    this.channels = [channel.id];
    const alert = (part: string, severity: string, documentation: string, conditions: MonitoringAlertPolicyConditions[], logs = false): MonitoringAlertPolicy =>
      new MonitoringAlertPolicy(this, `alert-${part}`, {
        displayName: name(part), combiner: 'AND', severity, enabled: true, conditions, notificationChannels: [channel.id], userLabels, documentation: { content: documentation, mimeType: 'text/markdown' },
        alertStrategy: { autoClose: '86400s', ...(logs ? { notificationRateLimit: { period: '300s' } } : {}) },
      });

    const service = new MonitoringCustomService(this, 'service', { serviceId: name('cell'), displayName: 'Confidential Cat Counter', userLabels });
    const total = `metric.type="${METRICS.requests}" resource.type="${LOAD_BALANCER}"`;
    const slo = new MonitoringSlo(this, 'availability', {
      service: service.serviceId, sloId: 'availability', displayName: 'Requests answered without an error of ours', goal: props.sloTarget, rollingPeriodDays: 28, userLabels,
      requestBasedSli: { goodTotalRatio: { totalServiceFilter: total, badServiceFilter: `${total} metric.label.response_code_class=500` } },
    });
    for (const { part, factor, long, short, severity } of BURNS) {
      alert(`burn-${part}`, severity, `The error budget burns ${factor} times too fast, over ${long} and still over ${short}. Runbook: docs, "Error budget".`, [long, short].map((window) => ({
        displayName: `over ${window}`, conditionThreshold: { filter: `select_slo_burn_rate("${slo.name}", "${window}")`, comparison: 'COMPARISON_GT', thresholdValue: factor, duration: '0s', trigger: { count: 1 } },
      })));
    }

    const above = (displayName: string, filter: string, thresholdValue: number): MonitoringAlertPolicyConditions => ({
      displayName, conditionThreshold: { filter, comparison: 'COMPARISON_GT', thresholdValue, duration: '300s', trigger: { count: 1 }, aggregations: [{ alignmentPeriod: '60s', perSeriesAligner: 'ALIGN_MAX' }] },
    });
    alert('queue', 'ERROR', 'Due jobs wait too long: counters are missing, refused or at their limit.', [above('oldest due job', `metric.type="${METRICS.oldestDue}" resource.type="global"`, props.queueLimitSeconds)]);
    alert('standby-lag', 'ERROR', 'The standby lags behind what the tier promises: a failover now would lose acknowledged work.', [above('lag of the standby', `metric.type="${METRICS.replicaLag}" resource.type="cloudsql_database"`, props.lagLimitSeconds)]);
    for (const [part, filter] of Object.entries(EVENTS)) {
      alert(part, part === 'key-refused' ? 'WARNING' : 'CRITICAL', `An audit log entry that should have a change request: \`${part}\`.`, [{ displayName: part, conditionMatchedLog: { filter } }], true);
    }

    const health = new MonitoringUptimeCheckConfig(this, 'health', {
      displayName: name('health'), timeout: '10s', period: '60s', checkerType: 'STATIC_IP_CHECKERS', userLabels,
      httpCheck: { path: '/v1/health', port: 443, useSsl: true, validateSsl: true, requestMethod: 'GET', acceptedResponseStatusCodes: [{ statusClass: 'STATUS_CLASS_2XX' }] }, monitoredResource: { type: 'uptime_url', labels: { project_id: project, host: props.host } },
    });
    alert('unreachable', 'CRITICAL', 'The public health address does not answer from two places and more.', [{
      displayName: 'health', conditionThreshold: {
        filter: `metric.type="monitoring.googleapis.com/uptime_check/check_passed" resource.type="uptime_url" metric.label.check_id="${health.uptimeCheckId}"`, comparison: 'COMPARISON_GT', thresholdValue: 1, duration: '120s', trigger: { count: 1 },
        aggregations: [{ alignmentPeriod: '300s', perSeriesAligner: 'ALIGN_NEXT_OLDER', crossSeriesReducer: 'REDUCE_COUNT_FALSE', groupByFields: ['resource.label.host'] }],
      },
    }]);

    new LoggingMetric(this, 'refusals', {
      name: 'ccc/attestation_refusals', description: 'Evidence that a broker refused, by code', filter: 'resource.type="gce_instance" AND jsonPayload.event="evidence-refused"',
      labelExtractors: { code: 'EXTRACT(jsonPayload.code)' }, metricDescriptor: { metricKind: 'DELTA', valueType: 'INT64', unit: '1', displayName: 'Refusals of evidence', labels: [{ key: 'code', valueType: 'STRING', description: 'Refusal code' }] },
    });
    new MonitoringDashboard(this, 'dashboard', { dashboardJson: dashboardJson({ title: name('cell'), database: props.database }) });
  }
}

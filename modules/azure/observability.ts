/**
 * Logs, alerts and the dashboard of a cell. The workspace is reached by private link alone and keeps what the environment's retention says. Alerts on the
 * error budget burn over two windows each (fast: 14.4 times over 5 minutes and 1 hour; slow: 6 times over 30 minutes and 6 hours), so that neither a blip nor
 * a slow leak decides alone.
 */
import { ApplicationInsights } from '@cdktf/provider-azurerm/lib/application-insights/index.js';
import { ApplicationInsightsWorkbook } from '@cdktf/provider-azurerm/lib/application-insights-workbook/index.js';
import { LogAnalyticsWorkspace } from '@cdktf/provider-azurerm/lib/log-analytics-workspace/index.js';
import { MonitorActionGroup } from '@cdktf/provider-azurerm/lib/monitor-action-group/index.js';
import { MonitorActivityLogAlert } from '@cdktf/provider-azurerm/lib/monitor-activity-log-alert/index.js';
import { MonitorMetricAlert } from '@cdktf/provider-azurerm/lib/monitor-metric-alert/index.js';
import { MonitorPrivateLinkScope } from '@cdktf/provider-azurerm/lib/monitor-private-link-scope/index.js';
import { MonitorPrivateLinkScopedService } from '@cdktf/provider-azurerm/lib/monitor-private-link-scoped-service/index.js';
import { MonitorScheduledQueryRulesAlertV2 } from '@cdktf/provider-azurerm/lib/monitor-scheduled-query-rules-alert-v2/index.js';
import { RoleAssignment } from '@cdktf/provider-azurerm/lib/role-assignment/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import { diagnose } from './diagnostics.ts';
import type { PrivateLinks } from './private-link.ts';
import { type AzureScope, guarded, placed } from './scope.ts';
import { burnQuery, WINDOWS, workbook } from './slo.ts';

export interface ObservabilityProps {
  readonly scope: AzureScope;
  readonly links: PrivateLinks;
  /** Days. Interactive retention ends at 730; the audit archive keeps longer. */
  readonly retentionDays: number;
  readonly sloTarget: number;
  readonly contact: string;
  /** The workbook's name is a UUID, by the provider's rule. */
  readonly workbookId: string;
}

export class Observability extends Construct {
  readonly workspace: LogAnalyticsWorkspace;
  /** Where gateways send traces and metrics: ids and numbers, never content. */
  readonly telemetry: ApplicationInsights;
  readonly actionGroup: MonitorActionGroup;
  readonly #scope: AzureScope;

  constructor(parent: Construct, id: string, { scope, links, retentionDays, sloTarget, contact, workbookId }: ObservabilityProps) {
    super(parent, id);
    needWhole('retention.logs', retentionDays, 365, 730, 'days (the longest of a workspace)');
    need(sloTarget > 0.9 && sloTarget < 1, 'sloTarget', sloTarget, 'from 0.9 to below 1');
    this.#scope = scope;
    const { named } = scope;
    this.workspace = new LogAnalyticsWorkspace(this, 'workspace', {
      ...placed(scope), name: named('azure-generic', 'logs'), sku: 'PerGB2018', retentionInDays: retentionDays, internetIngestionEnabled: false, internetQueryEnabled: false, localAuthenticationEnabled: false,
      allowResourceOnlyPermissions: false, lifecycle: guarded(scope.protect),
    });
    this.telemetry = new ApplicationInsights(this, 'telemetry', {
      ...placed(scope), name: named('azure-generic', 'telemetry'), applicationType: 'other', workspaceId: this.workspace.id, retentionInDays: 365, internetIngestionEnabled: false, internetQueryEnabled: false,
      localAuthenticationDisabled: true, disableIpMasking: false, samplingPercentage: 100,
    });
    const link = new MonitorPrivateLinkScope(this, 'private-link', { name: named('azure-generic', 'monitor'), resourceGroupName: scope.group.name, ingestionAccessMode: 'PrivateOnly', queryAccessMode: 'PrivateOnly' });
    const linked = new MonitorPrivateLinkScopedService(this, 'private-link-workspace', { name: 'workspace', resourceGroupName: scope.group.name, scopeName: link.name, linkedResourceId: this.workspace.id });
    const sends = new MonitorPrivateLinkScopedService(this, 'private-link-telemetry', { name: 'telemetry', resourceGroupName: scope.group.name, scopeName: link.name, linkedResourceId: this.telemetry.id });
    links.connect('monitor', 'monitor', link.id).node.addDependency(linked, sends);
    diagnose(this, 'workspace-logs', this.workspace.id, { workspaceId: this.workspace.id });

    this.actionGroup = new MonitorActionGroup(this, 'action-group', {
      name: named('azure-generic', 'alerts'), resourceGroupName: scope.group.name, shortName: 'ccc-alerts', emailReceiver: [{ name: 'contact', emailAddress: contact, useCommonAlertSchema: true }],
    });
    for (const window of WINDOWS) {
      this.#query(`burn-${window.name}`, {
        severity: window.severity, query: burnQuery(window, sloTarget), every: window.every, over: window.long,
        description: `Error budget burns ${window.factor} times too fast over ${window.short} and over ${window.long}.`,
      });
    }
    this.#query('attestation-refused', {
      severity: 1, every: 'PT5M', over: 'PT15M', description: 'TEEs of the cell are refused keys: a bad image, or somebody trying.',
      query: 'AppMetrics | where Name == "ccc/refusals_total" | where Sum > 0', threshold: 5,
    });
    this.#query('key-released-outside-brokers', {
      severity: 0, every: 'PT5M', over: 'PT5M', description: 'A key was released, or release was tried, by somebody who is not a broker.',
      query: 'AZKVAuditLogs | where OperationName == "KeyRelease" | where ResultSignature != "OK"',
    });
    this.#query('ledger-lag', { severity: 1, every: 'PT5M', over: 'PT15M', description: 'The oldest due job has waited too long.', query: 'AppMetrics | where Name == "ccc/oldest_due_seconds" | where Max > 300' });

    new MonitorActivityLogAlert(this, 'policy-changes', {
      name: named('azure-generic', 'key-policy-changes'), resourceGroupName: scope.group.name, location: 'global', scopes: [scope.group.id], description: 'Somebody writes keys or vaults: only the pipeline may.',
      criteria: { category: 'Administrative', resourceTypes: ['Microsoft.KeyVault/vaults', 'Microsoft.KeyVault/vaults/keys', 'Microsoft.Attestation/attestationProviders'], levels: ['Informational', 'Warning', 'Error', 'Critical'], statuses: ['Succeeded', 'Failed'] },
      action: [{ actionGroupId: this.actionGroup.id }],
    });
    new MonitorActivityLogAlert(this, 'service-health', {
      name: named('azure-generic', 'service-health'), resourceGroupName: scope.group.name, location: 'global', scopes: [`/subscriptions/${scope.subscriptionId}`], description: 'Azure reports trouble in this location.',
      criteria: { category: 'ServiceHealth', serviceHealth: { events: ['Incident', 'Security'], locations: [scope.location, 'Global'] } }, action: [{ actionGroupId: this.actionGroup.id }],
    });
    new ApplicationInsightsWorkbook(this, 'workbook', {
      ...placed(scope), name: workbookId, displayName: `Confidential Cat Counter ${named('azure-generic', 'cell')}`, sourceId: 'azure monitor', category: 'workbook', dataJson: workbook(this.workspace.id, sloTarget),
    });
  }

  /** Sends telemetry as itself: no instrumentation key opens anything. */
  grantSend(id: string, principalId: string): RoleAssignment {
    return new RoleAssignment(this, `${id}-sends`, { scope: this.telemetry.id, roleDefinitionName: 'Monitoring Metrics Publisher', principalId, principalType: 'ServicePrincipal', description: 'telemetry of a gateway' });
  }

  /** Alarm on one platform metric. */
  metric(id: string, props: { readonly target: string; readonly namespace: string; readonly name: string; readonly aggregation: 'Average' | 'Maximum' | 'Minimum' | 'Total'; readonly operator: 'GreaterThan' | 'LessThan'; readonly threshold: number; readonly severity: number; readonly description: string }): void {
    new MonitorMetricAlert(this, id, {
      name: this.#scope.named('azure-generic', id), resourceGroupName: this.#scope.group.name, scopes: [props.target], severity: props.severity, frequency: 'PT1M', windowSize: 'PT5M', description: props.description,
      criteria: [{ metricNamespace: props.namespace, metricName: props.name, aggregation: props.aggregation, operator: props.operator, threshold: props.threshold }], action: [{ actionGroupId: this.actionGroup.id }],
    });
  }

  #query(id: string, { severity, query, every, over, description, threshold = 0 }: { readonly severity: number; readonly query: string; readonly every: string; readonly over: string; readonly description: string; readonly threshold?: number }): void {
    new MonitorScheduledQueryRulesAlertV2(this, id, {
      ...placed(this.#scope), name: this.#scope.named('azure-generic', id), displayName: id, description, scopes: [this.workspace.id], severity, evaluationFrequency: every, windowDuration: over,
      // Tables of the workloads exist only once a first record came.
      skipQueryValidation: true, autoMitigationEnabled: true,
      criteria: [{ query, timeAggregationMethod: 'Count', operator: 'GreaterThan', threshold, failingPeriods: { minimumFailingPeriodsToTriggerAlert: 1, numberOfEvaluationPeriods: 1 } }],
      action: { actionGroups: [this.actionGroup.id] },
    });
  }
}

/** Logs of a resource to the workspace, and, where it is an audit trail, to the locked account as well. Retention is the destination's (the setting's own is retired). */
import { MonitorDiagnosticSetting } from '@cdktf/provider-azurerm/lib/monitor-diagnostic-setting/index.js';
import type { Construct } from 'constructs';

export interface Destinations { readonly workspaceId: string; readonly archiveId?: string }
export interface Wanted { readonly logs?: 'allLogs' | readonly string[]; readonly metrics?: readonly string[]; /** Tables of the service's own instead of AzureDiagnostics, where it has them. */ readonly dedicated?: true }

export function diagnose(scope: Construct, id: string, targetResourceId: string, { workspaceId, archiveId }: Destinations, { logs = 'allLogs', metrics = ['AllMetrics'], dedicated }: Wanted = {}): MonitorDiagnosticSetting {
  return new MonitorDiagnosticSetting(scope, id, {
    name: 'ccc-logs', targetResourceId, logAnalyticsWorkspaceId: workspaceId,
    ...(dedicated ? { logAnalyticsDestinationType: 'Dedicated' } : {}),
    ...(archiveId === undefined ? {} : { storageAccountId: archiveId }),
    enabledLog: typeof logs === 'string' ? [{ categoryGroup: logs }] : logs.map((category) => ({ category })),
    enabledMetric: metrics.map((category) => ({ category })),
  });
}

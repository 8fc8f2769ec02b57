/** Queries and the workbook over the front door's access log. Good: not 5xx. A burn rate of 1 uses up exactly the budget. */

export interface BurnWindow { readonly name: string; readonly short: string; readonly long: string; readonly factor: number; readonly every: string; readonly severity: number }

/** The SRE workbook's pairs ("Alerting on SLOs"): a page and a ticket. Durations are ISO 8601 and allowed values of the service. */
export const WINDOWS: readonly BurnWindow[] = [
  { name: 'fast', short: 'PT5M', long: 'PT1H', factor: 14.4, every: 'PT5M', severity: 0 },
  { name: 'slow', short: 'PT30M', long: 'PT6H', factor: 6, every: 'PT15M', severity: 2 },
];

const kql = (iso: string): string => {
  const match = /^PT(\d+)([MH])$/.exec(iso);
  if (match === null) throw new TypeError(`no window: ${iso}`);
  return `${match[1]}${match[2] === 'M' ? 'm' : 'h'}`;
};

const LOG = 'AzureDiagnostics | where Category == "FrontDoorAccessLog" | extend bad = toint(httpStatusCode_d) >= 500';

/** One row if both windows burn too fast, none otherwise; so does an empty log, which the availability alarm of the front door covers. */
export function burnQuery({ short, long, factor }: BurnWindow, target: number): string {
  const budget = (1 - target).toFixed(6);
  const rate = (window: string): string => `toscalar(${LOG} | where TimeGenerated > ago(${kql(window)}) | summarize 1.0 * countif(bad) / max_of(count(), 1))`;
  return `let budget = ${budget}; print short = ${rate(short)} / budget, long = ${rate(long)} / budget | where short > ${factor} and long > ${factor}`;
}

export function workbook(workspaceId: string, target: number): string {
  const chart = (title: string, query: string) => ({ type: 3, name: title, content: { version: 'KqlItem/1.0', title, query, size: 0, timeContext: { durationMs: 86_400_000 }, queryType: 0, resourceType: 'microsoft.operationalinsights/workspaces', crossComponentResources: [workspaceId], visualization: 'timechart' } });
  return JSON.stringify({
    version: 'Notebook/1.0',
    items: [
      { type: 1, name: 'heading', content: { json: `# Cell\nAvailability objective ${(100 * target).toFixed(2)} %. Traces and logs carry ids, never content.` } },
      chart('Share of failed requests', `${LOG} | summarize 1.0 * countif(bad) / count() by bin(TimeGenerated, 5m)`),
      chart('Age of the oldest due job, seconds', 'AppMetrics | where Name == "ccc/oldest_due_seconds" | summarize max(Max) by bin(TimeGenerated, 1m)'),
      chart('Pictures counted per hour', 'AppMetrics | where Name == "ccc/jobs_total" and tostring(Properties.state) == "completed" | summarize sum(Sum) by bin(TimeGenerated, 1h)'),
      chart('Refusals by code', 'AppMetrics | where Name == "ccc/refusals_total" | summarize sum(Sum) by tostring(Properties.code), bin(TimeGenerated, 15m)'),
      chart('Releases of the attested key', 'AZKVAuditLogs | where OperationName == "KeyRelease" | summarize count() by ResultSignature, bin(TimeGenerated, 15m)'),
      chart('Blocked by the firewall', 'AzureDiagnostics | where Category == "FrontDoorWebApplicationFirewallLog" | where action_s == "Block" | summarize count() by ruleName_s, bin(TimeGenerated, 15m)'),
    ],
    fallbackResourceIds: ['azure monitor'], $schema: 'https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json',
  });
}

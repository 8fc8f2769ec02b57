/** Dashboards, alerts and autoscalers ask for what gateways have: no other name would ever show anything. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { CELL_DIMENSIONS, CELL_METRICS } from '../../modules/aws/scaling.ts';
import { QUEUE_METRICS } from '../../modules/azure/fleet.ts';
import { METRICS as GOOGLE } from '../../modules/gcp/dashboard.ts';
import { EXTERNAL_METRICS } from '../../modules/gcp/k8s-counters.ts';
import { type Described, type MetricName, METRICS, pushedName } from '../../workloads/protocol/metrics.ts';

const NAMES = Object.keys(METRICS) as MetricName[];
const described: Readonly<Record<string, Described>> = METRICS;

test('AWS: names without the prefix, of single values; labels that are dimensions', () => {
  for (const name of Object.values(CELL_METRICS)) {
    expect(Object.keys(METRICS)).toContain(`ccc_${name}`);
    expect(described[`ccc_${name}`]?.by).toContain('gateway');
    expect(described[`ccc_${name}`]?.type, 'the agent drops histograms').not.toBe('histogram');
  }
  for (const [name, label] of Object.entries(CELL_DIMENSIONS)) expect(described[`ccc_${name}`]?.labels).toEqual([label]);
});

test('Azure and Google: names as gateways send them', () => {
  expect(QUEUE_METRICS).toEqual({ age: pushedName('ccc_oldest_due_seconds'), backlog: pushedName('ccc_due_jobs') });
  expect(GOOGLE.oldestDue).toBe(`custom.googleapis.com/${pushedName('ccc_oldest_due_seconds')}`);
  expect(EXTERNAL_METRICS).toEqual({ oldestDue: GOOGLE.oldestDue.replaceAll('/', '|'), dueJobs: `custom.googleapis.com/${pushedName('ccc_due_jobs')}`.replaceAll('/', '|') });
});

test.each(['azure', 'gcp'])('%s: no text names a metric that nobody sends', (cloud) => {
  const folder = fileURLToPath(new URL(`../../modules/${cloud}/`, import.meta.url));
  const named = readdirSync(folder).flatMap((file) => [...readFileSync(folder + file, 'utf8').matchAll(/(?:Name == "|custom\.googleapis\.com\/|')(ccc\/[a-z_0-9]+)["']/g)].map(([, name]) => name as string));
  const pushed: string[] = NAMES.filter((name) => described[name]?.by.includes('gateway')).map(pushedName);
  // Made of log entries, not sent
  expect(named.filter((name) => !pushed.includes(name) && name !== 'ccc/attestation_refusals')).toEqual([]);
  expect(named).toContain('ccc/oldest_due_seconds');
});

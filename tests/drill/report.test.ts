/** The pure parts of a drill's report: series, charts, phases, page. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chart, escape, niceStep } from '../../scripts/drill/chart.ts';
import type { DrillRecord } from '../../scripts/drill/drill.ts';
import type { HistoryEvent } from '../../scripts/drill/history.ts';
import { page } from '../../scripts/drill/page.ts';
import { drained, phasesOf } from '../../scripts/drill/phases.ts';
import { judge, matrixOf, REPORT_TYPE, signReport } from '../../scripts/drill/report.ts';
import type { Step } from '../../scripts/drill/rows.ts';
import { storedLines, writesOf } from '../../scripts/drill/rows.ts';
import { scenario, SCENARIOS } from '../../scripts/drill/scenarios.ts';
import { normalAgain, rateBetween, seriesOf } from '../../scripts/drill/series.ts';
import { decodeJwsUnverified, generateSigningKey } from '../../workloads/protocol/jws.ts';
import { clean, END, FENCED, HURT } from './auditor-histories.ts';

const ack = (job: string, at: number, cell = 'a'): HistoryEvent => ({ kind: 'acknowledged', at, tenant: 't', job, cell, epoch: 1 });
const final = (job: string, at: number): HistoryEvent => ({ kind: 'final', at, tenant: 't', job, cell: 'a', epoch: 1, outcome: 'completed', digest: job });

describe('series', () => {
  it('a value a second: what was acknowledged, what ended, how long it took, what is open', () => {
    const series = seriesOf([ack('1', 100), ack('2', 200), final('1', 1_100), { kind: 'request', at: 1_200, ms: 5, tenant: 't', cell: 'a', op: 'submit', code: 'NETWORK' }, final('2', 2_900), ack('3', 2_950)], 0);
    expect(series).toMatchObject({ seconds: 3, acknowledged: [2, 0, 1], finals: [0, 1, 1], errors: [0, 1, 0], open: [2, 1, 1], p50: [undefined, 1_000, 2_700] });
  });
  it('a job that is acknowledged or read twice is open once and over once', () => {
    const { open, p95 } = seriesOf([ack('1', 100), ack('1', 1_100, 'b'), final('1', 2_100), final('1', 2_200)], 0);
    expect([open, p95]).toEqual([[1, 1, 0], [undefined, undefined, 2_000]]);
  });
  it('never loses a job, however they overlap', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(20_000), fc.nat(20_000)), { minLength: 1, maxLength: 50 }), (jobs) => {
      const { acknowledged, finals, open } = seriesOf(jobs.flatMap(([at, took], i) => [ack(String(i), at), final(String(i), at + took)]), 0);
      const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
      expect([sum(acknowledged), sum(finals), open.at(-1), open.every((n) => n >= 0)]).toEqual([jobs.length, jobs.length, 0, true]);
    }));
  });
  it('rates, and when latency is as before', () => {
    expect(rateBetween([final('1', 0), final('2', 500), final('3', 2_000)], 'final', 0, 1_000)).toBe(2);
    expect(rateBetween([], 'final', 5, 5)).toBe(0);
    const series = { ...seriesOf([ack('1', 0), final('1', 19_999)], 0), p95: [100, 100, 100, 100, 100, undefined, undefined, 900, 800, 100, 100, 100, 100] };
    expect(normalAgain(series, { from: 0, to: 5 }, 5)).toBe(4);
    expect(normalAgain({ ...series, p95: series.p95.map((v, i) => (i < 5 ? v : 900)) }, { from: 0, to: 5 }, 5)).toBeUndefined();
    expect(normalAgain({ ...series, p95: [] }, { from: 0, to: 5 }, 5)).toBeUndefined();
  });
});

describe('charts', () => {
  it('gaps are gaps, single points are points, labels cannot break out', () => {
    const svg = chart({ title: 'a <b> & "c"', unit: 'ms', marks: [{ at: 2, label: '<script>' }], shade: { from: 1, to: 2 }, lines: [{ label: 'x', values: [1, 2, undefined, 4, undefined, 6, 7], colour: '--a' }] });
    expect([svg.match(/<polyline/g)?.length, svg.match(/<circle/g)?.length, svg.includes('<script>'), svg.includes('NaN')]).toEqual([2, 1, false, false]);
  });
  it('nothing at all is still a chart', () => {
    expect(chart({ title: 't', unit: 'u', marks: [], lines: [] })).not.toMatch(/NaN|Infinity/);
  });
  it('steps are 1, 2 or 5 times a power of ten, and enough of them reach the top', () => {
    fc.assert(fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (max) => {
      const step = niceStep(max, 4);
      expect(step * 4).toBeGreaterThanOrEqual(max * 0.999999);
      expect([1, 2, 5, 10]).toContain(Math.round(step / 10 ** Math.floor(Math.log10(step) + 1e-9)));
    }));
    expect(niceStep(0, 4)).toBe(1);
  });
  it('escapes all that has a meaning', () => expect(escape('<&>"\'')).toBe('&#60;&#38;&#62;&#34;&#39;'));
});

describe('phases', () => {
  const step = (event: string, at: number): Step => ({ tenant: 't', job: 'j', cell: 'b', epoch: 2, event, at });
  const history: HistoryEvent[] = [ack('1', 900), { kind: 'held', at: 5_000, tenant: 't', cell: 'b', epoch: 2 }, { kind: 'held', at: 5_400, tenant: 'u', cell: 'b', epoch: 2 }, final('1', 8_000)];
  const input = { direction: 'failover', at: 1_000, leaseEnd: 4_000, cell: 'b', tenants: ['t', 'u'], history, sessions: [10], until: 100_000, steps: [step('leased', 5_600), step('released', 6_000), step('completed', 7_000)] } as const;
  it('one after the other, out of what was seen', () => {
    expect(phasesOf(input).map(({ phase, from, at }) => [phase, from, at])).toEqual([
      ['detect', 1_000, 4_000], ['decide', 4_000, 5_000], ['fence', 5_000, 5_400], ['promote', 5_000, 5_600], ['attest', 5_000, 5_000], ['release', 5_600, 6_000], ['drain', 7_000, 8_000],
    ]);
  });
  it('a planned move has nothing to detect; counters that come late are waited for', () => {
    const { leaseEnd: _, ...planned } = input;
    const phases = phasesOf({ ...planned, direction: 'failback', sessions: [5_500] });
    expect(phases.filter(({ phase }) => phase === 'detect' || phase === 'attest').map(({ from, at }) => at - from)).toEqual([0, 500]);
  });
  it('what was not seen has no phase', () => {
    expect(phasesOf({ ...input, steps: [], sessions: [], history: [] }).map(({ phase }) => phase)).toEqual(['detect']);
    expect(drained(history, new Set(['t']), 7_000, 7_500)).toBeUndefined();
    expect(drained([ack('2', 1)], new Set(['t']), 7_000, 9_000)).toBeUndefined();
  });
  it('steps of the store become writes; those of before do not', () => {
    expect(writesOf([step('leased', 1), step('released', 9), step('counted', 9)], 5)).toEqual([{ kind: 'write', from: 9, at: 9, tenant: 't', job: 'j', cell: 'b', epoch: 2, op: 'release', accepted: true }]);
    expect(storedLines('f', [{ tenant: 't', jobs: Array.from({ length: 1_001 }, (_, i) => String(i)) }]).map((one) => (one.kind === 'stored' ? one.jobs.length : 0))).toEqual([1_000, 1]);
  });
});

const drill = (events: readonly HistoryEvent[], change: Partial<DrillRecord> = {}): DrillRecord => ({
  recorder: { file: '', events, now: () => 0, write: () => {}, close: async () => '' }, digest: 'd'.repeat(64), began: 0, leaseSeconds: 4, postgres: '18.4', lags: [], alarms: [], unasked: [], refused: [], backlogs: [],
  marks: { baseline: 0, hurt: HURT, recovered: FENCED, healed: END }, missed: [], felt: 'its gateway: refused', typed: [], ...change,
});

describe('reports', () => {
  it('all was well: bounds met, each figure from the history', () => {
    const { report } = judge(scenario('kill'), 7, drill(clean()));
    expect(report).toMatchObject({ ok: true, scenario: 'kill', seed: 7, lost: 0, duplicated: 0, falseReleases: 0, rpo: { jobs: 0, seconds: 0 }, missed: [], violationCount: 0 });
    expect(report.rtoSeconds.total).toBeGreaterThan(0);
    expect(matrixOf(clean()).every(({ expected, released }) => (expected === 'denied') === (released === 0))).toBe(true);
  });
  it.each<[string, Partial<DrillRecord>]>([
    ['a step that did not come about', { missed: ['every tenant is held by b: not within 75 s'] }],
    ['a requester that could not ask', { unasked: [{ cell: 'b', requester: 'debug', why: 'no answer' }] }],
    ['a result that a client refused', { refused: [{ tenant: 'bank', job: 'j', code: 'RESULT_MESSAGE' }] }],
  ])('%s is no success, though the auditor found nothing', (_, change) => {
    const { report } = judge(scenario('kill'), 7, drill(clean(), change));
    expect([report.ok, report.violationCount, report.missed.length]).toEqual([false, 0, 1]);
  });
  it('a planted release to the wrong requester is in figure, matrix and page', async () => {
    const events = [...clean()];
    events.splice(-1, 0, { kind: 'release', at: FENCED + 500, tenant: 'bank', cell: 'b', requester: 'debug', expected: 'denied', actual: 'released' });
    const { report, series } = judge(scenario('kill'), 7, drill(events));
    expect([report.ok, report.falseReleases]).toEqual([false, 1]);
    expect(page({ report, series, marks: [], jws: 'x', key: 'k' })).toContain('not as expected');
  });
  it('the page needs nothing else: no script, no address of others, and says that TEEs are simulated', () => {
    const { report, series } = judge(scenario('kill'), 7, drill(clean()));
    const html = page({ report: { ...report, title: '<img src=x>' }, series, marks: [{ at: 100, label: 'hurt' }], shade: { from: 100, to: 110 }, jws: 'a.b.c', key: 'k' });
    expect(html).not.toMatch(/<script|<link|<img|https?:\/\/|url\(|@import|NaN|undefined/);
    expect(html).toContain('Simulated TEEs');
    expect(html).toContain(report.evidence.historySha256);
  });
  it('is signed whole', async () => {
    const { report } = judge(scenario('kill'), 7, drill(clean()));
    const { privateKey } = await generateSigningKey();
    const { header, payload } = decodeJwsUnverified(await signReport(report, privateKey));
    expect([header.typ, payload]).toEqual([REPORT_TYPE, JSON.parse(JSON.stringify(report))]);
  });
  it('every scenario says what is done', () => {
    for (const name of SCENARIOS) expect(scenario(name)).toMatchObject({ name, title: expect.stringMatching(/\w+ \w+/), what: expect.stringMatching(/\w+ \w+/) });
  });
});

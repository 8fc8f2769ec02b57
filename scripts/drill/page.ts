/** The report as one page that needs nothing else: no script, no network, charts as SVG; light, dark and paper. Pure. */
import { chart, escape, type Mark } from './chart.ts';
import type { Anchor } from './anchor.ts';
import { BY_OPERATOR } from './phases.ts';
import type { Report } from './report.ts';
import type { Series } from './series.ts';

export interface PageInput {
  readonly report: Report;
  readonly series: Series;
  /** Seconds after the beginning. */
  readonly marks: readonly Mark[];
  readonly shade?: { readonly from: number; readonly to: number } | undefined;
  /** Entries of audit chains that name the signed report. */
  readonly anchors?: readonly Anchor[];
  /** Compact JWS over the report, and the key that it was signed with, base64url. */
  readonly jws: string;
  readonly key: string;
}

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--line:#d0d7de;--soft:#f6f8fa;--good:#1a7f37;--bad:#cf222e;--a:#0969da;--b:#bf5600;--c:#8250df;--shade:#ffebe9}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#30363d;--soft:#161b22;--good:#3fb950;--bad:#f85149;--a:#58a6ff;--b:#f0883e;--c:#bc8cff;--shade:#3c1618}}
@media print{:root{--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--soft:#fff;--good:#1a7f37;--bad:#cf222e;--a:#0969da;--b:#bf5600;--c:#8250df;--shade:#f3e3e1}section{break-inside:avoid}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1020px;padding:28px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:30px 0 8px;border-bottom:1px solid var(--line);padding-bottom:4px}p{margin:6px 0}
.dim{color:var(--dim)}.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
.notice{border-left:4px solid var(--b);background:var(--soft);padding:8px 12px;margin:14px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:10px;margin:16px 0}.tile{border:1px solid var(--line);border-radius:8px;padding:10px 12px;background:var(--soft)}
.tile b{display:block;font-size:24px;line-height:1.25}.tile span{color:var(--dim);font-size:13px}
table{border-collapse:collapse;width:100%;margin:8px 0;font-size:14px}th,td{text-align:left;padding:5px 8px;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--dim);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;min-width:640px;height:auto;display:block;margin:6px 0 14px}.wide{overflow-x:auto}.grid{stroke:var(--line)}.mark{stroke:var(--dim);stroke-dasharray:2 3}.shade{fill:var(--shade)}
.tick,.legend,.marklabel{font:11px system-ui,sans-serif;fill:var(--dim)}.legend{fill:var(--fg);font-size:12px}.charttitle{font:600 13px system-ui,sans-serif;fill:var(--fg)}
code,.mono{font:12.5px ui-monospace,monospace}.mono{overflow-wrap:anywhere}@media(max-width:560px){body{padding:16px}}details{margin:8px 0}summary{cursor:pointer}`;

const number = (value: number | undefined, digits = 2): string => (value === undefined || Number.isNaN(value) ? 'not seen' : value.toLocaleString('en', { maximumFractionDigits: digits, minimumFractionDigits: digits > 0 && !Number.isInteger(value) ? Math.min(digits, 2) : 0 }));
const seconds = (value: number | undefined): string => (value === undefined ? 'not seen' : `${number(value)} s`);
type Cell = string | { readonly html: string };
const cellOf = (cell: Cell): string => (typeof cell === 'string' ? escape(cell) : cell.html);
const table = (head: readonly string[], rows: readonly (readonly Cell[])[], numeric: readonly number[] = []): string => {
  const style = (i: number): string => (numeric.includes(i) ? ' class="n"' : '');
  return `<div class="wide"><table><thead><tr>${head.map((h, i) => `<th${style(i)}>${escape(h)}</th>`).join('')}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map((cell, i) => `<td${style(i)}>${cellOf(cell)}</td>`).join('')}</tr>`).join('')}</tbody></table></div>`;
};
const verdictOf = (holds: boolean, yes: string, no: string): { html: string } => ({ html: `<span class="${holds ? 'good' : 'bad'}">${escape(holds ? yes : no)}</span>` });
const tile = (value: string, label: string, holds?: boolean): string => `<div class="tile"><b class="${holds === undefined ? '' : holds ? 'good' : 'bad'}">${escape(value)}</b><span>${escape(label)}</span></div>`;
const section = (title: string, ...parts: readonly string[]): string => `<section><h2>${escape(title)}</h2>${parts.join('')}</section>`;
const say = (text: string): string => `<p>${escape(text)}</p>`;

const PHASE_MEANING: Readonly<Record<string, string>> = {
  detect: 'until the lease of the cell before had ended: nobody may act earlier', decide: 'until the first tenant\'s epoch was granted by two of three observers', fence: 'until the last tenant\'s epoch had moved: the cell before cannot write any more',
  promote: 'until the ledger took or leased the first job', attest: 'until a counter had proven itself', release: 'from the first lease to the first data key given out', drain: 'from the first completed job until all that waited was over',
};

function tiles({ lost, duplicated, falseReleases, rpo, rtoSeconds, bounds, verdict }: Report): string {
  const bound = Math.max(bounds.sync.rtoSeconds, bounds.async.rtoSeconds);
  return `<div class="tiles">${[
    tile(seconds(rtoSeconds.total), `recovery time; at most ${bound} s`, rtoSeconds.total !== undefined && rtoSeconds.total <= bound), tile(String(rpo.tiers.sync.jobs), 'jobs of tier sync that the other cell lacked', rpo.tiers.sync.jobs === 0),
    tile(String(rpo.tiers.async.jobs), `of tier async, sent again by clients; at most ${bounds.async.rpoSeconds} s of them`, rpo.tiers.async.seconds <= bounds.async.rpoSeconds), tile(String(lost), 'acknowledged jobs lost', lost === 0), tile(String(duplicated), 'counted or billed twice', duplicated === 0),
    tile(String(falseReleases), 'keys given to the wrong requester', falseReleases === 0), tile(String(verdict.fencedWrites.accepted), 'writes of a fenced cell', verdict.fencedWrites.accepted === 0),
  ].join('')}</div>`;
}

function figures(report: Report): string {
  const { verdict, rtoSeconds, rpo, residency, chains, throughput } = report;
  const { client } = verdict;
  const errors = Object.entries(client.errors).sort(([, a], [, b]) => b - a).map(([code, n]) => `${code} ${n}`).join(', ');
  const rows: (readonly Cell[])[] = [
    ['Recovery', `first result ${seconds(rtoSeconds.total)} after the hurt (sync ${seconds(rtoSeconds.sync)}, async ${seconds(rtoSeconds.async)}); first job accepted ${seconds(rtoSeconds.firstAccepted)}; latency back to twice its usual or better ${seconds(rtoSeconds.latencyNormal)}`],
    ['Loss', `tier sync ${rpo.tiers.sync.jobs} jobs, tier async ${rpo.tiers.async.jobs} jobs over ${seconds(rpo.tiers.async.seconds)}; lost for good ${report.lost}, counted twice ${report.duplicated}, results superseded by a higher epoch ${verdict.superseded}`],
    ['Jobs', `${verdict.counts.acknowledged} acknowledged, ${verdict.counts.resubmitted} sent again by clients, ${verdict.counts.final} with a verified result`],
    ['Fencing', `${verdict.fencedWrites.accepted} writes accepted from an old epoch, ${verdict.fencedWrites.refused} refused`],
    ...verdict.revocations.map(({ cell, seconds: took, releasesAfter }): readonly Cell[] => ['Revocation', `the last session of the image at ${cell} ended ${seconds(took)} after the owner's signature; ${releasesAfter} keys given out there after that`]),
    ['Residency', `${residency.tenant} may be in ${residency.allowed.join(', ')} only: ${residency.jobs} jobs, ${residency.elsewhere} elsewhere; its first result ${seconds(residency.waitedSeconds)} after the hurt. Breaches of all tenants: ${verdict.residencyBreaches}`],
    ['Audit', { html: `${chains.audit.map(({ chain, entries, stores, head, same }) => `chain ${escape(chain)}: ${entries} entries, ${same ? 'the same' : '<span class="bad">not the same</span>'} in ${stores} stores, head <code>${escape(head.slice(0, 16))}</code>`).join('<br>')}<br>${chains.receipts} receipts in ${chains.receiptChains} chains of brokers` }],
    ['Clients', `${client.requests} requests; p50 ${number(client.p50, 0)} ms, p95 ${number(client.p95, 0)} ms, p99 ${number(client.p99, 0)} ms; longest gap of a tenant ${seconds(client.longestGapSeconds)}; failed: ${errors === '' ? 'none' : errors}`],
    ['Backlog', `at most ${report.queuePeak} jobs open; ${number(throughput.before)} results a second before, ${number(throughput.after)} after the recovery`],
    ['Replication', `lag at most ${number(report.lag.mostBytes, 0)} bytes, ${seconds(report.lag.mostSeconds)} before the hurt; alarms: ${report.alarms.length === 0 ? 'none' : report.alarms.join(', ')}`],
    ['Drift', verdict.drift.length === 0 ? 'policy, directory: the same in all cells before the drill' : { html: `<span class="bad">differs: ${escape(verdict.drift.join(', '))}</span>` }],
  ];
  return table(['figure', 'measured'], rows);
}

function phases({ phases: list }: Report, direction: 'failover' | 'failback'): string {
  const own = list.filter((one) => one.direction === direction);
  if (own.length === 0) return say('None was seen.');
  return table(['cell', 'phase', 'seconds', 'what it is'], own.map(({ cell, phase, seconds: took, detail }) => [cell, phase, number(took), meaning(phase, detail)]), [2]);
}

/** Where somebody hands over, there is no lease to wait for. */
const meaning = (phase: string, detail?: string): string => (detail === BY_OPERATOR ? detail : `${PHASE_MEANING[phase] ?? ''}${detail === undefined ? '' : ` (${detail})`}`);

/** @returns a whole HTML document */
export function page({ report, series, marks, shade, anchors = [], jws, key }: PageInput): string {
  const common = { marks, shade };
  const released = report.releases.map(({ cell, requester, expected, released: yes, denied, codes }) => {
    const right = expected === 'released' ? denied === 0 : yes === 0;
    return [requester, cell, expected, `${yes} released, ${denied} denied`, { html: codes.map((code) => `<code>${escape(code)}</code>`).join(' ') }, verdictOf(right, 'as expected', 'not as expected')];
  });
  const body = [
    `<h1>Failover drill: ${escape(report.title)}</h1>`,
    `<p class="dim">${escape(report.scenario)}, seed ${report.seed}, ${escape(report.evidence.began)}, ${number(report.evidence.seconds, 0)} s</p>`,
    `<p>${report.ok ? '<span class="good">All bounds were met.</span>' : `<span class="bad">Not all bounds were met: ${report.violationCount} violations, ${report.missed.length} things not seen.</span>`} What was done: ${escape(report.what)}. What was seen of it: ${escape(report.felt)}.</p>`,
    `<p class="notice"><b>${escape(report.notice)}</b></p>`,
    tiles(report),
    section('Over time', '<div class="wide">', chart({ ...common, title: 'Jobs a second', unit: 'jobs/s', lines: [{ label: 'acknowledged', values: series.acknowledged, colour: '--a' }, { label: 'results verified by clients', values: series.finals, colour: '--c' }, { label: 'failed requests', values: series.errors, colour: '--b', dash: true }] }),
      chart({ ...common, title: 'From acknowledgement to verified result', unit: 'ms', lines: [{ label: 'median', values: series.p50, colour: '--a' }, { label: '95th percentile', values: series.p95, colour: '--b', dash: true }] }),
      chart({ ...common, title: 'Jobs acknowledged and not over', unit: 'jobs', lines: [{ label: 'open', values: series.open, colour: '--a' }] }), '</div>'),
    section('Figures', figures(report)),
    ...(report.failover ? [section('Failing over, phase by phase', phases(report, 'failover')), section('Failing back', phases(report, 'failback'))] : []),
    section('Who asked for keys', say('Each requester spoke to the real broker. It is the good one with one thing wrong; the codes are the broker\'s.'), table(['requester', 'cell', 'expected', 'actual', 'codes', ''], released)),
    ...(report.typed.length === 0 ? [] : [section('By the runbook', table(['after', 'runbook', 'command', 'took', 'exit'], report.typed.map(({ at, runbook, command, exit, seconds: took }) => [seconds(at), runbook, { html: `<code>${escape(command)}</code>` }, seconds(took), String(exit)]), [0, 3, 4]))]),
    section('Violations', report.violationCount === 0 ? say('The auditor, which knows the specification and this history only, found none.') : table(['kind', 'what', 'tenant', 'cell'], report.violations.map(({ kind, what, tenant = '', cell = '' }) => [kind, what, tenant, cell])),
      ...(report.missed.length === 0 ? [] : [say('Not seen, or not in time:'), table(['what'], report.missed.map((one) => [one]))])),
    section('Evidence', table(['', ''], [
      ['seed', String(report.seed)], ['history', { html: `${report.evidence.events} events, SHA-256 <code class="mono">${escape(report.evidence.historySha256)}</code>` }], ['epoch leases', `${report.evidence.leaseSeconds} s`], ['bounds', `sync: ${report.bounds.sync.rtoSeconds} s, ${report.bounds.sync.rpoSeconds} s of loss; async: ${report.bounds.async.rtoSeconds} s, ${report.bounds.async.rpoSeconds} s (modules/environments.ts)`],
      ...report.evidence.machine, ['signed with', { html: `<code class="mono">${escape(key)}</code>, the owner's key of this drill's deployment` }],
      ...(anchors.length === 0 ? [] : [['in the audit log', { html: `${anchors.map(({ cell, seq, hash }) => `chain ${escape(cell)}, entry ${seq}, <code>${escape(hash.slice(0, 16))}</code>`).join('<br>')}` }] as const]),
    ]), `<details><summary>The report as signed (JWS)</summary><p class="mono">${escape(jws)}</p></details>`),
  ];
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>${escape(`Drill ${report.scenario}, seed ${report.seed}`)}</title><style>${STYLE}</style></head><body>${body.join('\n')}</body></html>\n`;
}

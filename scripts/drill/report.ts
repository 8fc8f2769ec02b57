/** The report of one drill: what the auditor judged, what was measured, on what; as a document, and signed. */
import { TIERS } from '../../modules/environments.ts';
import { signJws } from '../../workloads/protocol/jws.ts';
import { load, machine } from '../bench/machine.ts';
import { audit, type Bounds, type Verdict } from './auditor.ts';
import type { DrillRecord } from './drill.ts';
import type { EventOf, HistoryEvent, Requester } from './history.ts';
import type { Scenario } from './scenarios.ts';
import { normalAgain, rateBetween, type Series, seriesOf } from './series.ts';

export const REPORT_TYPE = 'ccc-drill-report+jws';
export const NOTICE = 'Simulated TEEs, three cells on one machine: the processes, sockets, databases and attestation checks are real, the clouds and their hardware are not. It proves nothing about hardware or about distances between clouds.';
/** One table for stacks and drills: modules/environments.ts. */
export const BOUNDS: Bounds = { sync: TIERS.sync, async: TIERS.async };
const MOST_VIOLATIONS = 200;

export interface MatrixRow { readonly cell: string; readonly requester: Requester; readonly expected: 'released' | 'denied'; readonly released: number; readonly denied: number; readonly codes: readonly string[] }

export interface Report {
  readonly v: 'ccc-drill-report/v1';
  readonly ok: boolean;
  readonly notice: string;
  readonly scenario: string;
  readonly title: string;
  /** What was really done. */
  readonly what: string;
  readonly failover: boolean;
  /** What was seen of the hurt from outside. */
  readonly felt: string;
  /** Lines of runbooks that were typed: seconds after the beginning, exit code, how long it took. */
  readonly typed: readonly { readonly at: number; readonly runbook: string; readonly command: string; readonly exit: number; readonly seconds: number }[];
  readonly seed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly falseReleases: number;
  readonly rpo: Verdict['rpo'];
  /** `firstAccepted`, `latencyNormal` (absent: not until the end) and the phases, beside the total: seconds. */
  readonly rtoSeconds: Verdict['rtoSeconds'] & { readonly firstAccepted?: number; readonly latencyNormal?: number };
  readonly bounds: Bounds;
  readonly verdict: Omit<Verdict, 'ok' | 'violations' | 'rpo' | 'rtoSeconds' | 'releases' | 'lost' | 'duplicated' | 'falseReleases'>;
  readonly violations: readonly Verdict['violations'][number][];
  readonly violationCount: number;
  /** Steps that did not come about in time, answers that were not got: no violation by themselves, and no success either. */
  readonly missed: readonly string[];
  readonly throughput: { readonly before: number; readonly after: number };
  readonly queuePeak: number;
  readonly lag: { readonly mostBytes: number; readonly mostSeconds: number };
  readonly alarms: readonly string[];
  readonly releases: readonly MatrixRow[];
  readonly chains: { readonly audit: readonly { readonly chain: string; readonly entries: number; readonly stores: number; readonly head: string; readonly same: boolean }[]; readonly receiptChains: number; readonly receipts: number };
  readonly residency: { readonly tenant: string; readonly allowed: readonly string[]; readonly jobs: number; readonly elsewhere: number; readonly waitedSeconds?: number };
  readonly phases: readonly { readonly direction: string; readonly phase: string; readonly cell: string; readonly seconds: number; readonly detail?: string }[];
  readonly evidence: { readonly began: string; readonly seconds: number; readonly historySha256: string; readonly events: number; readonly leaseSeconds: number; readonly machine: readonly (readonly [string, string])[] };
}

const ofKind = <K extends HistoryEvent['kind']>(history: readonly HistoryEvent[], kind: K): EventOf<K>[] => history.filter((one): one is EventOf<K> => one.kind === kind);

export function matrixOf(history: readonly HistoryEvent[]): MatrixRow[] {
  const groups = Map.groupBy(ofKind(history, 'release'), ({ cell, requester, expected }) => `${cell} ${requester} ${expected}`);
  return [...groups.values()].map((list) => {
    const { cell, requester, expected } = list[0] as EventOf<'release'>;
    const released = list.filter(({ actual }) => actual === 'released').length;
    return { cell, requester, expected, released, denied: list.length - released, codes: [...new Set(list.flatMap(({ code }) => code ?? []))] };
  });
}

/** Chains as the stores hold them at the end: for each, how many stores have it and whether they have the same. */
function chainsOf(history: readonly HistoryEvent[]): Report['chains'] {
  const entries = Map.groupBy(ofKind(history, 'audit-entry'), ({ chain }) => chain);
  const receipts = ofKind(history, 'receipt');
  return {
    audit: [...entries].map(([chain, list]) => {
      const stores = [...Map.groupBy(list, ({ store }) => store).values()].map((own) => own.reduce((a, b) => (b.seq > a.seq ? b : a)));
      const longest = stores.reduce((a, b) => (b.seq > a.seq ? b : a));
      return { chain, entries: longest.seq, stores: stores.length, head: longest.hash, same: stores.every(({ hash }) => hash === longest.hash) };
    }),
    receiptChains: new Set(receipts.map(({ instance }) => instance)).size, receipts: new Set(receipts.map(({ instance, seq }) => `${instance} ${seq}`)).size,
  };
}

function residencyOf(history: readonly HistoryEvent[], hurt: number): Report['residency'] {
  const tenant = 'resident';
  const mine = (one: { tenant: string }): boolean => one.tenant === tenant;
  const allowed = ofKind(history, 'tenant').find(mine)?.cells ?? [];
  const finals = ofKind(history, 'final').filter(mine);
  const first = finals.map(({ at }) => at).filter((at) => at > hurt).sort((a, b) => a - b)[0];
  return { tenant, allowed, jobs: finals.length, elsewhere: finals.filter(({ cell }) => !allowed.includes(cell)).length, ...(first === undefined ? {} : { waitedSeconds: (first - hurt) / 1000 }) };
}

export interface Judged { readonly report: Report; readonly series: Series }

export function judge(scenario: Scenario, seed: number, drill: DrillRecord): Judged {
  const history = drill.recorder.events;
  const verdict = audit(history, BOUNDS);
  const series = seriesOf(history, drill.began);
  const { marks } = drill;
  const at = (name: string): number => marks[name] ?? Number.NaN;
  const second = (name: string): number => (at(name) - drill.began) / 1000;
  const hurt = at('hurt');
  const hurtCell = ofKind(history, 'hurt')[0]?.cell;
  const affected = new Set(ofKind(history, 'tenant').filter(({ cells }) => cells[0] === hurtCell && cells.length > 1).map(({ tenant }) => tenant));
  const firstAccepted = ofKind(history, 'acknowledged').find((one) => one.at > hurt && affected.has(one.tenant) && (!scenario.failover || one.cell !== hurtCell))?.at;
  // Not before anything was counted again: what ended right after the hurt had begun before it.
  const again = verdict.rtoSeconds.total;
  const since = again === undefined ? undefined : normalAgain(series, { from: second('baseline') + 3, to: second('hurt') }, second('hurt') + again);
  const latencyNormal = since === undefined || again === undefined ? undefined : again + since;
  const { violations, rpo, rtoSeconds, lost, duplicated, falseReleases, ok, releases: _, ...rest } = verdict;
  const most = (values: readonly (number | undefined)[]): number => values.reduce<number>((m, v) => Math.max(m, v ?? 0), 0);
  const missed = [
    ...drill.missed, ...drill.unasked.map(({ cell, requester, why }) => `${requester} could not ask at ${cell}: ${why}`),
    ...Object.entries(Object.groupBy(drill.refused, ({ code }) => code)).map(([code, list]) => `${list?.length ?? 0} results that a client refused or that held nothing: ${code}`),
  ];
  const last = (history.at(-1) as EventOf<'end'> | undefined)?.at ?? drill.began;
  const report: Report = {
    v: 'ccc-drill-report/v1', ok: ok && missed.length === 0, notice: NOTICE, scenario: scenario.name, title: scenario.title, what: scenario.what, failover: scenario.failover, felt: drill.felt, typed: drill.typed.map((one) => ({ ...one, at: (one.at - drill.began) / 1000 })), seed,
    lost, duplicated, falseReleases, rpo,
    rtoSeconds: { ...rtoSeconds, ...(firstAccepted === undefined ? {} : { firstAccepted: (firstAccepted - hurt) / 1000 }), ...(latencyNormal === undefined ? {} : { latencyNormal }) },
    bounds: BOUNDS, verdict: rest, violations: violations.slice(0, MOST_VIOLATIONS), violationCount: violations.length, missed,
    throughput: { before: rateBetween(history, 'final', at('baseline') + 3_000, hurt), after: rateBetween(history, 'final', at('recovered'), at('healed')) },
    queuePeak: most(series.open), lag: { mostBytes: most(drill.lags.map(({ bytes }) => bytes)), mostSeconds: most(drill.lags.filter(({ at: time }) => time < hurt).map(({ seconds }) => seconds)) },
    alarms: [...new Set(drill.alarms.map(({ cell, alarm }) => `${cell}: ${alarm}`))], releases: matrixOf(history), chains: chainsOf(history), residency: residencyOf(history, hurt),
    phases: ofKind(history, 'phase').map(({ direction, phase, cell, from, at: to, detail }) => ({ direction, phase, cell, seconds: (to - from) / 1000, ...(detail === undefined ? {} : { detail }) })),
    evidence: { began: new Date(drill.began).toISOString(), seconds: (last - drill.began) / 1000, historySha256: drill.digest, events: history.length, leaseSeconds: drill.leaseSeconds, machine: [...machine(drill.postgres), ['load average at the end', load()]] },
  };
  return { report, series };
}

/** Compact JWS over the whole document, by the key of the deployment's owner. */
export const signReport = (report: Report, key: CryptoKey): Promise<string> => signJws(REPORT_TYPE, report, key);

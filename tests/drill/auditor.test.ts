import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { audit } from '../../scripts/drill/auditor.ts';
import { VIOLATIONS } from '../../scripts/drill/auditor-index.ts';
import { type HistoryEvent, line, parseHistory } from '../../scripts/drill/history.ts';
import { BOUNDS, changed, clean, END, FENCED, HURT, SHAPE, withLines, without } from './auditor-histories.ts';

const kinds = (history: readonly HistoryEvent[]): string[] => [...new Set(audit(history, BOUNDS).violations.map(({ kind }) => kind))];
const of = (job: string) => (one: HistoryEvent): boolean => 'job' in one && one.job === job;
const GOOD = clean();
/** A job of bank (sync) counted by a, of bank counted by b, of zoo (async) counted by a. */
const [BANK_A, BANK_B, ZOO_A] = ['j0', 'j4', 'j7'];

describe('a history in which all went well', () => {
  it('has no violation, and its figures are those of its lines', () => {
    const verdict = audit(GOOD, BOUNDS);
    expect(verdict.violations).toEqual([]);
    expect(verdict).toMatchObject({
      ok: true, lost: 0, duplicated: 0, superseded: 0, falseReleases: 0, falseDenials: 0, residencyBreaches: 0, drift: [],
      counts: { acknowledged: 14, resubmitted: 0, final: 14, results: 28, usage: 28 },
      fencedWrites: { accepted: 0, refused: 2 },
      rpo: { jobs: 0, seconds: 0 },
      failbackSeconds: { drain: 0.5 },
      client: { requests: 14, errors: {}, p50: 5, p99: 5 },
    });
    expect(verdict.rtoSeconds).toMatchObject({ detect: 1, decide: 1, fence: 1, promote: 1, attest: 1, release: 1 });
    expect(verdict.rtoSeconds.total).toBeGreaterThan((FENCED - HURT) / 1000);
    expect(verdict.rtoSeconds.total).toBe(verdict.rtoSeconds.sync);
    expect(verdict.releases).toContainEqual({ requester: 'debug', expected: 'denied', released: 0, denied: 2 });
  });

  it('with a revoked image: how long its last session went on, and keys given before that and after it counts again, or elsewhere, are none of it', () => {
    const { violations, revocations } = audit(withLines(GOOD, ...REVOKED, keyAt(200_500), keyAt(300_001), keyAt(250_000, 'b')), BOUNDS);
    expect([violations, revocations]).toEqual([[], [{ cell: 'a', seconds: 1, releasesAfter: 0 }]]);
  });

  it('passes whatever its size', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.boolean(), (tenants, before, after, sync) => {
      const history = clean({ tenants: Array.from({ length: tenants }, (_, n) => ({ tenant: `t${n}`, tier: sync !== (n % 2 === 0) ? 'sync' : 'async' })), before, after });
      expect(audit(history, BOUNDS).violations).toEqual([]);
    }), { numRuns: 40 });
  });

  it('reads as it was written', () => {
    expect(parseHistory(GOOD.map(line).join(''))).toEqual(GOOD);
    expect(() => parseHistory(`${line({ kind: 'end', at: 1 })}{"kind":"end"}\n`)).toThrow(/^line 2 .*at/);
    expect(() => parseHistory('{"kind"')).toThrow(/^line 1 .*no JSON/);
    expect(() => parseHistory(line({ kind: 'release', at: 1, tenant: 't', cell: 'a', requester: 'debug', expected: 'released', actual: 'released' }))).toThrow(/good requester/);
  });
});

const ack = { kind: 'acknowledged', tenant: 'bank', job: 'new', cell: 'b', epoch: 2, at: 200_000 } as const;
const acceptedBy = (cell: string, epoch: number, at: number): HistoryEvent => ({ kind: 'write', from: at, at, tenant: 'bank', job: 'x', cell, epoch, op: 'accept', accepted: true });
const row = { tenant: 'bank', job: BANK_A, cell: 'a', epoch: 1 };
const result = { kind: 'result-row', store: 'a', ...row, outcome: 'completed', digest: `of ${BANK_A}`, standing: false } as const;
const changeRow = (job: string, store: string, change: object): HistoryEvent[] => changed(GOOD, 'result-row', (one) => one.job === job && one.store === store, change);
/** Acknowledged by a just before the hurt, absent at the fence, and sent again afterwards. */
const unreplicated = (job: string, at: number): HistoryEvent[] => changed(
  GOOD.map((one) => (one.kind === 'stored' ? { ...one, jobs: one.jobs.filter((each) => each !== job) } : one)),
  'acknowledged', (one) => one.job === job, { at });

/** a's image is revoked, its last session ends a second later. */
const REVOKED: HistoryEvent[] = [{ kind: 'revoked', from: 200_000, at: 201_000, cell: 'a', code: 'SESSION_EXPIRED' }, { kind: 'reinstated', at: 300_000, cell: 'a' }];
const keyAt = (at: number, cell = 'a'): HistoryEvent => ({ kind: 'write', from: at, at, tenant: 'bank', job: 'x', cell, epoch: 1_000, op: 'release', accepted: true });

const PLANTED: readonly (readonly [name: string, kind: (typeof VIOLATIONS)[number], history: HistoryEvent[]])[] = [
  ['a key after the last session of a revoked image had ended', 'false-release', withLines(GOOD, ...REVOKED, keyAt(201_001))],
  ['no beginning', 'incomplete', GOOD.slice(1)],
  ['no end', 'incomplete', GOOD.slice(0, -1)],
  ['a line after the end', 'incomplete', [...GOOD, { kind: 'healed', at: END + 1, cell: 'a' }]],
  ['a cell that nobody introduced', 'incomplete', withLines(GOOD, { kind: 'healed', at: 5, cell: 'z' })],
  ['a tenant that nobody introduced', 'incomplete', withLines(GOOD, { kind: 'resubmitted', at: 5, tenant: 'none', job: 'j', cell: 'a' })],
  ['what was stored at an unknown fence', 'incomplete', withLines(GOOD, { kind: 'stored', fence: 'f9', tenant: 'bank', jobs: [] })],
  ['a run of which nobody was told anything', 'incomplete', [...GOOD.slice(0, 6), { kind: 'end', at: END }]],
  ['no store was read', 'incomplete', without(GOOD, ({ kind }) => kind.endsWith('-row') || kind === 'receipt')],
  ['an acknowledged job of which nothing more is heard', 'lost', withLines(GOOD, ack)],
  ['a job of tier async, acknowledged again after the fence that lacked it', 'lost', withLines(
    without(unreplicated(ZOO_A, HURT - 29_000), (one) => of(ZOO_A)(one) && one.kind !== 'acknowledged' && one.kind !== 'receipt'), { ...ack, tenant: 'zoo', job: ZOO_A })],
  ['two usage rows', 'duplicated', withLines(GOOD, { kind: 'usage-row', store: 'b', ...row, cell: 'b', epoch: 2 })],
  ['two results that stand', 'duplicated', withLines(changeRow(BANK_B, 'a', {}), { ...result, job: BANK_B, cell: 'a', epoch: 1, standing: true })],
  ['a result without a usage row', 'unbilled', without(GOOD, (one) => one.kind === 'usage-row' && one.job === BANK_A && one.store === 'b')],
  ['another result stands elsewhere', 'diverged', changeRow(BANK_B, 'b', { epoch: 3, digest: 'again' })],
  ['a store where a finished job is open', 'diverged', changed(without(GOOD, (one) => one.kind === 'result-row' && one.job === BANK_A && one.store === 'b'), 'job-row', (one) => one.job === BANK_A && one.store === 'b', { state: 'accepted' })],
  ['the result of a lower epoch stands', 'standing', ['a', 'b'].reduce((history, store) => withLines(history, { ...result, store, epoch: 2, cell: 'b', digest: 'higher' }), GOOD)],
  ['of one epoch, the cell that comes first stands', 'standing', ['a', 'b'].reduce((history, store) => withLines(history, { ...result, store, cell: 'b', digest: 'higher' }), GOOD)],
  ['a job with a result is still leased', 'standing', changed(GOOD, 'job-row', (one) => one.job === BANK_A, { state: 'leased' })],
  ['a client read another result than is stored', 'altered', changed(GOOD, 'final', (one) => one.job === BANK_A, { digest: 'other' })],
  ['two stores have two results of one cell', 'altered', changeRow(BANK_A, 'b', { digest: 'other' })],
  ['one result, two outcomes', 'altered', changed(GOOD, 'final', (one) => one.job === BANK_A, { outcome: 'rejected' })],
  ['a write accepted after another cell has a higher epoch', 'fenced-write', withLines(GOOD, acceptedBy('a', 1, 150_000))],
  ['one epoch held by two cells', 'split-epoch', withLines(GOOD, { kind: 'held', at: 150_000, tenant: 'bank', cell: 'a', epoch: 2 })],
  ['a lower epoch held after a higher one', 'split-epoch', withLines(GOOD, { kind: 'held', at: 150_000, tenant: 'bank', cell: 'a', epoch: 1 })],
  ...(['unattested', 'wrong-measurement', 'debug', 'stale', 'replayed', 'wrong-region', 'fenced', 'revoked', 'node-scope', 'good'] as const).map((requester) =>
    [`a key for a requester that may have none: ${requester}`, 'false-release', withLines(GOOD, { kind: 'release', at: 9, tenant: 'bank', cell: 'b', requester, expected: 'denied', actual: 'released' })] as const),
  ['a good requester denied', 'false-denial', withLines(GOOD, { kind: 'release', at: 9, tenant: 'bank', cell: 'b', requester: 'good', expected: 'released', actual: 'denied' })],
  ['a key outside the residency', 'residency', withLines(GOOD, { kind: 'key', at: 9, tenant: 'bank', cell: 'c' })],
  ['ciphertext outside the residency', 'residency', withLines(GOOD, { kind: 'ciphertext', at: 9, tenant: 'bank', cell: 'c', jobs: 1 })],
  ['a key released outside the residency', 'residency', withLines(GOOD, { kind: 'release', at: 9, tenant: 'bank', cell: 'c', requester: 'good', expected: 'released', actual: 'released' })],
  ['a job acknowledged outside the residency', 'residency', changed(GOOD, 'acknowledged', (one) => one.job === BANK_B, { cell: 'c' })],
  ['an epoch outside the residency', 'residency', withLines(GOOD, { kind: 'held', at: 900_000, tenant: 'bank', cell: 'c', epoch: 3 })],
  ['a write outside the residency', 'residency', withLines(GOOD, acceptedBy('c', 1, 9))],
  ['a job counted outside the residency', 'residency', ['a', 'b'].reduce((history, store) => changed(history, 'result-row', (one) => one.job === BANK_A && one.store === store, { cell: 'c' }), GOOD)],
  ['a receipt is missing', 'receipt-chain', without(GOOD, (one) => one.kind === 'receipt' && one.store === 'b' && one.seq === 3).map((one) => (one.kind === 'receipt' && one.store === 'b' && one.seq === 4 ? { ...one, job: 'j2' } : one))
    .filter((one) => !(one.kind === 'result-row' && one.store === 'b' && one.job === 'j3') && !(one.kind === 'job-row' && one.store === 'b' && one.job === 'j3'))],
  ['a receipt that follows another one', 'receipt-chain', changed(GOOD, 'receipt', (one) => one.store === 'b' && one.seq === 3, { prev: 'r1' })],
  ['two different receipts of one number', 'receipt-chain', changed(GOOD, 'receipt', (one) => one.store === 'b' && one.seq === 14, { hash: 'other' })],
  ['a job counted without a receipt', 'receipt-missing', changed(GOOD, 'receipt', (one) => one.store === 'b' && one.seq === 1, { job: 'other' })],
  ['an audit entry is missing', 'audit-chain', without(GOOD, (one) => one.kind === 'audit-entry' && one.store === 'a' && one.seq === 5)],
  ['an audit entry that follows another one', 'audit-chain', changed(GOOD, 'audit-entry', (one) => one.seq === 5, { prev: 'e1' })],
  ['the end of the audit chain is missing', 'audit-chain', without(GOOD, (one) => one.kind === 'audit-entry' && one.store === 'a' && one.seq === 14)],
  ['an audit chain that became shorter', 'audit-chain', withLines(GOOD, { kind: 'audit-head', at: 900_000, chain: 'a', store: 'a', size: 5, head: 'e5' })],
  ['two heads of one size', 'audit-chain', withLines(GOOD, { kind: 'audit-head', at: 900_000, chain: 'c', store: 'a', size: 5, head: 'x' }, { kind: 'audit-head', at: 900_001, chain: 'c', store: 'b', size: 5, head: 'y' })],
  ['a head that its entries do not have', 'audit-chain', withLines(GOOD, { kind: 'audit-head', at: 900_000, chain: 'a', store: 'b', size: 5, head: 'x' })],
  ['a standby done without in silence', 'silent-degrade', withLines(GOOD, { kind: 'mode', at: 150_000, cell: 'a', degraded: true, alarm: false })],
  ['a job of tier sync absent where it went on', 'rpo', unreplicated(BANK_A, HURT - 1_000)],
  ['tier async beyond its bound', 'rpo', unreplicated(ZOO_A, HURT - 31_000)],
  ['nothing completed after the hurt', 'rto', withLines(GOOD, { kind: 'hurt', at: 900_000, cell: 'b', what: 'pause', failover: true }, { kind: 'resubmitted', at: 900_001, tenant: 'bank', job: BANK_A, cell: 'b' })],
  ['too long until the first completed job', 'rto', GOOD.map((one) => (one.kind === 'hurt' ? { ...one, at: HURT - 51_000 } : one))],
];

describe('one planted violation is found, and only that one', () => {
  it.each(PLANTED)('%s: %s', (_, kind, history) => expect(kinds(history)).toEqual([kind]));

  it('of each kind there is one', () => expect(new Set(PLANTED.map(([, kind]) => kind))).toEqual(new Set(VIOLATIONS)));
});

describe('what is none', () => {
  it.each<readonly [string, HistoryEvent[], object]>([
    ['a job of tier async that was not replicated, within the bound', unreplicated(ZOO_A, HURT - 29_000), { rpo: { jobs: 1, seconds: 29, tiers: { async: { jobs: 1, seconds: 29 }, sync: { jobs: 0 } } } }],
    ['a job that the cell which takes over acknowledged while other tenants were still moving', changed(GOOD, 'acknowledged', (one) => one.job === BANK_B, { at: FENCED - 1 }), { rpo: { jobs: 0 } }],
    ['one that never comes back', without(unreplicated(ZOO_A, HURT - 29_000), (one) => of(ZOO_A)(one) && one.kind !== 'acknowledged' && one.kind !== 'receipt'), { lost: 0, rpo: { jobs: 1 } }],
    ['a job of tier sync while degraded with an alarm', withLines(unreplicated(BANK_A, HURT - 1_000), { kind: 'mode', at: HURT - 2_000, cell: 'a', degraded: true, alarm: true }), { rpo: { jobs: 1, tiers: { sync: { jobs: 0 }, async: { jobs: 1 } } } }],
    ['a superseded result', ['a', 'b'].reduce((history, store) => withLines(history, { ...result, store, epoch: 0, digest: 'before' }), GOOD), { superseded: 1 }],
    ['a refused write of a fenced cell', withLines(GOOD, { ...acceptedBy('a', 1, 150_000), accepted: false } as HistoryEvent), { fencedWrites: { accepted: 0, refused: 3 } }],
    ['a write begun before the fence', withLines(GOOD, { ...acceptedBy('a', 1, 150_000), from: HURT } as HistoryEvent), { fencedWrites: { accepted: 0 } }],
    ['a good requester denied as the policy says', withLines(GOOD, { kind: 'release', at: 9, tenant: 'bank', cell: 'b', requester: 'good', expected: 'denied', actual: 'denied' }), { falseDenials: 0 }],
    ['a job counted that no client fetched', without(GOOD, (one) => one.kind === 'final' && one.job === BANK_A), { lost: 0, counts: { final: 13 } }],
    ['a lack that a fence has counted already', withLines(unreplicated(ZOO_A, HURT - 29_000), { kind: 'fence', at: 900_000, fence: 'f2', source: 'b', cell: 'a', tenants: ['zoo'] }, { kind: 'stored', fence: 'f2', tenant: 'zoo', jobs: ['j8', 'j9', 'j10', 'j11', 'j12', 'j13'] }), { rpo: { jobs: 1 } }],
    ['another policy in one cell is drift, to be reported', withLines(GOOD, { kind: 'configuration', cell: 'c', item: 'policy', digest: 'q' }), { drift: ['policy'] }],
    ['errors that clients saw', withLines(GOOD, { kind: 'request', at: 9, ms: 9_000, tenant: 'bank', cell: 'a', op: 'submit', code: 'EPOCH_EXPIRED' }), { client: { requests: 15, errors: { EPOCH_EXPIRED: 1 }, p99: 5 } }],
    ['a cell hurt that nobody uses', withLines(GOOD, { kind: 'hurt', at: 900_000, cell: 'c', what: 'kill', failover: true }), {}],
    ['a cell hurt that recovers by itself', GOOD.map((one) => (one.kind === 'hurt' ? { ...one, failover: false } : one)), {}],
  ])('%s', (_, history, figures) => {
    const verdict = audit(history, BOUNDS);
    expect(verdict.violations).toEqual([]);
    expect(verdict).toMatchObject(figures);
  });
});

describe('properties', () => {
  const middle = GOOD.slice(1, -1);

  it('lines are judged by their times, not by their places', () => {
    fc.assert(fc.property(fc.shuffledSubarray(middle, { minLength: middle.length }), (shuffled) => {
      const verdict = audit([GOOD[0] as HistoryEvent, ...shuffled, GOOD.at(-1) as HistoryEvent], BOUNDS);
      const expected = audit(GOOD, BOUNDS);
      expect({ ...verdict, releases: [] }).toEqual({ ...expected, releases: [] });
      expect(new Set(verdict.releases)).toEqual(new Set(expected.releases));
    }), { numRuns: 30 });
  });

  it('whichever jobs vanish, those and no others are lost', () => {
    const jobs = middle.flatMap((one) => (one.kind === 'acknowledged' ? [one.job] : []));
    fc.assert(fc.property(fc.subarray(jobs), (gone) => {
      const { violations, lost } = audit(without(GOOD, (one) => gone.some((job) => of(job)(one)) && one.kind !== 'acknowledged' && one.kind !== 'receipt'), BOUNDS);
      expect(lost).toBe(gone.length);
      expect(new Set(violations.filter(({ kind }) => kind === 'lost').map(({ job }) => job))).toEqual(new Set(gone));
    }), { numRuns: 40 });
  });

  it('whatever is in a history, it is judged', () => {
    fc.assert(fc.property(fc.subarray(GOOD), (some) => {
      const { ok, violations } = audit(some, BOUNDS);
      expect(ok).toBe(violations.length === 0);
      expect(violations.every(({ kind }) => VIOLATIONS.includes(kind))).toBe(true);
    }), { numRuns: 60 });
  });

  it('SHAPE is what the names of jobs above rely on', () => expect(SHAPE).toMatchObject({ before: 4, after: 3 }));
});

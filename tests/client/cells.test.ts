/** Moving between cells: the pure choice, and the API that follows it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../workloads/client/api.ts';
import { createCellsApi } from '../../workloads/client/cells.ts';
import { afterAnswer, cellsOf, type CellOutcome, LONGEST_PAUSE_MS, nextCell, startCells } from '../../workloads/client/cells-core.ts';
import type { CellDirectory } from '../../workloads/protocol/owner.ts';

const directory = {
  revision: 1, notAfter: 9_999_999_999, deployment: 'test',
  cells: ['aws', 'azure', 'gcp'].map((name) => ({ name, cloud: 'local' as const, region: 'r', url: `http://${name}.example`, configDigest: 'aa'.repeat(32), epoch: 1 })),
  tenants: [{ tenant: 'acme', order: ['azure', 'aws'], tier: 'sync' }, { tenant: '*', order: ['gcp', 'aws', 'azure'], tier: 'async' }],
} satisfies CellDirectory;

describe('the next cell', () => {
  it('follows the tenant\'s order, else that of every tenant, else the directory', () => {
    expect(cellsOf(directory, 'acme').map(({ name }) => name)).toEqual(['azure', 'aws']);
    expect(cellsOf(directory, 'other').map(({ name }) => name)).toEqual(['gcp', 'aws', 'azure']);
    const { tenants: _, ...bare } = directory;
    expect(cellsOf(bare, 'acme')).toEqual(['aws', 'azure', 'gcp'].map((name) => ({ name, url: `http://${name}.example` })));
  });

  it('stays with a cell that answers, leaves one that does not, and comes back to it only when the others are no better', () => {
    let state = startCells(['aws', 'azure', 'gcp']);
    expect(nextCell(state, 0)).toEqual({ cell: 'aws', waitMs: 0 });
    state = afterAnswer(state, 'aws', { kind: 'down' }, 0);
    expect(nextCell(state, 0).cell).toBe('azure');
    state = afterAnswer(state, 'azure', { kind: 'ok' }, 0);
    expect(nextCell(state, 60_000)).toEqual({ cell: 'azure', waitMs: 0 });
  });

  it('goes to the cell that another one names, unless it just failed there', () => {
    const named = afterAnswer(startCells(['aws', 'azure', 'gcp']), 'aws', { kind: 'elsewhere', cell: 'gcp' }, 0);
    expect(nextCell(named, 0)).toEqual({ cell: 'gcp', waitMs: 0 });
    const both = afterAnswer(afterAnswer(named, 'gcp', { kind: 'down' }, 0), 'azure', { kind: 'elsewhere', cell: 'gcp' }, 0);
    expect(nextCell(both, 0).waitMs).toBeGreaterThan(0);
  });

  it('ignores a name that the owner\'s order does not have', () => {
    expect(afterAnswer(startCells(['aws', 'azure']), 'aws', { kind: 'elsewhere', cell: 'evil' }, 0).preferred).toBe('aws');
  });

  it('always names a cell of the order, never waits longer than the longest pause, and reaches every cell that others do not hide', () => {
    const order = ['aws', 'azure', 'gcp'] as const;
    const outcome: fc.Arbitrary<CellOutcome> = fc.oneof(
      fc.constant({ kind: 'ok' as const }), fc.record({ kind: fc.constant('down' as const), retryAfterMs: fc.option(fc.nat(1_000_000), { nil: undefined }) }),
      fc.record({ kind: fc.constant('elsewhere' as const), cell: fc.constantFrom(...order, 'nobody') }),
    );
    fc.assert(fc.property(fc.array(fc.tuple(outcome, fc.nat(5_000)), { maxLength: 60 }), (answers) => {
      let [state, now] = [startCells(order), 0];
      for (const [answer, pause] of answers) {
        const { cell, waitMs } = nextCell(state, now);
        expect(order).toContain(cell);
        expect(waitMs).toBeLessThanOrEqual(LONGEST_PAUSE_MS);
        now += waitMs;
        state = afterAnswer(state, cell, answer, now);
        now += pause;
      }
      // From any state: if two are dead, the third is found within a few tries.
      for (const living of order) {
        let [mine, at, tries] = [state, now, 0];
        for (; tries < 20; tries++) {
          const { cell, waitMs } = nextCell(mine, at);
          at += waitMs;
          if (cell === living) break;
          mine = afterAnswer(mine, cell, { kind: 'down' }, at);
        }
        expect(tries).toBeLessThan(20);
      }
    }), { numRuns: 300 });
  });
});

const JOB = { job_id: '6f1c0f2e-2f0b-4c8e-9d0a-0a3f6a1f2b11', state: 'accepted', message_digest: 'ab'.repeat(32), size: 3, accepted_at: 1, attempts: 0 };
const problem = (status: number, code: string, need?: string): Response => new Response(JSON.stringify({
  type: 'about:blank', title: code, status, code, ...(need === undefined ? {} : { reasons: [{ code, path: 'epoch', need, next: 'Go there.' }] }),
}), { status, headers: { 'content-type': 'application/problem+json' } });

/** Answers by cell, with all requests recorded. */
function cells(answers: Record<string, () => Response>) {
  const asked: { cell: string; body: string }[] = [];
  let clock = 0;
  const api = createCellsApi({
    directory, tenant: 'other', apiKey: 'k', patienceMs: 30_000, now: () => clock, sleep: async (ms) => { clock += ms; },
    fetch: async (input, init) => {
      const cell = new URL(String(input)).hostname.split('.')[0] as string;
      asked.push({ cell, body: init?.body === undefined ? '' : Buffer.from(init.body as Uint8Array).toString('hex') });
      clock += 1;
      return (answers[cell] as () => Response)();
    },
  });
  return { api, asked };
}
const refused = (): never => { throw new TypeError('fetch failed'); };
const taken = (): Response => new Response(JSON.stringify(JOB), { status: 202 });

describe('the API of several cells', () => {
  it('moves on by itself when a cell is gone, with the same bytes, and stays where it was answered', async () => {
    const { api, asked } = cells({ gcp: refused, aws: taken, azure: refused });
    await api.submit(Uint8Array.of(1, 2, 3));
    await api.submit(Uint8Array.of(4, 5, 6));
    expect(asked).toEqual([{ cell: 'gcp', body: '010203' }, { cell: 'aws', body: '010203' }, { cell: 'aws', body: '040506' }]);
    expect(api.cell()).toBe('aws');
  });

  it('goes where a fenced cell says', async () => {
    const { api, asked } = cells({ gcp: () => problem(409, 'EPOCH_FENCED', 'azure'), aws: refused, azure: taken });
    await api.submit(Uint8Array.of(1));
    expect(asked.map(({ cell }) => cell)).toEqual(['gcp', 'azure']);
  });

  it.each(['EPOCH_ABSENT', 'EPOCH_EXPIRED', 'LEDGER_UNAVAILABLE', 'STORE_FULL'])('tries again and again while no cell can (%s), until one can', async (code) => {
    let left = 7;
    const no = () => problem(code === 'STORE_FULL' ? 507 : 503, code);
    const { api } = cells({ gcp: no, aws: () => (left-- > 0 ? no() : taken()), azure: no });
    expect((await api.submit(Uint8Array.of(1))).job_id).toBe(JOB.job_id);
  });

  it('gives up when its patience ends, with the last refusal', async () => {
    const { api, asked } = cells({ gcp: () => problem(503, 'EPOCH_ABSENT'), aws: refused, azure: refused });
    await expect(api.job(JOB.job_id)).rejects.toThrow(ApiError);
    expect(new Set(asked.map(({ cell }) => cell))).toEqual(new Set(['gcp', 'aws', 'azure']));
  });

  it('does not ask elsewhere what would be refused there as well', async () => {
    const { api, asked } = cells({ gcp: () => problem(409, 'JOB_CONFLICT'), aws: taken, azure: taken });
    await expect(api.submit(Uint8Array.of(1))).rejects.toMatchObject({ code: 'JOB_CONFLICT' });
    expect(asked).toHaveLength(1);
  });
});

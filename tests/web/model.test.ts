/** The page's state: what a refusal does to the steps, and how the client's reports become steps. */
import { describe, expect, it } from 'vitest';
import { Refusal } from '../../attestation/refusal.ts';
import { ApiError } from '../../workloads/client/api.ts';
import { STEP_NAMES, type StepReport } from '../../workloads/client/steps.ts';
import { type Action, EMPTY, freshSteps, type PageState, type Picture, reduce, STEPS } from '../../workloads/client/web/model.ts';
import { toRaw } from '../../workloads/client/web/raw.ts';
import { toRefused } from '../../workloads/client/web/refused.ts';
import { stepChanges } from '../../workloads/client/web/step-changes.ts';

const picture: Picture = { id: 'p', name: 'cat.jpg', bytes: 3, url: 'blob:x', state: 'queued', steps: freshSteps() };
const start = (): PageState => reduce(EMPTY, { type: 'add', pictures: [picture] });
const all = (state: PageState, actions: readonly Action[]): PageState => actions.reduce(reduce, state);
const shown = (state: PageState) => Object.fromEntries(state.pictures[0]?.steps.map((s) => [s.id, s.state]) ?? []);
const pass = (step: StepReport['step'], raw?: unknown): StepReport => ({ step, status: 'pass', detail: step, raw });

describe('reports become steps', () => {
  const clock = () => 0;

  it('every report of the client has its place', () => {
    const { report } = stepChanges('p', clock);
    for (const step of STEP_NAMES) expect(report({ step, status: 'running', detail: '' }).some((a) => a.type === 'step'), step).toBe(true);
  });

  it('a whole run leaves every step done', () => {
    const { report } = stepChanges('p', clock);
    const end = all(start(), STEP_NAMES.flatMap((step) => report(pass(step))));
    expect(new Set(Object.values(shown(end)))).toEqual(new Set(['done']));
    expect(Object.keys(shown(end))).toEqual(STEPS.map((s) => s.id));
  });

  it('a step of several reports is done only with its last one', () => {
    const { report } = stepChanges('p', clock);
    const half = all(start(), report(pass('policy', { revision: 7 })));
    expect(shown(half)['owner']).toBe('running');
    expect(shown(all(half, report(pass('directory', { revision: 2 }))))['owner']).toBe('done');
  });

  it('waits visibly for the cell, and says why a job went back into the queue', () => {
    const { report, requeued } = stepChanges('p', clock);
    const leased = all(start(), [...report(pass('accepted')), ...report(pass('leased'))]);
    expect(shown(leased)).toMatchObject({ accepted: 'done', leased: 'done', released: 'running', counted: 'waiting' });
    const back = all(leased, requeued({ job_id: 'j', n: 3, event: 'requeued', at: 1, detail: 'CLOUD_ORIGIN' }));
    expect(shown(back)).toMatchObject({ leased: 'running', released: 'waiting', counted: 'waiting' });
    expect(back.pictures[0]?.steps.find((s) => s.id === 'leased')?.short).toContain('CLOUD_ORIGIN');
    expect(shown(all(back, report(pass('leased'))))).toMatchObject({ leased: 'done', released: 'running' });
  });

  it('missed events follow from a verified result only', () => {
    const { report } = stepChanges('p', clock);
    const opening = all(start(), [...report(pass('accepted')), ...report({ step: 'verified', status: 'running', detail: '' })]);
    expect(shown(opening)).toMatchObject({ released: 'waiting', counted: 'waiting' });
    expect(shown(all(opening, report(pass('verified'))))).toMatchObject({ leased: 'done', released: 'done', counted: 'done' });
  });

  it('development claims are said once and stay said', () => {
    const { report } = stepChanges('p', clock);
    const appraisal = (anchor: string) => ({ appraisal: { status: 'warning', claims: { anchor, platform: 'aws-nitro', measurements: [], checks: [] } } });
    expect(all(start(), report(pass('evidence', appraisal('production')))).simulated).toBe(false);
    const simulated = all(start(), report(pass('evidence', appraisal('development'))));
    expect(simulated.simulated).toBe(true);
    expect(reduce(simulated, { type: 'connection', connection: { state: 'unset' } }).simulated).toBe(true);
  });
});

describe('a refusal', () => {
  const refused = { code: 'SIG_INVALID', title: 't', reasons: [] };

  it('stops the running step, keeps what was done and strikes out the rest', () => {
    const { report } = stepChanges('p', () => 0);
    const running = all(start(), [...report(pass('policy')), ...report(pass('directory')), ...report({ step: 'evidence', status: 'running', detail: '' })]);
    const end = reduce(running, { type: 'refused', id: 'p', refused, at: 1 });
    expect(shown(end)).toEqual({ owner: 'done', evidence: 'refused', manifest: 'skipped', encrypted: 'skipped', accepted: 'skipped', leased: 'skipped', released: 'skipped', counted: 'skipped', verified: 'skipped' });
    expect(end.pictures[0]).toMatchObject({ state: 'refused', refused });
  });

  it('between two steps stops the next one', () => {
    expect(shown(reduce(start(), { type: 'refused', id: 'p', refused, at: 1 }))['owner']).toBe('refused');
  });

  it('shows reasons of refusals and of the gateway, and never the text of a foreign error', () => {
    const reason = { code: 'STALE', path: 'document.timestamp', have: '9', need: '1', next: 'Again.' } as const;
    expect(toRefused(new Refusal(reason))).toEqual({ code: 'STALE', title: 'The evidence is too old', reasons: [reason] });
    expect(toRefused(new ApiError('NETWORK', 'x')).reasons[0]?.next).toMatch(/cell runs/);
    expect(toRefused(new ApiError('RATE_LIMITED', 'x', { status: 429 }))).toMatchObject({ code: 'RATE_LIMITED', title: 'Too many requests', reasons: [{ have: 'status 429' }] });
    const silent = console.error;
    console.error = () => undefined;
    try {
      expect(JSON.stringify(toRefused(new Error('pixel 17')))).not.toContain('pixel');
    } finally {
      console.error = silent;
    }
  });
});

describe('raw evidence', () => {
  it('bytes stay bytes, signed texts stay texts, the rest is JSON', () => {
    const raw = toRaw('evidence', { evidence: { platform: 'aws-nitro', document: 'hEQ' }, ear: 'a.b.c', binding: { cell: 'local', key: new Uint8Array([1, 255]) } });
    expect(raw).toEqual([
      { name: 'evidence document, aws-nitro', file: 'evidence-evidence.cbor', form: 'bytes', value: new Uint8Array([0x84, 0x44]) },
      { name: 'ear', file: 'evidence-ear.jws', form: 'text', value: 'a.b.c' },
      { name: 'binding', file: 'evidence-binding.json', form: 'json', value: { cell: 'local', key: '01ff' } },
    ]);
    expect(toRaw('manifest', { v: 1 })).toEqual([{ name: 'manifest', file: 'manifest-manifest.json', form: 'json', value: { v: 1 } }]);
    expect(toRaw('picture', undefined)).toEqual([]);
  });
});

/** The client's reports, several of which make one step of the page, as changes of that step. */
import type { Appraisal, NormalizedClaims } from '../../../attestation/claims.ts';
import type { JobEvent, ResultPayload } from '../../protocol/messages.ts';
import type { StepName, StepReport } from '../steps.ts';
import type { Action, Fact, Raw, StepId } from './model.ts';
import { toRaw } from './raw.ts';

const STEP_OF: Readonly<Record<StepName, StepId>> = {
  policy: 'owner', directory: 'owner', evidence: 'evidence', manifest: 'manifest', picture: 'encrypted', encrypted: 'encrypted',
  accepted: 'accepted', leased: 'leased', released: 'released', counted: 'counted', verified: 'verified', receipt: 'verified',
};
/** Reports that end a step; the others only add to it. */
const ENDS: ReadonlySet<StepName> = new Set(['directory', 'evidence', 'manifest', 'encrypted', 'accepted', 'leased', 'released', 'counted', 'receipt']);
const LABELS: Readonly<Record<StepName, string>> = {
  policy: 'Policy', directory: 'Cell directory', evidence: 'Evidence', manifest: 'Manifest', picture: 'Metadata', encrypted: 'Message', accepted: 'Gateway', leased: 'Lease',
  released: 'Release', counted: 'Counter', verified: 'Result', receipt: 'Receipt',
};

/** While the cell works there is nothing to report: the next step runs from the moment the last one ended. */
const FOLLOWS: Partial<Record<StepId, StepId>> = { accepted: 'leased', leased: 'released', released: 'counted' };

const has = <K extends string>(raw: unknown, key: K): raw is Record<K, unknown> => typeof raw === 'object' && raw !== null && key in raw;

export function claimsFacts(claims: NormalizedClaims): Fact[] {
  const pcr0 = claims.measurements.find((m) => m.register === 'PCR0');
  return [
    { label: 'Platform', value: `${claims.platform}${claims.anchor === 'development' ? ', simulated' : ''}` },
    ...(pcr0 ? [{ label: 'PCR0', value: pcr0.value, code: true }] : []),
    ...(pcr0?.matchedReference ? [{ label: 'Reference', value: pcr0.matchedReference }] : []),
    { label: 'Passed', value: claims.checks.filter((c) => c.result === 'pass').map((c) => c.id).join(', ') },
  ];
}

const appraisalFacts = ({ status, claims }: Appraisal): Fact[] => [...claimsFacts(claims), { label: 'Status', value: `${status} (AR4SI)` }];

function factsOf({ step: name, detail, raw }: StepReport): Fact[] {
  if (has(raw, 'appraisal')) return appraisalFacts(raw.appraisal as Appraisal);
  const own: Fact = { label: LABELS[name], value: detail };
  if (!has(raw, 'claims') || !has(raw, 'payload')) return [own];
  const payload = raw.payload as ResultPayload;
  return [own, ...claimsFacts(raw.claims as NormalizedClaims), { label: 'Claims digest', value: payload.claims_digest, code: true }, { label: 'Model digest', value: payload.model_digest, code: true }];
}

const anchorOf = (raw: unknown): string | undefined => {
  const claims = has(raw, 'appraisal') ? (raw.appraisal as Appraisal).claims : has(raw, 'claims') ? (raw.claims as NormalizedClaims) : undefined;
  return claims?.anchor;
};

interface Progress { began: number; /** Milliseconds, once it ended. */ ms?: number; facts: Fact[]; raw: Raw[] }

/** The gateway says when; nothing of it is believed, so it stands beside the verified facts as what it is. */
function eventFact({ step, detail, raw }: StepReport): Fact | undefined {
  if (!has(raw, 'event') || !has(raw, 'at') || typeof raw.at !== 'number') return undefined;
  const at = new Date(raw.at).toISOString().slice(11, 23);
  return { label: LABELS[step], value: `the gateway says at ${at} UTC${detail === raw.event ? '' : `: ${detail}`}` };
}

export interface Changes { report(report: StepReport): Action[]; requeued(event: JobEvent): Action[] }

/** One per picture: it remembers when each step began and what it has gathered. */
export function stepChanges(id: string, clock: () => number): Changes {
  const all = new Map<StepId, Progress>();
  const progressOf = (step: StepId): Progress => {
    const known = all.get(step) ?? { began: clock(), facts: [], raw: [] };
    all.set(step, known);
    return known;
  };
  const change = (step: StepId, { ms, facts, raw }: Progress): Action => ({
    type: 'step', id, step: { id: step, state: ms === undefined ? 'running' : 'done', facts: [...facts], raw: [...raw], ms },
  });
  const report = (one: StepReport): Action[] => {
    const step = STEP_OF[one.step];
    const progress = progressOf(step);
    const actions: Action[] = [];
    if (anchorOf(one.raw) === 'development') actions.push({ type: 'simulated' });
    if (one.status === 'pass') {
      const event = eventFact(one);
      progress.facts.push(...(event ? [event] : factsOf(one)));
      progress.raw.push(...toRaw(one.step, one.raw));
      if (ENDS.has(one.step)) progress.ms = clock() - progress.began;
    }
    // Events may be missed (a broken stream): the verified result stands for them.
    if (one.step === 'verified' && one.status === 'pass') {
      for (const unseen of ['leased', 'released', 'counted'] as const) {
        if (progressOf(unseen).ms !== undefined) continue;
        actions.push({ type: 'step', id, step: { id: unseen, state: 'done', facts: [{ label: 'Note', value: 'not watched; follows from the verified result' }], raw: [] } });
      }
    }
    actions.push(change(step, progress));
    const next = progress.ms === undefined ? undefined : FOLLOWS[step];
    if (next !== undefined && !all.has(next)) actions.push(change(next, progressOf(next)));
    return actions;
  };
  /** The job went back into the queue: what came after the lease begins anew, and the reason is shown. */
  const requeued = ({ detail }: JobEvent): Action[] => {
    const dropped = (['released', 'counted'] as const).map((step): Action => {
      all.delete(step);
      return { type: 'step', id, step: { id: step, state: 'waiting', facts: [], raw: [], ms: undefined } };
    });
    const lease: Progress = { began: clock(), facts: [{ label: 'Waits', value: `put back into the queue: ${detail ?? 'no reason given'}` }], raw: [] };
    all.set('leased', lease);
    return [...dropped, change('leased', lease)];
  };
  return { report, requeued };
}

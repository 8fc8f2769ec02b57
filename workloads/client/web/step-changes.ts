/** The client's reports, several of which make one step of the page, as changes of that step. */
import type { Appraisal, NormalizedClaims } from '../../../attestation/claims.ts';
import type { JobEvent, ResultPayload } from '../../protocol/messages.ts';
import type { StepName, StepReport } from '../steps.ts';
import type { Action, Fact, Raw, StepId } from './model.ts';
import { brief, size } from './format.ts';
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

/** A few words for the closed step. */
function shortOf({ step: name, detail, raw }: StepReport): string | undefined {
  const claims = claimsOf(raw);
  if (claims !== undefined) {
    const pcr0 = claims.measurements.find((m) => m.register === 'PCR0')?.value;
    return `${claims.platform}${claims.anchor === 'development' ? ', simulated' : ''}${pcr0 === undefined ? '' : `, PCR0 ${brief(pcr0, 8)}`}`;
  }
  switch (name) {
    case 'policy': return has(raw, 'revision') ? `policy ${raw.revision}` : undefined;
    case 'directory': return has(raw, 'revision') ? `directory ${raw.revision}` : undefined;
    case 'manifest': return has(raw, 'keys') && Array.isArray(raw.keys) && has(raw, 'tenant_id') ? `${raw.keys.length} keys of ${raw.tenant_id}` : undefined;
    case 'picture': return detail;
    case 'encrypted': return has(raw, 'message') && raw.message instanceof Uint8Array ? `${size(raw.message.length)} of ciphertext` : undefined;
    case 'accepted': return `job ${brief(detail, 8)}`;
    default: return undefined;
  }
}

const claimsOf = (raw: unknown): NormalizedClaims | undefined =>
  (has(raw, 'appraisal') ? (raw.appraisal as Appraisal).claims : has(raw, 'claims') ? (raw.claims as NormalizedClaims) : undefined);
interface Progress { began: number; /** Milliseconds, once it ended. */ ms?: number; shorts: string[]; facts: Fact[]; raw: Raw[] }

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
    const known = all.get(step) ?? { began: clock(), shorts: [], facts: [], raw: [] };
    all.set(step, known);
    return known;
  };
  const change = (step: StepId, { ms, shorts, facts, raw }: Progress): Action => ({
    type: 'step', id, step: { id: step, state: ms === undefined ? 'running' : 'done', short: shorts.join(', '), facts: [...facts], raw: [...raw], ms },
  });
  const report = (one: StepReport): Action[] => {
    const step = STEP_OF[one.step];
    const progress = progressOf(step);
    const actions: Action[] = [];
    if (claimsOf(one.raw)?.anchor === 'development') actions.push({ type: 'simulated' });
    if (one.status === 'pass') {
      const event = eventFact(one);
      progress.facts.push(...(event ? [event] : factsOf(one)));
      const short = shortOf(one);
      if (short !== undefined) progress.shorts.push(short);
      progress.raw.push(...toRaw(one.step, one.raw));
      if (ENDS.has(one.step)) progress.ms = clock() - progress.began;
    }
    // Events may be missed (a broken stream): the verified result stands for them.
    if (one.step === 'verified' && one.status === 'pass') {
      for (const unseen of ['leased', 'released', 'counted'] as const) {
        if (progressOf(unseen).ms !== undefined) continue;
        actions.push({ type: 'step', id, step: { id: unseen, state: 'done', short: 'not watched', facts: [{ label: 'Note', value: 'not watched; follows from the verified result' }], raw: [] } });
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
    const lease: Progress = { began: clock(), shorts: [`waits: ${detail ?? 'put back'}`], facts: [{ label: 'Waits', value: `put back into the queue: ${detail ?? 'no reason given'}` }], raw: [] };
    all.set('leased', lease);
    return [...dropped, change('leased', lease)];
  };
  return { report, requeued };
}

/** The client's reports, several of which make one step of the page, as changes of that step. */
import type { Appraisal } from '../../../attestation/claims.ts';
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

const hasAppraisal = (raw: unknown): raw is { appraisal: Appraisal } => typeof raw === 'object' && raw !== null && 'appraisal' in raw;

export function appraisalFacts({ status, claims }: Appraisal, digest?: string): Fact[] {
  const pcr0 = claims.measurements.find((m) => m.register === 'PCR0');
  return [
    { label: 'Platform', value: `${claims.platform}${claims.anchor === 'development' ? ', simulated' : ''}` },
    ...(pcr0 ? [{ label: 'PCR0', value: pcr0.value, code: true }, ...(pcr0.matchedReference ? [{ label: 'Reference', value: pcr0.matchedReference }] : [])] : []),
    { label: 'Status', value: `${status} (AR4SI)` },
    ...(digest === undefined ? [] : [{ label: 'Claims digest', value: digest, code: true }]),
    { label: 'Checks', value: claims.checks.filter((c) => c.result === 'pass').map((c) => c.id).join(', ') },
  ];
}

interface Progress { began: number; facts: Fact[]; raw: Raw[] }

/** One per picture: it remembers when each step began and what it has gathered. */
export function stepChanges(id: string, clock: () => number): (report: StepReport) => Action[] {
  const all = new Map<StepId, Progress>();
  return ({ step: name, status, detail, raw }) => {
    const step = STEP_OF[name];
    const known = all.get(step);
    const progress = known ?? { began: clock(), facts: [], raw: [] };
    all.set(step, progress);
    const actions: Action[] = [];
    if (hasAppraisal(raw) && raw.appraisal.claims.anchor === 'development') actions.push({ type: 'simulated' });
    if (status === 'pass') {
      progress.facts.push(...(hasAppraisal(raw) ? appraisalFacts(raw.appraisal) : [{ label: LABELS[name], value: detail }]));
      progress.raw.push(...toRaw(name, raw));
    }
    const ended = status === 'pass' && ENDS.has(name);
    actions.push({ type: 'step', id, step: { id: step, state: ended ? 'done' : 'running', facts: [...progress.facts], raw: [...progress.raw], ...(ended ? { ms: clock() - progress.began } : {}) } });
    return actions;
  };
}

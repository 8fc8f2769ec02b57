/** What the page shows, as data: the worker sends changes to it, the components draw it. Nothing here does anything. */
import type { CountResult } from '../../protocol/messages.ts';
import type { EncryptionContext } from '../../protocol/context.ts';

export const STEPS = [
  { id: 'owner', title: 'Owner’s documents verified', about: 'Policy and cell directory carry a signature of the pinned owner key, and are no older than any seen before.' },
  { id: 'evidence', title: 'Evidence verified', about: 'The broker’s attestation document answers a nonce made in this browser; its measurements are the owner’s.' },
  { id: 'manifest', title: 'Key manifest verified', about: 'The tenant’s public keys, in exactly the bytes that the evidence binds.' },
  { id: 'encrypted', title: 'Encrypted', about: 'Metadata stripped, then encrypted to the tenant’s key, here.' },
  { id: 'accepted', title: 'Accepted', about: 'The gateway has stored the ciphertext and owes an answer.' },
  { id: 'leased', title: 'Leased', about: 'A counter took the job.' },
  { id: 'released', title: 'Key released', about: 'The broker sealed the data key to the counter that it appraised.' },
  { id: 'counted', title: 'Counted', about: 'The counter sealed its signed result to a key of this browser.' },
  { id: 'verified', title: 'Result verified', about: 'Counter’s evidence, signature, and that the result is about the bytes that left here.' },
] as const;
export type StepId = (typeof STEPS)[number]['id'];
export type StepState = 'waiting' | 'running' | 'done' | 'refused' | 'skipped';

export interface Fact { readonly label: string; readonly value: string; /** Bytes and identifiers: monospaced, the whole value on demand. */ readonly code?: boolean }

/** Something to look into: a JSON document, a text as it was received, or bytes. */
export type Raw =
  | { readonly name: string; readonly file: string; readonly form: 'json'; readonly value: unknown }
  | { readonly name: string; readonly file: string; readonly form: 'text'; readonly value: string }
  | { readonly name: string; readonly file: string; readonly form: 'bytes'; readonly value: Uint8Array };

export interface Step {
  readonly id: StepId;
  readonly state: StepState;
  readonly ms?: number;
  /** What is said beside the title while the step is closed. */
  readonly short?: string;
  readonly facts: readonly Fact[];
  readonly raw: readonly Raw[];
}

export interface Refused {
  readonly code: string;
  readonly title: string;
  readonly reasons: readonly { readonly code: string; readonly path: string; readonly have?: string; readonly need?: string; readonly next: string }[];
}

/** What whoever runs the gateway can see of one job. */
export interface OperatorView {
  /** Two pieces of the message that was uploaded: its header begins with the context, readable by anyone; its body is ciphertext. */
  readonly pieces: readonly { readonly title: string; readonly offset: number; readonly bytes: Uint8Array; readonly clear: { readonly from: number; readonly to: number } }[];
  readonly messageBytes: number;
  readonly pictureBytes: number;
  readonly context: EncryptionContext;
}

export interface Verdict {
  readonly outcome: 'completed' | 'rejected' | 'failed';
  readonly code?: string;
  readonly result?: CountResult;
  readonly receipt: unknown;
}

export interface Check { readonly id: string; readonly result: string; readonly detail?: string }

export interface Picture {
  readonly id: string;
  readonly name: string;
  readonly bytes: number;
  /** Object URL of the local file. */
  readonly url: string;
  readonly state: 'queued' | 'working' | 'done' | 'refused';
  readonly steps: readonly Step[];
  readonly startedAt?: number;
  readonly ms?: number;
  readonly operator?: OperatorView;
  readonly verdict?: Verdict;
  readonly refused?: Refused;
  readonly recheck?: { readonly state: 'running' } | { readonly state: 'done'; readonly checks: readonly Check[] } | { readonly state: 'refused'; readonly refused: Refused };
}

/** What the broker proved to this page when it connected. */
export interface CellFacts {
  readonly cell: string; readonly tenant: string; readonly zone: string; readonly platform: string; readonly anchor: 'production' | 'development';
  readonly status: string; readonly pcr0: string; readonly claimsDigest: string; readonly policyRevision: number;
  readonly classifications: readonly string[];
  readonly ms: number; readonly raw: readonly Raw[];
}

export type Connection =
  | { readonly state: 'unset' }
  | { readonly state: 'checking' }
  | { readonly state: 'verified'; readonly facts: CellFacts }
  | { readonly state: 'refused'; readonly refused: Refused };

export interface PageState {
  readonly connection: Connection;
  readonly pictures: readonly Picture[];
  /** Some claims were anchored in a development root: said on every screen from then on. */
  readonly simulated: boolean;
}

export type StepChange = Partial<Omit<Step, 'id'>> & { readonly id: StepId };
export type Action =
  | { readonly type: 'connection'; readonly connection: Connection }
  | { readonly type: 'add'; readonly pictures: readonly Picture[] }
  | { readonly type: 'remove'; readonly id: string }
  | { readonly type: 'start'; readonly id: string; readonly at: number }
  | { readonly type: 'step'; readonly id: string; readonly step: StepChange }
  | { readonly type: 'operator'; readonly id: string; readonly operator: OperatorView }
  | { readonly type: 'verdict'; readonly id: string; readonly verdict: Verdict; readonly at: number }
  | { readonly type: 'refused'; readonly id: string; readonly refused: Refused; readonly at: number }
  | { readonly type: 'recheck'; readonly id: string; readonly recheck: NonNullable<Picture['recheck']> }
  | { readonly type: 'simulated' };

export const freshSteps = (): readonly Step[] => STEPS.map(({ id }) => ({ id, state: 'waiting', facts: [], raw: [] }));
export const EMPTY: PageState = { connection: { state: 'unset' }, pictures: [], simulated: false };

/** The running step is the one that was refused; what would have followed never happened. */
const halted = (steps: readonly Step[]): readonly Step[] => {
  const at = Math.max(steps.findIndex((s) => s.state === 'running'), 0);
  const first = steps.some((s) => s.state === 'running') ? at : Math.max(steps.findIndex((s) => s.state === 'waiting'), 0);
  return steps.map((step, i) => (step.state === 'done' ? step : { ...step, state: i === first ? 'refused' : 'skipped' }));
};

export function reduce(state: PageState, action: Action): PageState {
  const picture = (id: string, change: (p: Picture) => Picture): PageState => ({ ...state, pictures: state.pictures.map((p) => (p.id === id ? change(p) : p)) });
  switch (action.type) {
    case 'connection': {
      const simulated = state.simulated || (action.connection.state === 'verified' && action.connection.facts.anchor === 'development');
      return { ...state, connection: action.connection, simulated };
    }
    case 'simulated': return { ...state, simulated: true };
    case 'add': return { ...state, pictures: [...action.pictures, ...state.pictures] };
    case 'remove': return { ...state, pictures: state.pictures.filter((p) => p.id !== action.id) };
    case 'start': return picture(action.id, (p) => ({ ...p, state: 'working', startedAt: action.at }));
    case 'step': return picture(action.id, (p) => ({ ...p, steps: p.steps.map((s) => (s.id === action.step.id ? { ...s, ...action.step } : s)) }));
    case 'operator': return picture(action.id, (p) => ({ ...p, operator: action.operator }));
    case 'verdict': return picture(action.id, (p) => ({ ...p, state: 'done', verdict: action.verdict, ms: action.at - (p.startedAt ?? action.at) }));
    case 'refused': return picture(action.id, (p) => ({ ...p, state: 'refused', refused: action.refused, steps: halted(p.steps), ms: action.at - (p.startedAt ?? action.at) }));
    case 'recheck': return picture(action.id, (p) => ({ ...p, recheck: action.recheck }));
  }
}

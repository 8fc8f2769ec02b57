/** What a client reports while it works: one entry per thing that a user would want to see, with the raw bytes behind it. */
export const STEP_NAMES = [
  /** Metadata removed from the picture. */
  'picture',
  /** Owner's signature, revision. */
  'policy', 'directory',
  /** The broker's evidence: verified and appraised. */
  'evidence',
  'manifest', 'encrypted', 'accepted', 'leased', 'released', 'counted',
  /** Result opened, compared with what was sent, counter's evidence verified. */
  'verified',
  'receipt',
] as const;
export type StepName = (typeof STEP_NAMES)[number];

export interface StepReport {
  readonly step: StepName;
  readonly status: 'running' | 'pass' | 'fail';
  readonly detail: string;
  /** What was looked at: documents, claims, bytes. Never plaintext, never a key. */
  readonly raw?: unknown;
}
export type OnStep = (report: StepReport) => void;

/** Reports `running`, then `pass` or `fail`; an error goes on its way. */
export async function step<T>(onStep: OnStep | undefined, name: StepName, about: string, work: () => Promise<T>, done: (value: T) => { detail: string; raw?: unknown }): Promise<T> {
  onStep?.({ step: name, status: 'running', detail: about });
  try {
    const value = await work();
    onStep?.({ step: name, status: 'pass', ...done(value) });
    return value;
  } catch (error) {
    onStep?.({ step: name, status: 'fail', detail: error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

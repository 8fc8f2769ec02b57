/** Small drawings. States differ in shape, not in colour alone. */
import type { StepState } from '../model.ts';

const LABEL: Readonly<Record<StepState, string>> = { waiting: 'waiting', running: 'running', done: 'done', refused: 'refused', skipped: 'not carried out' };

export function StateIcon({ state }: { state: StepState }) {
  return (
    <span class={`state state-${state}`}>
      <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
        {state === 'waiting' && <circle cx="10" cy="10" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" />}
        {state === 'running' && <><circle cx="10" cy="10" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" opacity="0.3" /><path class="spin" d="M10 3.5A6.500 6.500 0 0 1 16.500 10" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" /></>}
        {state === 'done' && <><circle cx="10" cy="10" r="8" fill="currentColor" /><path d="m6.3 10.300 2.500 2.500 5-5.400" fill="none" stroke="var(--surface)" stroke-width="1.900" stroke-linecap="round" stroke-linejoin="round" /></>}
        {state === 'refused' && <><path d="M6.700 2h6.600L18 6.700v6.600L13.300 18H6.700L2 13.300V6.700z" fill="currentColor" /><path d="m7 7 6 6m0-6-6 6" stroke="var(--surface)" stroke-width="1.900" stroke-linecap="round" /></>}
        {state === 'skipped' && <path d="M5.500 10h9" stroke="currentColor" stroke-width="1.500" stroke-linecap="round" />}
      </svg>
      <span class="unseen">{LABEL[state]}: </span>
    </span>
  );
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="34" height="34" aria-hidden="true" focusable="false">
    <path d="M5 4.500 12 9h8l7-4.500v13A11 10.500 0 0 1 16 28 11 10.500 0 0 1 5 17.500z" fill="var(--accent)" />
    <circle cx="16" cy="16.500" r="2.700" fill="var(--surface)" /><path d="M14.800 17.500h2.400l.9 5.300h-4.200z" fill="var(--surface)" />
  </svg>
);

export const Chevron = ({ open }: { open: boolean }) => (
  <svg class={open ? 'chevron open' : 'chevron'} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" focusable="false"><path d="m4 2.500 4 3.500-4 3.500" fill="none" stroke="currentColor" stroke-width="1.500" stroke-linecap="round" stroke-linejoin="round" /></svg>
);

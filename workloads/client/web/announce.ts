/** One sentence for screen readers when something happened. */
import { cats } from './format.ts';
import { type Action, type PageState, STEPS } from './model.ts';

export function announcement(action: Action, state: PageState): string | undefined {
  const name = (id: string) => state.pictures.find((p) => p.id === id)?.name ?? 'picture';
  switch (action.type) {
    case 'connection':
      if (action.connection.state === 'verified') return `Cell ${action.connection.facts.cell} verified`;
      return action.connection.state === 'refused' ? undefined : action.connection.state === 'checking' ? 'Verifying the cell’s evidence' : undefined;
    case 'step': return action.step.state === 'done' ? `${name(action.id)}: ${STEPS.find((s) => s.id === action.step.id)?.title.toLowerCase()}` : undefined;
    case 'verdict': return action.verdict.result ? `${name(action.id)}: ${cats(action.verdict.result.count)}, verified` : `${name(action.id)}: ${action.verdict.outcome}`;
    default: return undefined;
  }
}

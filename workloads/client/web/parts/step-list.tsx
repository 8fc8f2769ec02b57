/** The steps of one picture as they happen, each open to its facts and raw evidence. */
import { useId, useState } from 'preact/hooks';
import { duration } from '../format.ts';
import { type Fact, type Refused, type Step, STEPS } from '../model.ts';
import { Chevron, StateIcon } from './icons.tsx';
import { RawView } from './raw-view.tsx';
import { Refusal } from './refusal.tsx';

export const Facts = ({ facts }: { facts: readonly Fact[] }) => (
  <dl class="facts">{facts.map((f) => <div key={f.label}><dt>{f.label}</dt><dd>{f.code ? <code>{f.value}</code> : f.value}</dd></div>)}</dl>
);

function StepItem({ step, refused }: { step: Step; refused?: Refused }) {
  const [open, setOpen] = useState(false);
  const panel = useId();
  const about = STEPS.find((s) => s.id === step.id);
  const more = step.facts.length > 0 || step.raw.length > 0;
  return (
    <li class={`step step-${step.state}`} data-step={step.id} data-state={step.state}>
      <button type="button" class="step-head" aria-expanded={open} aria-controls={panel} onClick={() => setOpen(!open)}>
        <StateIcon state={step.state} />
        <span class="step-text">
          <span class="step-title">{about?.title}</span>
          {step.short && <span class="step-short">{step.short}</span>}
        </span>
        <span class="step-time">{step.ms === undefined ? '' : duration(step.ms)}</span>
        <Chevron open={open} />
      </button>
      {refused && step.state === 'refused' && <Refusal refused={refused} />}
      <div id={panel} class="step-panel" hidden={!open}>
        {open && <><p class="muted">{about?.about}</p>{more && <Facts facts={step.facts} />}<RawView raw={step.raw} /></>}
      </div>
    </li>
  );
}

export const StepList = ({ steps, refused }: { steps: readonly Step[]; refused?: Refused }) => (
  <ol class="steps">{steps.map((step) => <StepItem step={step} refused={refused} key={step.id} />)}</ol>
);

/** One picture: what you see, what happened, what the operator saw. */
import { useId, useState } from 'preact/hooks';
import { duration, size } from '../format.ts';
import { type Picture, STEPS } from '../model.ts';
import { PictureWithBoxes } from './boxes.tsx';
import { Chevron } from './icons.tsx';
import { OperatorView } from './operator-view.tsx';
import { Receipt } from './receipt.tsx';
import { StepList } from './step-list.tsx';

function Verdict({ picture }: { picture: Picture }) {
  const { verdict, state } = picture;
  if (state === 'refused') return <p class="verdict verdict-refused"><span class="verdict-words">Refused</span><span class="muted">No count is shown unless every step passed.</span></p>;
  if (!verdict) {
    const running = picture.steps.find((s) => s.state === 'running');
    const title = STEPS.find((s) => s.id === running?.id)?.title;
    return <p class="verdict"><span class="verdict-words">{state === 'queued' ? 'In the queue' : 'Working'}</span><span class="muted">{title ? `Next: ${title.toLowerCase()}` : 'Nothing has left this browser yet.'}</span></p>;
  }
  if (verdict.outcome !== 'completed' || !verdict.result) {
    return <p class="verdict"><span class="verdict-words">{verdict.outcome === 'rejected' ? 'Rejected' : 'Failed'}</span><span class="muted">The counter signed this verdict{verdict.code ? <>: <code>{verdict.code}</code></> : null}</span></p>;
  }
  const { count } = verdict.result;
  return (
    <p class="verdict verdict-done">
      <span class="count" data-count={count}>{count}</span>
      <span class="verdict-side"><span class="verdict-words">{count === 1 ? 'cat' : 'cats'}</span><span class="muted">verified here{picture.ms === undefined ? '' : `, ${duration(picture.ms)} in all`}</span></span>
    </p>
  );
}

export function PictureCard({ picture, openOperator, onRemove, onRecheck }: { picture: Picture; openOperator: boolean; onRemove: () => void; onRecheck: () => void }) {
  const [open, setOpen] = useState(openOperator);
  const panel = useId();
  return (
    <article class={`card picture-card is-${picture.state}`} aria-label={picture.name} data-state={picture.state}>
      <div class="card-main">
        <div class="card-left">
          <PictureWithBoxes url={picture.url} name={picture.name} result={picture.verdict?.result} />
          <p class="card-name"><span class="file">{picture.name}</span><span class="muted">{size(picture.bytes)}, stays here</span></p>
        </div>
        <div class="card-right">
          <div class="card-top"><Verdict picture={picture} />{picture.state !== 'working' && <button type="button" class="link" onClick={onRemove}>Remove<span class="unseen"> {picture.name}</span></button>}</div>
          <StepList steps={picture.steps} refused={picture.refused} />
          <Receipt picture={picture} onRecheck={onRecheck} />
        </div>
      </div>
      {picture.operator && (
        <section class="operator-section">
          <h3><button type="button" class="disclosure" aria-expanded={open} aria-controls={panel} onClick={() => setOpen(!open)}><Chevron open={open} /> What the operator sees</button></h3>
          <div id={panel} hidden={!open}>{open && <OperatorView view={picture.operator} />}</div>
        </section>
      )}
    </article>
  );
}

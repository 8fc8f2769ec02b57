/** The same job through the eyes of whoever runs gateway, database and store. */
import { dump, exactly } from '../format.ts';
import type { OperatorView as View } from '../model.ts';

type Piece = View['pieces'][number];

function Dump({ piece }: { piece: Piece }) {
  const mark = (at: number) => (at >= piece.clear.from && at < piece.clear.to ? 'clear' : '');
  return (
    <pre class="dump" tabIndex={0} aria-label={`Hex dump: ${piece.title}`}>
      {dump(piece.bytes, piece.offset).map((line) => (
        <div key={line.at}>
          <span class="dump-offset">{line.offset}</span>
          <span class="dump-hex">{runs(line.bytes, line.at, mark).map((r, i) => <span key={i} class={r.mark}>{r.items.join(' ')} </span>)}</span>
          <span class="dump-text">{runs(line.text, line.at, mark).map((r, i) => <span key={i} class={r.mark}>{r.items.join('')}</span>)}</span>
        </div>
      ))}
    </pre>
  );
}

/** Neighbours of the same kind together: fewer elements. */
function runs(items: readonly string[], at: number, mark: (at: number) => string): { mark: string; items: string[] }[] {
  const out: { mark: string; items: string[] }[] = [];
  items.forEach((item, i) => {
    const kind = mark(at + i);
    const last = out.at(-1);
    if (last?.mark === kind) last.items.push(item);
    else out.push({ mark: kind, items: [item] });
  });
  return out;
}

export function OperatorView({ view }: { view: View }) {
  const { context } = view;
  return (
    <div class="operator">
      <div class="operator-bytes">
        {view.pieces.map((piece) => <div key={piece.offset}><h4>{piece.title}</h4><Dump piece={piece} /></div>)}
      </div>
      <div class="operator-facts">
        <h4>Visible to the operator</h4>
        <dl class="facts">
          <div><dt>Tenant</dt><dd>{context.tenant_id}</dd></div>
          <div><dt>Job</dt><dd><code>{context.job_id}</code></dd></div>
          <div><dt>Compliance zone</dt><dd>{context.compliance_zone}</dd></div>
          <div><dt>Classification</dt><dd>{context.data_classification}</dd></div>
          <div><dt>Purpose</dt><dd>{context.purpose}</dd></div>
          <div><dt>Size</dt><dd>{exactly(view.messageBytes)}; your file has {exactly(view.pictureBytes)}</dd></div>
          <div><dt>When</dt><dd>time of upload, of each step and of your return for the result</dd></div>
          <div><dt>Outcome</dt><dd>counted, rejected or failed, and the code of a rejection</dd></div>
          <div><dt>Public keys</dt><dd>the key that results are sealed to (in the context, in clear)</dd></div>
        </dl>
        <h4>Not visible</h4>
        <p class="muted">The picture, its file name, its metadata, the count, the boxes. The result travels sealed and padded.</p>
      </div>
    </div>
  );
}

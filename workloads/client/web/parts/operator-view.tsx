/** The same job through the eyes of whoever runs gateway, database and store. */
import { dump, exactly } from '../format.ts';
import type { OperatorView as View } from '../model.ts';

export function OperatorView({ view }: { view: View }) {
  const isClear = (at: number) => view.clear.some(({ from, to }) => at >= from && at < to);
  const { context } = view;
  return (
    <div class="operator">
      <div class="operator-bytes">
        <h4>The first {view.head.length} of {exactly(view.messageBytes)}</h4>
        <pre class="dump" tabIndex={0} aria-label="Hex dump of the beginning of the uploaded message">
          {dump(view.head).map((line) => (
            <div key={line.at}>
              <span class="dump-offset">{line.offset}</span>
              <span class="dump-hex">{line.bytes.map((b, i) => <span key={i} class={isClear(line.at + i) ? 'clear' : ''}>{b} </span>)}</span>
              <span class="dump-text">{line.text.map((c, i) => <span key={i} class={isClear(line.at + i) ? 'clear' : ''}>{c}</span>)}</span>
            </div>
          ))}
        </pre>
      </div>
      <div class="operator-facts">
        <h4>Visible to the operator</h4>
        <dl class="facts">
          <div><dt>Tenant</dt><dd>{context.tenant_id}</dd></div>
          <div><dt>Job</dt><dd><code>{context.job_id}</code></dd></div>
          <div><dt>Compliance zone</dt><dd>{context.compliance_zone}</dd></div>
          <div><dt>Classification</dt><dd>{context.data_classification}</dd></div>
          <div><dt>Purpose</dt><dd>{context.purpose}</dd></div>
          <div><dt>Size</dt><dd>{exactly(view.messageBytes)}: {exactly(view.messageBytes - view.pictureBytes)} more than the picture without its metadata</dd></div>
          <div><dt>When</dt><dd>time of upload, of each step and of your return for the result</dd></div>
          <div><dt>Public keys</dt><dd>the key that results are sealed to (in the context, in clear)</dd></div>
        </dl>
        <h4>Not visible</h4>
        <p class="muted">The picture, its file name, its metadata, the count, the boxes. The result travels sealed and padded.</p>
      </div>
    </div>
  );
}

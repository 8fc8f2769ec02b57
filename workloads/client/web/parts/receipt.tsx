/** Take the receipt away, or have it verified again from nothing but itself and the pinned owner key. */
import { download, pretty } from '../download.ts';
import type { Picture } from '../model.ts';
import { Refusal } from './refusal.tsx';

export function Receipt({ picture, onRecheck }: { picture: Picture; onRecheck: () => void }) {
  const { verdict, recheck } = picture;
  if (!verdict) return null;
  const passed = recheck?.state === 'done' ? recheck.checks.filter((c) => c.result === 'pass').length : 0;
  return (
    <div class="receipt">
      <div class="row">
        <button type="button" class="button" onClick={() => download(`receipt-${picture.id.slice(0, 8)}.json`, pretty(verdict.receipt), 'application/json')}>Download receipt</button>
        <button type="button" class="button quiet" disabled={recheck?.state === 'running'} onClick={onRecheck}>{recheck?.state === 'running' ? 'Verifying…' : 'Verify it again, here'}</button>
      </div>
      {recheck?.state === 'refused' && <Refusal refused={recheck.refused} />}
      {recheck?.state === 'done' && (
        <details class="checks">
          <summary>{passed} of {recheck.checks.length} checks passed</summary>
          <ul>
            {recheck.checks.map((c) => (
              <li key={c.id}><span class={`check-mark check-${c.result}`}>{c.result === 'pass' ? '✓' : 'i'}<span class="unseen"> {c.result} </span></span><span><strong>{c.id.replaceAll('-', ' ')}</strong>{c.detail && <span class="muted"> {c.detail}</span>}</span></li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

/** A refusal explains itself: code, where, what was there, what is needed, what to do. */
import type { Refused } from '../model.ts';

export function Refusal({ refused }: { refused: Refused }) {
  return (
    <div class="refusal" role="alert">
      <p class="refusal-title"><code>{refused.code}</code> {refused.title}</p>
      <ul>
        {refused.reasons.map((reason, i) => (
          <li key={i}>
            {(refused.reasons.length > 1 || reason.code !== refused.code) && <code class="reason-code">{reason.code}</code>}
            <dl>
              <dt>Where</dt><dd><code>{reason.path}</code></dd>
              {reason.have !== undefined && <><dt>Have</dt><dd><code>{reason.have}</code></dd></>}
              {reason.need !== undefined && <><dt>Need</dt><dd><code>{reason.need}</code></dd></>}
              <dt>Next</dt><dd>{reason.next}</dd>
            </dl>
          </li>
        ))}
      </ul>
    </div>
  );
}

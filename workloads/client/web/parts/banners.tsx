/** Two things that nobody may overlook: whose code this page is, and whether the evidence is about hardware at all. */
import type { ServedBy } from '../settings.ts';

export const SIMULATED = 'simulated TEE: proves nothing about hardware';

export function Banners({ servedBy, gateway, simulated }: { servedBy: ServedBy; gateway: string; simulated: boolean }) {
  return (
    <div class="banners">
      {simulated && (
        <p class="banner banner-amber" role="note"><strong>{SIMULATED}</strong><span>The evidence is signed under a development root that this cell’s owner allows. Formats, bindings and checks are the real ones; the silicon is not.</span></p>
      )}
      {servedBy === 'gateway'
        ? <p class="banner banner-plain" role="note"><strong>This page is code from the operator.</strong><span>Whoever runs this gateway could serve other code. Run <code>ccc page</code> to serve the same page from your own machine.</span></p>
        : <p class="banner banner-good" role="note"><strong>Served by your own machine.</strong><span><code>ccc page</code> passes only ciphertext and evidence on to <code>{gateway}</code>.</span></p>}
    </div>
  );
}

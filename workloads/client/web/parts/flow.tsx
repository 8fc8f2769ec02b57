/** Who sees what, before there is anything to see. */
export const Flow = () => (
  <section class="flow" aria-label="How it works">
    <ol>
      <li><span class="flow-who">This browser</span><span class="flow-sees">picture, count</span><p>Checks the broker’s evidence itself, strips metadata, encrypts to a key that was born inside a TEE.</p></li>
      <li class="flow-blind"><span class="flow-who">Gateway, database, store</span><span class="flow-sees">ciphertext</span><p>Run by the operator. They queue and keep bytes that they cannot open.</p></li>
      <li><span class="flow-who">Broker</span><span class="flow-sees">keys</span><p>Releases a data key only to code whose measurements the owner signed.</p></li>
      <li><span class="flow-who">Counter</span><span class="flow-sees">picture, in memory</span><p>Counts, signs, and seals the answer to a key that only this browser holds.</p></li>
    </ol>
  </section>
);

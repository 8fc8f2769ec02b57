/** What is proven, and what is not. */
export const Footer = ({ simulated }: { simulated: boolean }) => (
  <footer class="footer">
    <div class="footer-columns">
      <section>
        <h2>What a verified result proves</h2>
        <ul>
          <li>The broker’s evidence answered a nonce of this browser, and binds the key that was encrypted to.</li>
          <li>Broker and counter ran code whose measurements the pinned owner key signed.</li>
          <li>The count was signed by that counter, about exactly the bytes that left here.</li>
          <li>Gateway, database and store held ciphertext only.</li>
        </ul>
      </section>
      <section>
        <h2>What it does not prove</h2>
        <ul>
          {simulated && <li><strong>Anything about hardware: this cell’s TEE is simulated.</strong></li>}
          <li>That the count is right. The detector misses cats that are small, dark or half hidden, and takes some dogs for cats.</li>
          <li>That the owner’s measurements stand for good code: read the source, build it, compare.</li>
          <li>That sizes and times are hidden: the operator sees them, and the context in clear.</li>
          <li>That this browser, its extensions or this machine are sound.</li>
        </ul>
      </section>
      <section>
        <h2>Check it elsewhere</h2>
        <p>A receipt holds the evidence, the signed result and the owner’s documents. Any machine can verify it, years later:</p>
        <pre><code>ccc verify receipt.json --owner OWNER_KEY</code></pre>
        <p class="muted">Words are those of RFC 9334; messages are those of the AWS Encryption SDK, wrapped with HPKE and X-Wing.</p>
      </section>
    </div>
  </footer>
);

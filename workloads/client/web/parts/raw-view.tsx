/** Raw evidence, to look at, copy and take away. */
import { useState } from 'preact/hooks';
import { hex } from '../../../../attestation/bytes.ts';
import { download, pretty } from '../download.ts';
import { base64, dumpText, exactly } from '../format.ts';
import type { Raw } from '../model.ts';

const SHOWN_BYTES = 4096;
type Form = 'hex' | 'base64';

function content(raw: Raw): { text: string; file: string | Uint8Array; type: string } {
  if (raw.form === 'json') return { text: pretty(raw.value), file: pretty(raw.value), type: 'application/json' };
  if (raw.form === 'text') return { text: raw.value, file: raw.value, type: 'text/plain' };
  return { text: '', file: raw.value, type: 'application/octet-stream' };
}

function RawItem({ raw }: { raw: Raw }) {
  const [form, setForm] = useState<Form>('hex');
  const [copied, setCopied] = useState<'yes' | 'no' | undefined>(undefined);
  const { text, file, type } = content(raw);
  const shown = raw.form !== 'bytes' ? text : form === 'hex' ? dumpText(raw.value.subarray(0, SHOWN_BYTES)) : base64(raw.value);
  const whole = raw.form !== 'bytes' ? text : form === 'hex' ? hex(raw.value) : base64(raw.value);
  const copy = () => void navigator.clipboard.writeText(whole).then(() => setCopied('yes'), () => setCopied('no'));
  return (
    <figure class="raw">
      <figcaption>
        <span class="raw-name">{raw.name}</span>
        {raw.form === 'bytes' && <span class="muted">{exactly(raw.value.length)}</span>}
        <span class="raw-tools">
          {raw.form === 'bytes' && (['hex', 'base64'] as const).map((f) => <button type="button" class="link" key={f} aria-pressed={form === f} onClick={() => setForm(f)}>{f}</button>)}
          <button type="button" class="link" onClick={copy}>{copied === 'yes' ? 'copied' : copied === 'no' ? 'copying is not allowed' : 'copy'}<span class="unseen"> {raw.name}</span></button>
          <button type="button" class="link" onClick={() => download(raw.file, file, type)}>download<span class="unseen"> {raw.name}</span></button>
        </span>
      </figcaption>
      <pre tabIndex={0} aria-label={raw.name}>{shown}{raw.form === 'bytes' && form === 'hex' && raw.value.length > SHOWN_BYTES ? `\n… ${exactly(raw.value.length - SHOWN_BYTES)} more in the download` : ''}</pre>
    </figure>
  );
}

export const RawView = ({ raw }: { raw: readonly Raw[] }) => <div class="raws">{raw.map((item) => <RawItem raw={item} key={item.name} />)}</div>;

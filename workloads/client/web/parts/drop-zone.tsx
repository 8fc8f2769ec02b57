/** Pictures come in here: dropped, chosen, or pasted. A real file input under a label, so that it works without a mouse. */
import { useId, useRef, useState } from 'preact/hooks';
import { CLASSIFICATIONS } from '../../../protocol/context.ts';
import type { Classification } from '../classification.ts';

export interface DropZoneProps {
  readonly ready: boolean;
  readonly why: string;
  readonly classification: Classification;
  readonly allowed: readonly string[];
  onClassification(value: Classification): void;
  onFiles(files: readonly File[]): void;
}

export function DropZone({ ready, why, classification, allowed, onClassification, onFiles }: DropZoneProps) {
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const [inputId, hintId] = [useId(), useId()];
  const take = (files: FileList | null | undefined) => {
    if (ready && files && files.length > 0) onFiles([...files]);
    if (input.current) input.current.value = '';
  };
  return (
    <section class="drop-section" aria-label="Pictures">
      <div
        class={`drop${over ? ' drop-over' : ''}${ready ? '' : ' drop-off'}`}
        onDragOver={(event) => { event.preventDefault(); if (ready) setOver(true); }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => { event.preventDefault(); setOver(false); take(event.dataTransfer?.files); }}
      >
        <input ref={input} id={inputId} class="drop-input" type="file" accept="image/jpeg,image/png,image/webp" multiple disabled={!ready} aria-describedby={hintId} onChange={(event) => take(event.currentTarget.files)} />
        <label for={inputId}><strong>{ready ? 'Drop pictures here, or choose them' : 'No picture is taken yet'}</strong></label>
        <p id={hintId} class="muted">{ready ? 'JPEG, PNG or WebP up to 20 MB. Each is encrypted in this browser before a byte of it is sent. Keep the tab open until it is counted: only this tab can open the result.' : why}</p>
      </div>
      <label class="inline-field">Classification
        <select value={classification} onChange={(event) => onClassification(event.currentTarget.value as Classification)}>
          {CLASSIFICATIONS.map((c) => <option value={c} key={c} disabled={allowed.length > 0 && !allowed.includes(c)}>{c}</option>)}
        </select>
      </label>
    </section>
  );
}

/** Writes a history down while it happens: each line is on its way to the file before the next one, so that a drill that is cut off leaves what it saw. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { type HistoryEvent, line } from './history.ts';

export interface Recorder {
  readonly file: string;
  readonly events: readonly HistoryEvent[];
  /** Epoch milliseconds: the one clock of the history. */
  now(): number;
  write(...events: readonly HistoryEvent[]): void;
  /** Everything is on disk. @returns SHA-256 of the file, lower-case hex */
  close(): Promise<string>;
}

/**
 * The clock is the machine's, taken once and then counted on monotonically: a history has no steps back.
 * @param start epoch milliseconds
 */
export function record(file: string, start = Date.now()): Recorder {
  const began = performance.now();
  const hash = createHash('sha256');
  const out = createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
  let failed: unknown;
  out.on('error', (error) => { failed = error; });
  const events: HistoryEvent[] = [];
  return {
    file, events,
    now: () => start + (performance.now() - began),
    write(...added) {
      for (const event of added) {
        const text = line(event);
        events.push(event);
        hash.update(text);
        out.write(text);
      }
    },
    async close() {
      await new Promise<void>((done) => { out.end(done); out.on('error', () => done()); });
      if (failed !== undefined) throw failed;
      return hash.digest('hex');
    },
  };
}

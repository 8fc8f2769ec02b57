/** What every command shares: standard output is the answer, standard error is everything else. */
import { styleText } from 'node:util';
import { Refusal, explain } from '../../attestation/refusal.ts';

/** Exit codes of `ccc`; stable. `unread`: who reads the answer went away (128 + SIGPIPE, as a shell says of programs that the signal ends). */
export const EXIT = { ok: 0, failed: 1, usage: 2, refused: 3, unavailable: 4, interrupted: 130, unread: 141 } as const;

/** Node ignores SIGPIPE: `ccc ... | head` would end with a stack trace. Whoever went away needs none; any other error of a stream is still one. */
export function endWithReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(EXIT.unread);
    });
  }
}

type Style = Parameters<typeof styleText>[0];

const coloured = (stream: NodeJS.WriteStream): boolean => stream.isTTY === true && !process.env['NO_COLOR'];
export const paint = (style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string => (coloured(stream) ? styleText(style, text, { validateStream: false }) : text);

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** An error for the user: what happened and what to do next. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly exit: number;
  readonly code: string;
  readonly next: string;
  constructor(code: string, message: string, next: string, exit: number = EXIT.failed) {
    super(message);
    this.code = code;
    this.next = next;
    this.exit = exit;
  }
}

export function json(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Columns padded to their widest cell; the last one is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? '').length)));
  const line = (cells: readonly string[]) => cells.map((c, i) => (i === cells.length - 1 ? c : c.padEnd(widths[i] ?? 0))).join('  ').trimEnd();
  return [paint('bold', line(head)), ...rows.map(line)].join('\n');
}

export interface Progress { update(text: string): void; done(text?: string): void }

/** One live line on a terminal; a line per change when piped. */
export function progress(label: string): Progress {
  const live = process.stderr.isTTY === true;
  let last = '';
  return {
    update(text) {
      if (text === last) return;
      last = text;
      if (live) process.stderr.write(`\r\x1b[2K${label}: ${text}`);
      else note(`${label}: ${text}`);
    },
    done(text) {
      if (live) process.stderr.write('\r\x1b[2K');
      if (text !== undefined) note(`${label}: ${text}`);
    },
  };
}

/** Says an error in the form that was asked for and gives the exit code. */
export function fail(error: unknown, asJson: boolean): number {
  const { exit, body, lines } = describe(error);
  if (asJson) json({ ok: false, error: body });
  for (const line of lines) note(paint('red', line, process.stderr));
  return exit;
}

function describe(error: unknown): { exit: number; body: Record<string, unknown>; lines: string[] } {
  if (error instanceof Refusal) {
    return { exit: EXIT.refused, body: { code: error.code, reasons: error.reasons }, lines: error.reasons.map((r) => `refused: ${explain(r)}`) };
  }
  if (error instanceof UserError) {
    return { exit: error.exit, body: { code: error.code, message: error.message, next: error.next }, lines: [`error ${error.code}: ${error.message}`, `  next: ${error.next}`] };
  }
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    const given = 'next' in error && typeof error.next === 'string' ? error.next : undefined;
    const next = given ?? (error.code === 'NETWORK' ? 'Is the cell up? ccc up starts one; ccc doctor looks at it.' : undefined);
    const unavailable = ['NETWORK', 'UNREACHABLE', 'BROKER_UNAVAILABLE', 'LEDGER_UNAVAILABLE', 'BACK_PRESSURE'].includes(error.code);
    return {
      exit: unavailable ? EXIT.unavailable : EXIT.failed,
      body: { code: error.code, message: error.message, next },
      lines: [`error ${error.code}: ${error.message}`, ...(next ? [`  next: ${next}`] : [])],
    };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { exit: EXIT.failed, body: { code: 'INTERNAL', message }, lines: [`error: ${message}`] };
}

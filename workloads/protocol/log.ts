/**
 * Structured logs with a closed list of fields: what is not in the list cannot be logged, so neither
 * plaintext nor a key can. One JSON object a line on standard error.
 */
import type { Clock } from './clock.ts';

const FIELDS = [
  'code', 'codes', 'job_id', 'tenant_id', 'key_id', 'role', 'cell', 'state', 'count_jobs', 'attempt', 'status', 'method', 'route', 'ms', 'bytes', 'port', 'host', 'pid', 'revision',
  'session', 'instance', 'platform', 'anchor', 'reason_path', 'next', 'seq', 'signal', 'exit', 'error_name', 'where', 'model_digest', 'socket',
] as const;
export type LogFields = Partial<Record<(typeof FIELDS)[number], string | number | boolean | readonly string[]>>;

export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

const ALLOWED: ReadonlySet<string> = new Set(FIELDS);
const MAX_VALUE = 200;

function clean(fields: LogFields): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (ALLOWED.has(key)) out[key] = typeof value === 'string' ? value.slice(0, MAX_VALUE) : value;
  }
  return out;
}

let guarded = false;
/** A full disk must not end a process that can still work: a line that cannot be written is lost, and the next one is tried again. */
function toStandardError(line: string): void {
  if (!guarded) process.stderr.on('error', () => {});
  guarded = true;
  process.stderr.write(line);
}

export function createLog(process_: string, options: { write?: (line: string) => void; now?: Clock } = {}): Log {
  const write = options.write ?? toStandardError;
  const now = options.now ?? Date.now;
  const at = (level: string) => (event: string, fields: LogFields = {}) =>
    write(`${JSON.stringify({ at: new Date(now()).toISOString(), level, process: process_, event, ...clean(fields) })}\n`);
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

/** The name and code of an error, never its message: messages may quote what was being worked on. */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error_name: typeof error };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { error_name: error.name, ...(code === undefined ? {} : { code }) };
}

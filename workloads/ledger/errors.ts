/** What the ledger throws. Conflicts are answers, not errors. */

export class LedgerError extends Error {
  override readonly name: string = 'LedgerError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The database could not be reached, or its answer was lost: the write may or may not have happened.
 * Repeat the same call; never tell anybody that it succeeded.
 */
export class LedgerUnavailable extends LedgerError {
  override readonly name = 'LedgerUnavailable';

  constructor(cause: unknown) {
    super('LEDGER_UNAVAILABLE', 'The database did not answer; repeat the same call.', { cause });
  }
}

/** "Cached plan must not change result type", and a prepared statement that the server does not know. */
const VOID_STATEMENT: ReadonlySet<string> = new Set(['0A000', '26000']);
const RETRIED: ReadonlySet<string> = new Set(['40001', '40P01', ...VOID_STATEMENT]);
/** PostgreSQL errors, appendix A: connection exceptions, shutdowns, too many connections, cancelled, read-only while failing over, disk full. */
const UNAVAILABLE = /^(?:08...|57P0[1-5]|57014|53...|25006|58030|XX00[12])$/;
const NETWORK = /^E(?:CONN|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|NOTFOUND|AI_AGAIN|ADDR)/;
/** Messages of `pg` and `pg-pool` for a lost connection; these errors carry no code. */
const LOST = /Connection terminated|timeout exceeded when trying to connect|Query read timeout|not queryable|Connection ended|connection error|Cannot use a pool after calling end|driver has already been destroyed/i;

export function errorCode(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Serialization failure, deadlock, or a void statement: nothing was written, the transaction may run again at once. */
export const isRetried = (error: unknown): boolean => RETRIED.has(errorCode(error) ?? '');

export const isVoidStatement = (error: unknown): boolean => VOID_STATEMENT.has(errorCode(error) ?? '');

/** The caller's own patience is over (`query_timeout` of `pg`). */
export const isTimeout = (error: unknown): boolean => error instanceof Error && error.message === 'Query read timeout';

export function isUnavailable(error: unknown): boolean {
  const code = errorCode(error);
  if (code !== undefined) return UNAVAILABLE.test(code) || NETWORK.test(code);
  if (error instanceof AggregateError) return error.errors.some(isUnavailable);
  return error instanceof Error && LOST.test(error.message);
}

/** The ledger as the gateway sees it: late is absent, and its errors have codes of the table. */
import { type Ledger, LedgerError, LedgerUnavailable } from '../ledger/ledger.ts';
import { CccError } from '../protocol/problem.ts';

const NEXT = 'Repeat the same request: a job is accepted once, however often it is sent.';
const unavailable = (cause: unknown, detail?: string): CccError =>
  new CccError('LEDGER_UNAVAILABLE', NEXT, { retryAfter: 2, cause, ...(detail === undefined ? {} : { detail }) });

export function ledgerError(error: unknown): unknown {
  if (error instanceof LedgerUnavailable) return unavailable(error);
  if (error instanceof LedgerError && error.code === 'TENANT_UNKNOWN') return new CccError('TENANT_UNKNOWN', 'Add the tenant first: `ccc tenant add`.', { cause: error });
  if (error instanceof LedgerError && error.code === 'REPLICATION_LAG') return new CccError('BACK_PRESSURE', NEXT, { retryAfter: 2, detail: 'Another cell lags behind', cause: error });
  return error;
}

/** Rejects with what `late` makes when `work` takes longer than `ms`; the work itself goes on. */
export async function within<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([work, new Promise<never>((_, reject) => { timer = setTimeout(() => reject(late()), ms); })]);
  } finally {
    clearTimeout(timer);
  }
}

/** These read the whole chain or clean up: they may take their time. */
const UNHURRIED: ReadonlySet<string | symbol> = new Set(['verifyAudit', 'sweep', 'close']);

/** Every method that answers a promise answers within `ms`, or throws LEDGER_UNAVAILABLE. */
export function guardLedger(ledger: Ledger, ms: number): Ledger {
  return new Proxy(ledger, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = value.apply(target, args);
        if (!(result instanceof Promise)) return result;
        const answered = UNHURRIED.has(name) ? result : within(result, ms, () => unavailable(undefined, `No answer within ${ms} ms`));
        return answered.catch((error: unknown) => { throw ledgerError(error); });
      };
    },
  });
}

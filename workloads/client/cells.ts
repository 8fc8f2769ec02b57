/**
 * The API of a deployment of several cells: each request goes to the cell that cells-core.ts names, and to the next one when that cannot serve the tenant now. Every
 * request of this API may be repeated, at any cell: a job is known by its tenant and id, and the same message counts once.
 */
import type { CellDirectory } from '../protocol/owner.ts';
import { type Api, ApiError, type ApiOptions, createApi } from './api.ts';
import { afterAnswer, type CellOutcome, cellsOf, type CellsState, nextCell, startCells } from './cells-core.ts';

export interface CellsOptions extends Omit<ApiOptions, 'url' | 'attempts'> {
  /** Signed by the owner, and verified. */
  readonly directory: CellDirectory;
  readonly tenant: string;
  /** Asked first. */
  readonly first?: string | undefined;
  /** How long a request is tried in all, ms; longer than a failover takes. */
  readonly patienceMs?: number;
  readonly now?: () => number;
  /** Told when another cell is asked than before. */
  readonly onMove?: (cell: string, why: string) => void;
}

export interface CellsApi extends Api {
  /** The cell that answered last. */
  readonly cell: () => string;
}

const PATIENCE_MS = 120_000;
/** A cell that stands still keeps a connection open and says nothing. */
const TIMEOUT_MS = 8_000;
const STREAM_MS = 15_000;
/** Said by a cell about the tenant's epoch: another one may have it. */
const EPOCH = /^EPOCH_(ABSENT|EXPIRED|FENCED|QUORUM|CLOCK|CELL|HELD)$/;

/** `undefined`: an answer that would be the same everywhere. */
function outcomeOf(error: ApiError): CellOutcome | undefined {
  if (error.code === 'EPOCH_FENCED') {
    const named = error.problem?.reasons?.[0]?.need;
    return named === undefined ? { kind: 'down' } : { kind: 'elsewhere', cell: named };
  }
  // A full store is full for longer than a cell by itself is worth waiting for; another one has room.
  return EPOCH.test(error.code) || error.code === 'STORE_FULL' || error.passing ? { kind: 'down', retryAfterMs: error.retryAfter } : undefined;
}

export function createCellsApi(options: CellsOptions): CellsApi {
  const { directory, tenant, first, patienceMs = PATIENCE_MS, now = Date.now, onMove } = options;
  const cells = cellsOf(directory, tenant);
  const apis = new Map(cells.map(({ name, url }) => [name, createApi({ ...options, url, attempts: 1, timeoutMs: options.timeoutMs ?? TIMEOUT_MS })]));
  let state: CellsState = startCells(cells.map(({ name }) => name), first);
  const at = (name: string): Api => apis.get(name) as Api;
  const current = (): Api => at(state.preferred);

  const moving = async <T>(work: (api: Api) => Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
    for (const end = now() + patienceMs; ;) {
      const { cell, waitMs } = nextCell(state, now());
      if (waitMs > 0) await current().sleep(waitMs, signal);
      try {
        const answer = await work(at(cell));
        if (cell !== state.preferred) onMove?.(cell, 'answers');
        state = afterAnswer(state, cell, { kind: 'ok' }, now());
        return answer;
      } catch (error) {
        const outcome = error instanceof ApiError ? outcomeOf(error) : undefined;
        if (outcome === undefined) throw error;
        state = afterAnswer(state, cell, outcome, now());
        if (now() >= end) throw error;
      }
    }
  };

  return {
    get url() { return current().url; },
    cell: () => state.preferred,
    sleep: (ms, signal) => current().sleep(ms, signal),
    keyManifest: (request, signal) => moving((api) => api.keyManifest(request, signal), signal),
    submit: (message, signal) => moving((api) => api.submit(message, signal), signal),
    job: (jobId, signal) => moving((api) => api.job(jobId, signal), signal),
    jobs: (query, signal) => moving((api) => api.jobs(query, signal), signal),
    // Only tells when to look at the job, which is asked of whoever has it.
    async* events(jobId, after, signal) {
      const until = AbortSignal.timeout(STREAM_MS);
      yield* current().events(jobId, after, signal === undefined ? until : AbortSignal.any([signal, until]));
    },
  };
}

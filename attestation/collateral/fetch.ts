/**
 * Collateral from its vendors: the edge that verifiers never are. What is in the cache and holds is used; what is asked for is asked for once however many want
 * it; a vendor that is busy is left alone for as long as it says, or for a random part of a growing time. A vendor that does not answer is COLLATERAL_UNAVAILABLE,
 * or, while what was fetched before still holds, that. Nothing is ever used past its own end.
 */
import { printable, Refusal, refuse, type Reason } from '../refusal.ts';
import { CollateralCache } from './cache.ts';
import { type Collateral, type CollateralItem, type CollateralKind, collateralOf } from './collateral.ts';
import { checkContent, collateralPath } from './content.ts';
import { type Endpoints, PUBLIC_ENDPOINTS } from './endpoints.ts';
import { type Fetch, get, HttpFailure } from './http.ts';
import { MAX_ANSWER, type Received, type Source, sourceOf } from './sources.ts';

export interface Wanted { readonly kind: CollateralKind; readonly key: string }

export interface FetcherOptions {
  /** Where items are kept. */
  readonly folder: string;
  readonly endpoints?: Partial<Endpoints>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random?: () => number;
  readonly wait?: (ms: number) => Promise<void>;
  readonly fetch?: Fetch;
  /** Of one request with its answer. */
  readonly timeoutMs?: number;
  /** Requests for one item. */
  readonly attempts?: number;
  /** Longest wait between two of them; a vendor that wants more is unavailable. */
  readonly maxWaitMs?: number;
}

export interface Fetcher {
  /**
   * @param options.refresh ask the vendor though the cache has one (a token names a key that a cached key set lacks); at most once a minute
   * @throws Refusal COLLATERAL_UNAVAILABLE, COLLATERAL_ABSENT, COLLATERAL_FORMAT, COLLATERAL_MISMATCH, COLLATERAL_EXPIRED; CLOUD_ORIGIN for a host that Google's registry does not know
   */
  fetch(kind: CollateralKind, key: string, options?: { readonly refresh?: boolean }): Promise<CollateralItem>;
  /** What could be had of it, and why the rest could not. */
  collect(wanted: readonly Wanted[]): Promise<{ readonly collateral: Collateral; readonly items: readonly CollateralItem[]; readonly reasons: readonly Reason[] }>;
}

const FIRST_WAIT_MS = 500;
const MIN_REFRESH = 60;
/** After a failure, how long what is still good is used without asking. */
const LEAVE_ALONE_MS = 60_000;
const LATER = 'Try again later, use a cache of the vendor\'s data that you run, or bring it in an offline bundle.';

export function createFetcher(options: FetcherOptions): Fetcher {
  const { folder, now, random = Math.random, timeoutMs = 10_000, attempts = 4, maxWaitMs = 15_000 } = options;
  const wait = options.wait ?? ((ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); }));
  const fetch: Fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
  const endpoints: Endpoints = { ...PUBLIC_ENDPOINTS, ...options.endpoints };
  const cache = new CollateralCache(folder);
  const flights = new Map<string, Promise<Received[]>>();
  /** By service: not before, epoch ms. */
  const quiet = new Map<string, number>();
  const seconds = (): number => Math.floor(now() / 1000);

  async function request(source: Source, path: string): Promise<Received[]> {
    const until = quiet.get(source.url.origin) ?? 0;
    if (until > now()) return refuse('COLLATERAL_UNAVAILABLE', path, LATER, { have: `${source.url.host} asked to be left alone for ${Math.ceil((until - now()) / 1000)} s` });
    for (let attempt = 1; ; attempt++) {
      try {
        return source.read(await get({ ...source, limit: Math.min(source.limit, MAX_ANSWER) }, { fetch, timeoutMs, now }));
      } catch (error) {
        if (!(error instanceof HttpFailure)) throw error;
        const have = `${printable(source.url.host)}: ${error.message}`;
        if (error.kind === 'absent') return refuse(path === 'collateral.gce-host' ? 'CLOUD_ORIGIN' : 'COLLATERAL_ABSENT', path, 'The vendor publishes none: look at what was asked for.', { have });
        if (error.kind === 'refused') return refuse('COLLATERAL_FORMAT', path, 'Ask the vendor\'s service itself, without a proxy that answers for it.', { have });
        const asked = error.retryAfterMs ?? 0;
        // Full jitter, and never before the time that the service named
        const pause = asked + random() * Math.min(maxWaitMs, FIRST_WAIT_MS * 2 ** (attempt - 1));
        if (attempt >= attempts || asked > maxWaitMs) {
          quiet.set(source.url.origin, now() + asked);
          return refuse('COLLATERAL_UNAVAILABLE', path, LATER, { have: `${have}, after ${attempt} ${attempt === 1 ? 'attempt' : 'attempts'}` });
        }
        await wait(pause);
      }
    }
  }

  /** Checks all that an answer brought before any of it is kept. */
  async function receive(source: Source, path: string): Promise<Received[]> {
    const received = await request(source, path);
    const fetchedAt = seconds();
    for (const { kind, key, bytes } of received) checkContent(kind, key, bytes, fetchedAt, fetchedAt);
    for (const { kind, key, bytes } of received) await cache.put({ kind, key, bytes, fetchedAt, origin: 'vendor' });
    return received;
  }

  /** One request per address, whoever wants what it brings. */
  function flight(source: Source, path: string): Promise<Received[]> {
    const name = source.url.href;
    const flying = flights.get(name);
    if (flying !== undefined) return flying;
    const started = receive(source, path).finally(() => flights.delete(name));
    flights.set(name, started);
    return started;
  }

  const failedAt = new Map<string, number>();

  async function fetchItem(kind: CollateralKind, key: string, { refresh = false }: { readonly refresh?: boolean } = {}): Promise<CollateralItem> {
    const at = seconds();
    const path = collateralPath(kind, key);
    const name = `${kind} ${key}`;
    const cached = await cache.get(kind, key, at);
    const due = cached === undefined || (cached.renewAt !== null && cached.renewAt <= at) || (refresh && at - cached.fetchedAt >= MIN_REFRESH);
    if (cached !== undefined && (!due || now() - (failedAt.get(name) ?? -Infinity) < LEAVE_ALONE_MS)) return item(cached);
    try {
      const received = await flight(sourceOf(kind, key, endpoints), path);
      const found = received.find((r) => r.kind === kind && r.key === key);
      if (found === undefined) return refuse('COLLATERAL_ABSENT', path, LATER, { have: 'an answer without it' });
      failedAt.delete(name);
      return { kind, key, bytes: found.bytes, source: 'live', fetchedAt: at };
    } catch (error) {
      // Held still, so usable; but only where nobody answered: an answer that is wrong is to be seen
      const unavailable = error instanceof Refusal && (error.code === 'COLLATERAL_UNAVAILABLE' || (error.code === 'COLLATERAL_ABSENT' && kind === 'intel-tcb-signing-chain'));
      if (cached === undefined || !unavailable || (cached.until !== null && cached.until < seconds())) throw error;
      failedAt.set(name, now());
      return item(cached);
    }
  }

  const item = ({ kind, key, bytes, source, fetchedAt }: CollateralItem): CollateralItem => ({ kind, key, bytes, source, fetchedAt });

  return {
    fetch: fetchItem,
    async collect(wanted) {
      // Chains come with what they sign: last, so that they are found in the cache
      const late = (w: Wanted): boolean => w.kind === 'intel-tcb-signing-chain' || w.kind === 'intel-pck-crl-chain';
      const items: CollateralItem[] = [];
      const reasons: Reason[] = [];
      for (const group of [wanted.filter((w) => !late(w)), wanted.filter(late)]) {
        const results = await Promise.allSettled(group.map(({ kind, key }) => fetchItem(kind, key)));
        for (const result of results) {
          if (result.status === 'fulfilled') items.push(result.value);
          else if (result.reason instanceof Refusal) reasons.push(...result.reason.reasons);
          else throw result.reason;
        }
      }
      return { collateral: collateralOf(items), items, reasons };
    },
  };
}

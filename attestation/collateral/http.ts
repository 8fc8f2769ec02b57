/** One GET of something public: no redirects, no cookies, bounded in size and in time. What went wrong says whether asking again can help. */
import { bytes, concat } from '../bytes.ts';
import type { Answer, Source } from './sources.ts';

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export class HttpFailure extends Error {
  override readonly name = 'HttpFailure';
  /** `absent`: the service says that there is none. `busy`: not now. `refused`: an answer that no repetition changes. */
  readonly kind: 'absent' | 'busy' | 'refused';
  /** What the service asked for, milliseconds. */
  readonly retryAfterMs: number | undefined;
  constructor(kind: HttpFailure['kind'], message: string, retryAfterMs?: number) {
    super(message);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

/** @param now epoch milliseconds, for a Retry-After that is a date. @throws HttpFailure */
export async function get(source: Source, { fetch, timeoutMs, now }: { readonly fetch: Fetch; readonly timeoutMs: number; readonly now: () => number }): Promise<Answer> {
  let response: Response;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    response = await fetch(source.url, { headers: { accept: '*/*', ...source.headers }, redirect: 'manual', credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', signal });
  } catch (error) {
    throw new HttpFailure('busy', reasonOf(error, signal, timeoutMs));
  }
  const { status, headers } = response;
  if (status !== 200) {
    await response.body?.cancel().catch(() => {});
    if (status === 404 || status === 410) throw new HttpFailure('absent', `status ${status}`);
    if (status === 429 || status === 408 || status >= 500) throw new HttpFailure('busy', `status ${status}`, retryAfter(headers.get('retry-after'), now()));
    throw new HttpFailure('refused', status >= 300 && status < 400 ? `a redirect (status ${status})` : `status ${status}`);
  }
  const tooLarge = (): HttpFailure => new HttpFailure('refused', `more than ${source.limit} bytes`);
  if (Number(headers.get('content-length') ?? 0) > source.limit) {
    await response.body?.cancel().catch(() => {});
    throw tooLarge();
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of response.body ?? []) {
      size += part.length;
      // Leaving the loop cancels the rest
      if (size > source.limit) throw tooLarge();
      parts.push(bytes(part));
    }
  } catch (error) {
    throw error instanceof HttpFailure ? error : new HttpFailure('busy', reasonOf(error, signal, timeoutMs));
  }
  return { bytes: concat(...parts), header: (name) => headers.get(name) };
}

function reasonOf(error: unknown, signal: AbortSignal, timeoutMs: number): string {
  if (signal.aborted) return `no answer within ${timeoutMs} ms`;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  return `no connection${code === undefined ? '' : ` (${code.slice(0, 40)})`}`;
}

/** Seconds, or a date (RFC 9110, section 10.2.3). */
function retryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

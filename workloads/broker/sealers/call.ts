/**
 * Requests to a cloud's key service and to what vouches for the broker there: bounded in time and size, no redirects; what may be well a moment later is tried again after a
 * random pause. Of an error only the service's own short code is kept: texts and bodies may hold tokens.
 */
import { Agent as PlainAgent, type IncomingMessage, request as plain } from 'node:http';
import { Agent, request as tls } from 'node:https';
import { type Bytes, text } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { Clock } from '../../protocol/clock.ts';
import { wholeBody } from '../../protocol/exchange.ts';

export interface Service {
  /** `https://kms.eu-central-1.amazonaws.com`: what the request, its signature and the certificate name. */
  readonly origin: string;
  /** Where the connection goes when that name is not reached by DNS: the local end of a bridge. TLS still ends at the origin. */
  readonly road?: { readonly host: string; readonly port: number };
  /** PEM of roots in place of Node's. */
  readonly ca?: string;
}

export interface Surroundings {
  readonly now: Clock;
  readonly sleep: (ms: number) => Promise<unknown>;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Of one attempt. */
  readonly attemptMs: number;
}

export const surroundings = (given: Partial<Surroundings> = {}): Surroundings => ({
  now: Date.now, sleep: (ms) => new Promise((done) => { setTimeout(done, ms); }), random: Math.random, attemptMs: 4_000, ...given,
});

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** With query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  readonly body: Bytes;
  /** Of an error, as the service names it; '' where it names none. */
  readonly code: string;
}

/** Signs a call or gives it its token, for each attempt. `stale`: the service refused the credentials of the one before. */
export type Authorize = (call: Call, stale: boolean) => Promise<Call>;

const MAX_ANSWER = 256 * 1024;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 3_000;
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
/** AWS answers these with status 400. */
const PASSING_CODES: ReadonlySet<string> = new Set(['ThrottlingException', 'RequestLimitExceeded', 'DependencyTimeoutException', 'KMSInternalException', 'KeyUnavailableException']);
const STALE_CODES: ReadonlySet<string> = new Set(['ExpiredTokenException', 'UnrecognizedClientException', 'InvalidClientTokenId', 'RequestExpired']);
const plainAgent = new PlainAgent({ keepAlive: true, maxFreeSockets: 4 });
const tlsAgent = new Agent({ keepAlive: true, maxFreeSockets: 4 });

const AS_IT_IS: Authorize = async (call) => call;

/** The last answer, whatever its status below 500. @throws Refusal KEY_SEALER_UNAVAILABLE when there is none, or none but "later" */
export async function ask(service: Service, call: Call, around: Surroundings, authorize: Authorize = AS_IT_IS): Promise<Answer> {
  let last = 'no answer';
  let stale = false;
  let refused = false;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // From half of a pause that doubles up to all of it: many brokers do not come back at once.
    if (attempt > 0) await around.sleep(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + around.random() / 2));
    const ready = await authorize(call, stale);
    stale = false;
    let answer: Answer;
    try {
      answer = await once(service, ready, around.attemptMs);
    } catch (error) {
      last = reasonOf(error);
      continue;
    }
    last = `${answer.status} ${answer.code}`.trim();
    if (!refused && (answer.status === 401 || STALE_CODES.has(answer.code))) {
      refused = stale = true;
      continue;
    }
    if (!PASSING.has(answer.status) && !PASSING_CODES.has(answer.code)) return answer;
  }
  return refuse('KEY_SEALER_UNAVAILABLE', hostOf(service), 'Look at the health of the key service and at the road to it; the broker asks again with the next request.', { have: last, need: `an answer within ${ATTEMPTS} attempts` });
}

export const hostOf = ({ origin }: Service): string => new URL(origin).host;

async function once(service: Service, { method, path, headers, body }: Call, ms: number): Promise<Answer> {
  const url = new URL(path, service.origin);
  if (url.origin !== new URL(service.origin).origin) throw new TypeError('a path that leads elsewhere');
  const secure = url.protocol === 'https:';
  const { host, port } = service.road ?? { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port || (secure ? 443 : 80)) };
  const signal = AbortSignal.timeout(ms);
  const payload = body === undefined ? undefined : Buffer.from(body, 'utf8');
  const options = {
    host, port, method, path: url.pathname + url.search, signal,
    headers: { ...headers, host: url.host, 'accept-encoding': 'identity', ...(payload === undefined ? {} : { 'content-length': String(payload.length) }) },
  };
  const response = await new Promise<IncomingMessage>((done, failed) => {
    const asked = secure
      ? tls({ ...options, agent: tlsAgent, servername: url.hostname, minVersion: 'TLSv1.2', ...(service.ca === undefined ? {} : { ca: service.ca }) })
      : plain({ ...options, agent: plainAgent });
    asked.once('response', done).once('error', failed);
    asked.end(payload);
  });
  const status = response.statusCode ?? 0;
  const data = await wholeBody(response, MAX_ANSWER);
  return { status, body: data, code: status >= 200 && status < 300 ? '' : codeOf(data) };
}

const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** AWS: `__type`, Google: `error.status` (STS: `error`), Azure: `error.code`. */
function codeOf(body: Bytes): string {
  try {
    const { __type, error } = JSON.parse(text(body.subarray(0, 8_192))) as { __type?: unknown; error?: unknown };
    const { status, code } = (typeof error === 'object' && error !== null ? error : {}) as { status?: unknown; code?: unknown };
    const found = [typeof __type === 'string' ? __type.split('#').at(-1) : undefined, error, status, code].find((value): value is string => typeof value === 'string' && CODE.test(value));
    return found ?? '';
  } catch {
    return '';
  }
}

const SYSTEM_CODE = /^[A-Z][A-Z0-9_]{1,40}$/;

/** Never the message: it may quote an address or a header. */
function reasonOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (error instanceof RangeError) return `more than ${MAX_ANSWER} bytes`;
  if (name === 'TimeoutError' || name === 'AbortError') return 'no answer in time';
  return typeof code === 'string' && SYSTEM_CODE.test(code) ? code : 'no whole answer';
}

/** JSON of a schema. @throws Refusal KEY_SEALER_ANSWER, which says nothing of what was there */
export function read<T>(schema: { parse(value: unknown): T }, { body }: Answer, path: string): T {
  try {
    return schema.parse(JSON.parse(text(body)));
  } catch {
    return refuse('KEY_SEALER_ANSWER', path, 'The service answers in a form that this broker does not know; look for a newer version of it.', { have: 'another form', need: 'the documented one' });
  }
}

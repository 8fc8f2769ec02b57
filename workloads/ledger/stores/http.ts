/**
 * Requests to an object store: each attempt and each answer is bounded, what may be well a moment later is tried again after a random pause, and an error says the
 * service's own short code and nothing else: addresses, headers and bodies may hold tokens or names.
 */
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { Clock } from '../../protocol/clock.ts';
import { LedgerError } from '../errors.ts';

export interface Surroundings {
  readonly fetch: typeof fetch;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now: Clock;
  readonly sleep: (ms: number) => Promise<unknown>;
  /** From 0 to below 1. */
  readonly random: () => number;
}

export const surroundings = (given: Partial<Surroundings> = {}): Surroundings => ({ fetch: globalThis.fetch, env: process.env, now: Date.now, sleep: sleepFor, random: Math.random, ...given });

export interface Call {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Of an error, as the service names it: letters only. */
  readonly code: string;
}

const ATTEMPTS = 4;
const ATTEMPT_MS = 20_000;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5_000;
/** No message is larger, and no page of names. */
const MAX_BODY = 64 * 2 ** 20;
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
/** Of S3: two writers of one name, one of which may go on; an answer that could not be carried out in time. */
const PASSING_CODES: ReadonlySet<string> = new Set(['ConditionalRequestConflict', 'OperationAborted', 'RequestTimeout', 'SlowDown']);
/** Of tokens that ended early: another one is asked for. */
const STALE_CODES: ReadonlySet<string> = new Set(['ExpiredToken', 'InvalidToken', 'RequestExpired', 'TokenRefreshRequired']);

/** Signs or authorizes a call anew for each attempt. `stale`: the store refused what it was given before. */
export type Authorize = (call: Call, stale: boolean) => Promise<Call>;

/** @throws LedgerError BLOB_UNAVAILABLE */
export async function send(call: Call, authorize: Authorize, { fetch: fetch_, sleep, random }: Surroundings): Promise<Answer> {
  let last = '';
  let stale = false;
  let refused = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await sleep(pauseMs(attempt, random));
    const authorized = await authorize(call, stale);
    stale = false;
    let answer: Answer;
    try {
      answer = await once(authorized, fetch_);
    } catch (error) {
      last = causeOf(error);
      continue;
    }
    last = `${answer.status} ${answer.code}`.trim();
    if (answer.status === 401 || STALE_CODES.has(answer.code)) {
      // A second refusal is an answer.
      if (++refused > 1) break;
      stale = true;
      continue;
    }
    if (!PASSING.has(answer.status) && !PASSING_CODES.has(answer.code)) return answer;
  }
  throw new LedgerError('BLOB_UNAVAILABLE', `The store failed: ${last}.`);
}

/** From half of a pause that doubles up to all of it, so that many gateways do not come back at once. */
const pauseMs = (attempt: number, random: () => number): number => Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + random() / 2);

/** No redirection: a token goes where it was meant to go. */
export async function once({ method, url, headers, body }: Call, fetch_: typeof fetch, ms = ATTEMPT_MS): Promise<Answer> {
  const response = await fetch_(url, { method, headers, redirect: 'error', signal: AbortSignal.timeout(ms), ...(body === undefined ? {} : { body }) });
  const data = method === 'HEAD' ? new Uint8Array(0) : await bounded(response);
  return { status: response.status, headers: response.headers, body: data, code: response.ok ? '' : codeOf(response.headers, data) };
}

async function bounded(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > MAX_BODY) throw new LedgerError('BLOB_UNAVAILABLE', 'The store sends more than it was ever given.');
    parts.push(part);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const CODE = /^[A-Za-z]{1,64}$/;

/** Azure's header, S3's XML, Google's JSON. */
function codeOf(headers: Headers, body: Uint8Array): string {
  const text = new TextDecoder().decode(body.subarray(0, 4_096));
  const found = headers.get('x-ms-error-code') ?? /<Code>([A-Za-z]{1,64})<\/Code>/.exec(text)?.[1] ?? /"reason"\s*:\s*"([A-Za-z]{1,64})"/.exec(text)?.[1] ?? '';
  return CODE.test(found) ? found : '';
}

const SYSTEM_CODE = /^[A-Z][A-Z0-9_]{1,40}$/;

/** Never the message: it may quote an address. */
function causeOf(error: unknown): string {
  if (error instanceof LedgerError) return error.code;
  const { cause, name } = error as { cause?: { code?: unknown }; name?: unknown };
  if (typeof cause?.code === 'string' && SYSTEM_CODE.test(cause.code)) return cause.code;
  return name === 'TimeoutError' ? 'no answer in time' : 'no connection';
}

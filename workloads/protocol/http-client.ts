/**
 * Requests between the processes of a cell: bounded in time and size, no redirects, a proof of possession where asked for. Answers
 * other than 2xx are thrown with the stable code of their problem document; what the other side wrote beside the code is dropped.
 */
import { type Bytes, text, utf8 } from '../../attestation/bytes.ts';
import { exchange } from './exchange.ts';
import { makePop } from './pop.ts';

/** Nobody answered, or not in time. Whether the request had an effect is unknown. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  readonly code = 'UNREACHABLE';
}

/** The other side answered with an error. */
export class Answered extends Error {
  override readonly name = 'Answered';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

export interface Proof { readonly key: CryptoKey; readonly session?: string }

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Path with query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object;
  readonly proof?: Proof;
  readonly headers?: Readonly<Record<string, string>>;
  /** Epoch seconds, for the proof. */
  readonly now: number;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

/** @throws Unreachable, Answered */
export async function request(origin: string, call: HttpCall): Promise<Bytes> {
  const { method, path, proof, now } = call;
  const body = call.body === undefined ? new Uint8Array(0) : utf8(JSON.stringify(call.body));
  const headers: Record<string, string> = { accept: 'application/json, application/octet-stream, application/problem+json', ...call.headers };
  if (call.body !== undefined) headers['content-type'] = 'application/json';
  if (proof !== undefined) {
    headers['ccc-pop'] = await makePop({ key: proof.key, method, path, body, session: proof.session, now });
    if (proof.session !== undefined) headers['ccc-session'] = proof.session;
  }
  const limit = AbortSignal.timeout(call.timeoutMs);
  const signal = call.signal === undefined ? limit : AbortSignal.any([limit, call.signal]);
  try {
    const answer = await exchange(origin + path, {
      method, headers, signal, ...(call.body === undefined ? {} : { body }), maxBytes: (status) => (isOk(status) ? call.maxBytes : 65_536),
    });
    if (!isOk(answer.status)) throw new Answered(answer.status, codeOf(answer.body));
    return answer.body;
  } catch (cause) {
    if (cause instanceof Answered) throw cause;
    throw new Unreachable(`no answer to ${method} ${path.split('?')[0]}`, { cause });
  }
}

const isOk = (status: number): boolean => status >= 200 && status < 300;

function codeOf(body: Bytes): string {
  try {
    const { code } = JSON.parse(text(body)) as { code?: unknown };
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return code;
  } catch { /* no problem document */ }
  return 'UNKNOWN';
}

/** @throws Error when it is not UTF-8, not JSON or not of the schema */
export const parseJson = <T>(schema: { parse(value: unknown): T }, body: Bytes): T => schema.parse(JSON.parse(text(body)));

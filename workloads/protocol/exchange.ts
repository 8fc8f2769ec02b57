/**
 * One HTTP request and its answer over node:http, with connections kept alive. `fetch` would do, at three times the CPU time of a
 * small request, and there are several for every job. No redirects, no decompression: what comes is what was sent.
 */
import { Agent, type IncomingMessage, request } from 'node:http';
import { type Bytes, bytes, concat } from '../../attestation/bytes.ts';

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
  /** Bytes of the answer, by its status. */
  maxBytes(status: number): number;
}

export interface Answer { readonly status: number; readonly mediaType: string | undefined; readonly body: Bytes }

const agent = new Agent({ keepAlive: true, maxFreeSockets: 16 });

/** @throws Error when there is no whole answer within the bounds */
export async function exchange(url: string, { method, headers, body, signal, maxBytes }: Exchange): Promise<Answer> {
  signal.throwIfAborted();
  const response = await new Promise<IncomingMessage>((done, failed) => {
    const call = request(url, { agent, method, headers: body === undefined ? headers : { ...headers, 'content-length': body.length }, signal });
    call.once('response', done).once('error', failed);
    call.end(body);
  });
  const status = response.statusCode ?? 0;
  return { status, mediaType: response.headers['content-type'], body: await wholeBody(response, maxBytes(status)) };
}

/** @throws RangeError beyond `limit` bytes, Error when it broke off */
export async function wholeBody(response: IncomingMessage, limit: number): Promise<Bytes> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > limit) throw new RangeError('answer too large');
      parts.push(part);
    }
  } catch (error) {
    response.destroy();
    throw error;
  }
  if (!response.complete) throw new Error('the answer broke off');
  return parts.length === 1 ? bytes(parts[0] as Uint8Array) : concat(...parts);
}

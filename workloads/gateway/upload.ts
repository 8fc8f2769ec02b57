/** A body read with a cap and two clocks: the whole of it, and the pause between two pieces. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Bytes } from '../../attestation/bytes.ts';
import { CccError } from '../protocol/problem.ts';
import type { Limits } from './limits.ts';

type UploadLimits = Pick<Limits, 'messageBytes' | 'uploadMs' | 'uploadIdleMs'>;

const tooLarge = (limit: number): CccError => new CccError('BODY_TOO_LARGE', 'Send a smaller picture.', { detail: `More than ${limit} bytes` });

/** What the header promises, or undefined. @throws CccError BODY_TOO_LARGE */
export function promisedLength(header: string | undefined, limit: number): number | undefined {
  if (header === undefined || !/^\d{1,15}$/.test(header)) return undefined;
  const length = Number(header);
  if (length > limit) throw tooLarge(limit);
  return length;
}

/** @throws CccError BODY_TOO_LARGE, REQUEST_TIMEOUT, BAD_REQUEST */
export function readUpload(stream: Readable, limits: UploadLimits): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const late = (what: string) => () => end(new CccError('REQUEST_TIMEOUT', 'Send the same request again over a faster line.', { detail: what }));
    const whole = setTimeout(late(`The body took more than ${limits.uploadMs} ms`), limits.uploadMs);
    const idle = setTimeout(late(`Nothing came for ${limits.uploadIdleMs} ms`), limits.uploadIdleMs);
    const onData = (chunk: Buffer) => {
      idle.refresh();
      size += chunk.length;
      if (size > limits.messageBytes) end(tooLarge(limits.messageBytes));
      else chunks.push(chunk);
    };
    const onEnd = () => end();
    const cut = (cause?: unknown) => end(new CccError('BAD_REQUEST', 'Send the whole body.', { detail: 'The connection was cut', cause }));
    const onClose = () => cut();
    function end(error?: CccError): void {
      clearTimeout(whole);
      clearTimeout(idle);
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      // An error that comes after the verdict has nobody left to tell.
      stream.off('error', cut).on('error', () => {});
      if (error !== undefined) { stream.pause(); reject(error); return; }
      const out = new Uint8Array(size);
      let at = 0;
      for (const chunk of chunks) { out.set(chunk, at); at += chunk.length; }
      resolve(out);
    }
    stream.on('data', onData).on('end', onEnd).on('error', cut).on('close', onClose);
  });
}

/**
 * After a refusal in the middle of a body: what still comes is thrown away for a while, so that the caller gets to read the
 * answer, then the connection is cut. Without it a caller that is still writing sees a reset instead of the problem.
 */
export function linger(request: IncomingMessage, ms: number): void {
  if (request.complete || request.destroyed) return;
  const timer = setTimeout(() => request.destroy(), ms);
  timer.unref();
  request.on('error', () => {}).once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer));
  request.resume();
}

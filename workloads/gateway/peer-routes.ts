/**
 * Ciphertext between cells, on the internal listener: a peer's gateway stores a message here before it acknowledges the job, or fetches one that it lost.
 * The caller proves itself by its cell's key of the owner's directory. The proof is over method and path, and the path holds the digest, so it
 * covers the bytes without being computed from them: a stranger's body is never read.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { fromB64u } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { type Blobs, digestOf } from '../ledger/blobs.ts';
import { LedgerError } from '../ledger/ledger.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import type { CellDirectory } from '../protocol/owner.ts';
import { JtiStore, verifyPop } from '../protocol/pop.ts';
import { CccError } from '../protocol/problem.ts';
import { hexText } from '../protocol/wire.ts';
import type { Limits } from './limits.ts';
import { type Hooks, route, type Route } from './route.ts';
import { storeError } from './store.ts';
import { linger, promisedLength, readUpload } from './upload.ts';

export const peerBlobPath = (digest: string): string => `/internal/v1/peer/blobs/${digest}`;

const NOTHING = new Uint8Array();
const MAX_CELL_NAME = 63;
const PEER = ['POP_INVALID', 'POP_REPLAYED', 'DIRECTORY_EXPIRED', 'NOT_READY', 'STORE_UNAVAILABLE'] as const;

export interface PeerRoutesOptions {
  readonly cell: string;
  readonly directory: () => CellDirectory;
  /** This cell's own store: a peer's question is never passed on. */
  readonly blobs: Blobs;
  /** Memory for one body; returns its release. @throws CccError BACK_PRESSURE */
  readonly reserve: (bytes: number, cell: string) => () => void;
  readonly limits: Limits;
  readonly now: Clock;
}

const header = (request: FastifyRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
};

/** Routes of auth `peer`, and the hook that proves the caller. */
export function peerRoutes({ cell, directory, blobs, reserve, limits, now }: PeerRoutesOptions): { routes: Route<'peer'>[]; hooks: Hooks } {
  const seen = new JtiStore();
  const callers = new WeakMap<FastifyRequest, string>();

  const prove = async (request: FastifyRequest): Promise<void> => {
    const name = header(request, 'ccc-cell') ?? '';
    const entry = name.length > MAX_CELL_NAME ? undefined : directory().cells.find((one) => one.name === name);
    if (name === cell || entry?.key === undefined) refuse('POP_INVALID', 'ccc-cell', 'Only other cells of the owner\'s directory, with a key there, may call this.', { have: name.slice(0, MAX_CELL_NAME) || 'none' });
    const pop = header(request, 'ccc-pop') ?? refuse('POP_INVALID', 'ccc-pop', 'Send a proof with each request.', { have: 'none' });
    await verifyPop({ pop, publicKey: fromB64u(entry.key), method: request.method, path: request.raw.url ?? request.url, body: NOTHING, now: seconds(now), seen });
    callers.set(request, name);
  };

  const params = z.strictObject({ digest: hexText(32) });
  const put = async (digest: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    let release: (() => void) | undefined;
    try {
      const promised = promisedLength(request.headers['content-length'], limits.messageBytes);
      if (request.body === undefined || promised === 0) throw new CccError('BODY_EMPTY', 'Send the bytes as application/octet-stream.');
      release = reserve(promised ?? limits.messageBytes, `cell ${callers.get(request)}`);
      const data = await readUpload(request.raw, limits);
      if (digestOf(data) !== digest) throw new CccError('BAD_REQUEST', 'Send the bytes that the path names.', { detail: 'Their SHA-256 is another' });
      await blobs.put(data).catch((error: unknown) => { throw storeError(error); });
      return reply.code(204).send();
    } catch (error) {
      linger(request.raw, limits.lingerMs);
      throw error;
    } finally {
      release?.();
    }
  };

  return {
    hooks: { onRequest: [prove] },
    routes: [
      route({
        method: 'PUT', path: peerBlobPath(':digest'), operation: 'putPeerBlob', auth: 'peer', summary: 'Stores a message of a peer\'s job. It is on disk when this is answered.',
        params, stream: { mediaType: 'application/octet-stream', description: `The message, at most ${limits.messageBytes} bytes` },
        answers: { 204: { description: 'Stored' } }, errors: [...PEER, 'BODY_EMPTY', 'BODY_TOO_LARGE', 'REQUEST_TIMEOUT', 'BAD_REQUEST', 'BACK_PRESSURE', 'STORE_FULL'],
        handler: ({ params: { digest }, request, reply }) => put(digest, request, reply),
      }),
      route({
        method: 'GET', path: peerBlobPath(':digest'), operation: 'getPeerBlob', auth: 'peer', summary: 'A message that is here.',
        params, answers: { 200: { description: 'The message', mediaType: 'application/octet-stream' } }, errors: [...PEER, 'NOT_FOUND'],
        handler: async ({ params: { digest }, reply }) => {
          const data = await blobs.get(digest).catch((error: unknown) => {
            // Damaged is as good as missing: the peer asks the next one.
            if (error instanceof LedgerError && (error.code === 'BLOB_MISSING' || error.code === 'BLOB_CORRUPT')) throw new CccError('NOT_FOUND', 'Ask another cell.', { cause: error });
            throw storeError(error);
          });
          return reply.code(200).header('content-type', 'application/octet-stream').send(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
        },
      }),
    ],
  };
}

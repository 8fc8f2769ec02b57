/** Ciphertext between gateways of two cells, over HTTP, with real proofs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u } from '../../attestation/bytes.ts';
import { createApp } from '../../workloads/gateway/http.ts';
import { LIMITS, type Limits } from '../../workloads/gateway/limits.ts';
import { peerBlobPath, peerRoutes } from '../../workloads/gateway/peer-routes.ts';
import { openPeerStore } from '../../workloads/gateway/peer-store.ts';
import { peersSchema } from '../../workloads/gateway/peers.ts';
import { addRoutes } from '../../workloads/gateway/route.ts';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';
import { generateSigningKey, type SigningKey } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import type { CellDirectory } from '../../workloads/protocol/owner.ts';
import { makePop } from '../../workloads/protocol/pop.ts';

const NOW = 1_800_000_000_000;
const now = () => NOW;
const limits: Limits = { ...LIMITS, messageBytes: 10_000 };
const data = (text: string) => new TextEncoder().encode(text);

describe('ciphertext from a peer', () => {
  let folder: string;
  let blobs: Blobs;
  let app: FastifyInstance;
  let origin: string;
  let keyA: SigningKey;
  let keyB: SigningKey;
  let reserved = 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ccc-peer-'));
    blobs = await openBlobs({ folder });
    [keyA, keyB] = [await generateSigningKey(), await generateSigningKey()];
    const cellEntry = (name: string, key?: SigningKey) => ({ name, cloud: 'local' as const, region: 'r', url: 'http://127.0.0.1:1', configDigest: 'ab'.repeat(32), epoch: 1, ...(key === undefined ? {} : { key: b64u(key.publicKey) }) });
    const directory: CellDirectory = { revision: 1, notAfter: NOW, deployment: 'd', cells: [cellEntry('cell-a', keyA), cellEntry('cell-b', keyB), cellEntry('keyless')] };
    app = createApp({ listener: 'internal', limits, log: createLog('test', { write: () => {} }), now, bodyBytes: limits.internalBytes });
    const { routes, hooks } = peerRoutes({ cell: 'cell-b', directory: () => directory, blobs, limits, now, reserve: (size) => { reserved += size; return () => { reserved -= size; }; } });
    app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
    addRoutes(app, routes, () => hooks);
    origin = await app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(async () => {
    await app?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const store = (over: object = {}) => openPeerStore({ name: 'cell-b', origin, cell: 'cell-a', key: keyA.privateKey, maxBytes: limits.messageBytes, timeoutMs: 5_000, now, ...over });
  const send = async (path: string, { method = 'PUT', body, cell = 'cell-a', key = keyA, provenPath = path, at = NOW, pop }: { method?: string; body?: Uint8Array<ArrayBuffer>; cell?: string; key?: SigningKey; provenPath?: string; at?: number; pop?: string } = {}) => {
    const proof = pop ?? await makePop({ key: key.privateKey, method, path: provenPath, body: new Uint8Array(), now: Math.floor(at / 1000) });
    const answer = await fetch(origin + path, { method, headers: { 'ccc-cell': cell, 'ccc-pop': proof, ...(body === undefined ? {} : { 'content-type': 'application/octet-stream' }) }, ...(body === undefined ? {} : { body }) });
    return { status: answer.status, code: answer.status >= 400 ? ((await answer.json()) as { code: string }).code : undefined, proof };
  };

  it('is stored under its digest, given back, and stored once', async () => {
    const digest = digestOf(data('x'));
    expect(await store().get(digest)).toBeUndefined();
    await store().put(digest, data('x'));
    await store().put(digest, data('x'));
    expect(await blobs.list()).toEqual([digest]);
    expect(Buffer.from((await store().get(digest))!).toString()).toBe('x');
    expect(reserved).toBe(0);
  });

  it('is refused unless the path names these very bytes, whole, and not too many', async () => {
    const before = await blobs.list();
    const path = peerBlobPath(digestOf(data('y')));
    expect(await send(path, { body: data('z') })).toMatchObject({ status: 400, code: 'BAD_REQUEST' });
    expect(await send(path, {})).toMatchObject({ code: 'BODY_EMPTY' });
    expect(await send(path, { body: new Uint8Array(limits.messageBytes + 1) })).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' });
    expect(await send(peerBlobPath('..'), { body: data('y') })).toMatchObject({ status: expect.any(Number), code: expect.stringMatching(/VALIDATION|NOT_FOUND/) });
    expect(await send(peerBlobPath('AB'.repeat(32)), { body: data('y') })).toMatchObject({ code: 'VALIDATION' });
    await expect(store().put(digestOf(data('y')), data('z'))).rejects.toThrow('cell-b answered 400');
    expect(await blobs.list()).toEqual(before);
    expect(reserved).toBe(0);
  });

  it('is taken from cells of the directory only, each by its own key, for this very request, once', async () => {
    const before = await blobs.list();
    const path = peerBlobPath(digestOf(data('y')));
    const body = data('y');
    for (const wrong of [
      { cell: 'stranger' }, { cell: '' }, { cell: 'keyless' }, { cell: 'x'.repeat(100) }, { cell: 'cell-b', key: keyB }, { key: keyB }, { provenPath: peerBlobPath(digestOf(data('x'))) }, { at: NOW - 3_600_000 }, { pop: 'no.proof.x' },
    ]) expect(await send(path, { body, ...wrong })).toMatchObject({ status: 401, code: 'POP_INVALID' });
    const { proof, status } = await send(path, { method: 'GET' });
    expect(status).toBe(404);
    expect(await send(path, { method: 'GET', pop: proof })).toMatchObject({ code: 'POP_REPLAYED' });
    expect(await send(path, { body, pop: proof })).toMatchObject({ code: 'POP_INVALID' });
    expect(await blobs.list()).toEqual(before);
    expect(await send(path, { body })).toMatchObject({ status: 204 });
  });

  it('fails at the caller when the peer is away', async () => {
    await expect(store({ origin: 'http://127.0.0.1:1' }).put(digestOf(data('x')), data('x'))).rejects.toThrow();
    await expect(store({ key: keyB.privateKey }).get(digestOf(data('x')))).rejects.toThrow('answered 401');
  });

  it('peers.json is closed: a misspelled field or a wrong address is an error', () => {
    const good = { database: 'postgres://p:s@127.0.0.1:5432/ccc', standbys: ['cell-a'], peers: [{ name: 'cell-a', database: 'postgres://p:s@127.0.0.1:5433/ccc', gateway: 'http://127.0.0.1:9001/' }] };
    expect(peersSchema.parse(good).peers[0]?.gateway).toBe('http://127.0.0.1:9001');
    for (const bad of [{ ...good, standby: [] }, { ...good, peers: [] }, { ...good, database: 'http://x' }, { ...good, lag: { bytes: 1, seconds: 1, beyond: 'ignore' } }]) expect(peersSchema.safeParse(bad).success).toBe(false);
  });
});

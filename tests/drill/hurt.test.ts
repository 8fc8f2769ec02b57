/** What hurts, and what shows that it does. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { exitOf } from '../../scripts/commands/drill.ts';
import { outcomeOf } from '../../scripts/drill/answers.ts';
import { itemsIn } from '../../scripts/drill/collateral.ts';
import { asked, knock } from '../../scripts/drill/felt.ts';
import type { Answer } from '../../scripts/drill/requesters.ts';
import { ApiError } from '../../workloads/client/api.ts';
import { endOfSession, withoutCounters } from '../../scripts/drill/revocation.ts';
import { type SmallDisk, smallDisk } from '../../scripts/drill/small-disk.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => { for (let next = closing.pop(); next !== undefined; next = closing.pop()) await next(); });
const listen = (server: Server): Promise<number> => new Promise((done) => {
  server.listen(0, '127.0.0.1', () => done((server.address() as { port: number }).port));
  closing.push(() => new Promise((end) => { server.close(end); }));
});

describe('whether something answers', () => {
  it('answers, says nothing, refuses', async () => {
    const answering = await listen(createHttp((_, response) => response.writeHead(503).end('no')));
    const open: { destroy(): void }[] = [];
    const silent = await listen(createServer((socket) => void open.push(socket)));
    closing.push(async () => { for (const socket of open) socket.destroy(); });
    const gone = await listen(createServer());
    await closing.pop()?.();
    expect(await Promise.all([answering, silent, gone].map((port) => asked(`http://127.0.0.1:${port}/`, 500)))).toEqual(['answers', 'silent', 'refused']);
    expect(await Promise.all([answering, silent, gone].map((port) => knock('127.0.0.1', port, 500)))).toEqual(['answers', 'answers', 'refused']);
  });
});

describe('a disk of its own', () => {
  it('is really full, stays so when others delete, and has room again', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-disk-'));
    let disk: SmallDisk | undefined;
    try {
      disk = await smallDisk(folder, 4).catch((error: { code?: string }) => {
        expect(error.code).toBe('DRILL_UNPLAYABLE');
        return undefined;
      });
      if (disk === undefined) return context.skip('nothing can be mounted here');
      await writeFile(join(folder, 'log'), new Uint8Array(1 << 20));
      expect(await disk.refusal()).toBeUndefined();
      await disk.fill();
      expect(await disk.refusal()).toBe('ENOSPC');
      await rm(join(folder, 'log'));
      await expect.poll(() => (disk as SmallDisk).refusal(), { timeout: 5_000 }).toBe('ENOSPC');
      await disk.free();
      expect(await disk.refusal()).toBeUndefined();
      await writeFile(join(folder, 'log'), 'goes on');
      expect(await readFile(join(folder, 'log'), 'utf8')).toBe('goes on');
    } finally {
      await disk?.remove();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('where nothing can be mounted it says so, and with what exit code', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-disk-'));
    const path = process.env['PATH'];
    process.env['PATH'] = folder;
    try {
      await expect(smallDisk(join(folder, 'cell'), 4)).rejects.toMatchObject({ code: 'DRILL_UNPLAYABLE', exit: 4 });
    } finally {
      process.env['PATH'] = path;
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('what cannot be played is no success: not alone, not among others', () => {
    const [met, missed, unplayable] = [{ ok: true }, { ok: false }, { ok: false, error: { code: 'DRILL_UNPLAYABLE' } }];
    const unready = { ok: false, error: { code: 'DRILL_UNREADY' } };
    expect([[met], [missed], [unplayable], [met, unplayable], [met, unplayable, missed], [met, unready], [met, met]].map(exitOf)).toEqual([0, 1, 4, 4, 1, 1, 0]);
  });
});

describe('the end of a session', () => {
  const { signal } = new AbortController();
  const answers = (...list: (Answer | Error)[]) => ({ renewed: async (): Promise<Answer> => {
    const next = list.shift() ?? { actual: 'released' };
    if (next instanceof Error) throw next;
    return next;
  } });
  const clock = () => { let at = 0; return () => (at += 100); };

  it('is when it is refused; answers that are none are no end', async () => {
    const end = await endOfSession(answers({ actual: 'released' }, new Error('late'), { actual: 'denied', code: 'EPOCH_EXPIRED' }, { actual: 'denied', code: 'SESSION_EXPIRED' }), clock(), signal);
    expect(end).toMatchObject({ code: 'SESSION_EXPIRED' });
    expect(end?.denied).toBeGreaterThan(end?.lastReleased ?? Infinity);
  });
  it('one that never ends is said to', async () => expect(await endOfSession(answers(), clock(), signal, 500)).toBeUndefined());
  it('only what the counters of that platform run is taken out', () => {
    const references = [{ id: 'counter/aws-nitro', platform: 'aws-nitro' }, { id: 'counter@previous/aws-nitro', platform: 'aws-nitro' }, { id: 'counter/gke', platform: 'gke' }];
    const policy = { roles: { counter: { references }, broker: { references } } } as never;
    expect(withoutCounters('aws-nitro')(policy)).toEqual({ roles: { counter: { references: references.slice(1) }, broker: { references } } });
  });
});

it('a client goes on where another cell, or a later time, may help: and only there', () => {
  const refusal = (code: RefusalCode) => new Refusal({ code, path: 'x', next: 'y' });
  const answers = [refusal('EPOCH_FENCED'), refusal('COLLATERAL_UNAVAILABLE'), refusal('CRL_ABSENT'), new ApiError('STORE_FULL', 'full', { status: 507 }), new ApiError('NETWORK', 'none')];
  expect(answers.map((one) => outcomeOf(one)?.kind)).toEqual(answers.map(() => 'down'));
  expect([refusal('MEASUREMENT_MISMATCH'), new ApiError('JOB_CONFLICT', 'other bytes', { status: 409 }), new Error('a defect')].map(outcomeOf)).toEqual([undefined, undefined, undefined]);
});

it('what ccc collateral list shows has names in its last column', () => {
  expect(itemsIn('until             bytes  source  kind/key\n2026-12-01T00:00  1024   vendor  amd-crl/Genoa\nno end            900    cache   amd-vcek/Genoa/ab01\n')).toEqual(['amd-crl/Genoa', 'amd-vcek/Genoa/ab01']);
});

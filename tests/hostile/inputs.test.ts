/** Hostile inputs through the public interface of a whole cell of real processes: each ends with a code, none ends a process, memory stays bounded. */
import { readFile, stat } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addKey, addTenant } from '../../scripts/cell/admin.ts';
import { operatorView, plaintextIn } from '../../scripts/cell/operator-view.ts';
import { b64u, bytes, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { type Api, createApi } from '../../workloads/client/api.ts';
import { countPicture } from '../../workloads/client/count.ts';
import * as esdk from '../../workloads/client/esdk-node.ts';
import { digestHex, encryptionKey, requestManifest, type VerifiedManifest } from '../../workloads/client/manifest.ts';
import { openResult, sentOf, verifyResult } from '../../workloads/client/result.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { memoryJobs } from '../../workloads/client/store.ts';
import { waitForJob } from '../../workloads/client/submit.ts';
import type { EncryptionContext } from '../../workloads/protocol/context.ts';
import { generateReceivingKey, type ReceivingKey } from '../../workloads/protocol/hpke.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import { type TestCell, testCell } from '../cell/harness.ts';
import { gradient, jpegBomb, pngBomb, pngChunk, webpBomb } from '../counter/pictures.ts';
import { memoryOf, processTree } from './processes.ts';
import { stockMessage } from './stock.ts';

const MIB = 2 ** 20;
let cell: TestCell;
let api: Api;
let otherKey: string;
let manifest: VerifiedManifest;
let pids: (number | undefined)[];
/** What was sent, counted or rejected. */
const sentPictures: Uint8Array[] = [];
const client = () => ({ ownerKey: cell.ownerKey, tenant: cell.tenant, zone: cell.zone, cell: cell.cell.cell });
beforeAll(async () => {
  cell = await testCell(1);
  api = createApi({ url: cell.url, apiKey: cell.apiKey });
  manifest = await requestManifest({ ...client(), api, audience: 'hostile', now: Math.floor(Date.now() / 1000), seen: memorySeen() });
  await addTenant(cell.folder, 'globex', 'local');
  otherKey = (await addKey(cell.folder, 'globex', ['jobs:write', 'jobs:read', 'keys:read'])).key;
  pids = cell.processes.map((p) => p.pid());
});
afterAll(() => cell?.close());

interface Made { readonly bytes: Uint8Array; readonly context: EncryptionContext; readonly result: ReceivingKey }
async function encrypted(plaintext: Uint8Array, change: Partial<EncryptionContext> = {}): Promise<Made> {
  const result = await generateReceivingKey();
  const context: EncryptionContext = {
    tenant_id: cell.tenant, job_id: crypto.randomUUID(), purpose: 'count-cats', data_classification: 'confidential', compliance_zone: cell.zone, result_key: b64u(result.publicKey), ...change,
  };
  return { bytes: await esdk.encryptMessage(plaintext, context, encryptionKey(manifest, Math.floor(Date.now() / 1000))), context, result };
}
const send = async (message: Uint8Array, key = cell.apiKey) => {
  const response = await fetch(`${cell.url}/v1/jobs`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/octet-stream' }, body: message as Uint8Array<ArrayBuffer> });
  const body = await response.json() as { code?: string; job_id?: string };
  return { status: response.status, code: body.code, jobId: body.job_id };
};
/** State and code of the job, once it is final, and whether a counter signed them. */
async function final(jobId: string) {
  const job = await waitForJob(api, jobId);
  return { state: job.state, code: job.code, signed: job.result !== undefined };
}
/** What the counter signed, verified as a client does. */
async function verdictOn(plaintext: Uint8Array) {
  sentPictures.push(Uint8Array.from(plaintext.subarray(0, 65_536)));
  const made = await encrypted(plaintext);
  expect((await send(made.bytes)).status).toBe(202);
  const job = await waitForJob(api, made.context.job_id);
  if (job.result === undefined || job.counter === undefined) throw new Error(`${job.state} ${job.code}: no verdict\n${await cell.logs()}`);
  const parsed = parseMessage(made.bytes);
  const result = await openResult(job.result, made.result.privateKey, cell.tenant, made.context.job_id);
  const { payload } = await verifyResult({ result, counter: job.counter, receipts: job.receipts ?? [] }, sentOf(parsed, await digestHex(parsed.body)), manifest, Math.floor(Date.now() / 1000));
  return payload;
}
const rejection = async (plaintext: Uint8Array) => {
  const { outcome, code, result } = await verdictOn(plaintext);
  expect(result).toBeUndefined();
  return `${outcome} ${code}`;
};

describe('one bit of a message turned', () => {
  type Part = readonly [name: string, at: (message: Uint8Array) => number, code: string];
  const find = (message: Uint8Array, what: string, more = 0) => Buffer.from(message).indexOf(what) + more;
  const headerEnd = (message: Uint8Array) => parseMessage(message).header.length;

  const door: Part[] = [
    ['version', () => 0, 'MESSAGE_FORMAT'], ['suite', () => 2, 'MESSAGE_SUITE'], ['length of the context', () => 36, 'MESSAGE_FORMAT'], ['number of keys', () => 38, 'MESSAGE_FORMAT'],
    ['name of a key', (m) => find(m, 'job_id'), 'CONTEXT_FORMAT'], ['tenant', (m) => find(m, 'acme', 1), 'TENANT_MISMATCH'], ['purpose', (m) => find(m, 'count-cats'), 'CONTEXT_FORMAT'],
    ['class', (m) => find(m, 'confidential', 1), 'CONTEXT_FORMAT'], ['length of the result key', (m) => find(m, 'result_key', 11), 'MESSAGE_FORMAT'], ['provider of the wrap', (m) => find(m, 'ccc-x-wing'), 'KEY_UNKNOWN'],
    ['id of the wrap\'s key', (m) => find(m, 'acme.x-wing.1', 12), 'KEY_UNKNOWN'], ['content type', (m) => headerEnd(m) - 53, 'MESSAGE_FORMAT'], ['length of a frame', (m) => headerEnd(m) - 52, 'MESSAGE_FORMAT'],
    ['number of the frame', (m) => headerEnd(m) + 7, 'MESSAGE_FORMAT'], ['length of the last frame', (m) => headerEnd(m) + 23, 'MESSAGE_FORMAT'],
  ];
  it.each(door)('at the door: %s', async (_, at, code) => {
    const { bytes: message } = await encrypted(utf8('a picture'));
    const altered = bytes(message);
    altered[at(message)]! ^= 1;
    expect(await send(altered)).toEqual({ status: expect.any(Number), code, jobId: undefined });
  });

  const inside: Part[] = [
    ['message id', () => 3, 'MESSAGE_COMMITMENT'], ['wrap', (m) => find(m, 'acme.x-wing.1', 13 + 2 + 700), 'KEY_UNWRAP'], ['end of the wrap', (m) => headerEnd(m) - 54, 'KEY_UNWRAP'],
    ['commitment', (m) => headerEnd(m) - 48, 'MESSAGE_COMMITMENT'], ['header tag', (m) => headerEnd(m) - 1, 'MESSAGE_HEADER_TAG'],
    ['IV of a frame', (m) => headerEnd(m) + 8, 'MESSAGE_BODY'], ['ciphertext', (m) => headerEnd(m) + 24, 'MESSAGE_BODY'], ['tag of a frame', (m) => m.length - 1, 'MESSAGE_BODY'],
  ];
  it('inside: accepted as ciphertext, refused by broker or counter; only what was opened is signed', async () => {
    const jobs = await Promise.all(inside.map(async ([name, at, code]) => {
      const { bytes: message, context } = await encrypted(utf8('a picture'));
      const altered = bytes(message);
      altered[at(message)]! ^= 1;
      expect((await send(altered)).status, name).toBe(202);
      return { name, code, jobId: context.job_id };
    }));
    for (const { name, code, jobId } of jobs) expect([name, await final(jobId)]).toEqual([name, { state: 'rejected', code, signed: code === 'MESSAGE_BODY' }]);
  });

  it('cut anywhere', async () => {
    const { bytes: message } = await encrypted(utf8('a picture'));
    const end = headerEnd(message);
    for (const length of [1, 3, 34, 36, 37, end - 17, end - 1, end, end + 4, end + 20, message.length - 1]) expect((await send(message.subarray(0, length))).code, String(length)).toMatch(/^MESSAGE_FORMAT|^CONTEXT_FORMAT/);
    expect((await send(Uint8Array.from([...message, 0]))).code).toBe('MESSAGE_FORMAT');
  });
});

describe('messages in the wrong place', () => {
  it('of another tenant, with either key; under another job; again', async () => {
    const made = await encrypted(utf8('a picture'));
    expect(await send(made.bytes, otherKey)).toMatchObject({ status: 403, code: 'TENANT_MISMATCH' });
    expect(await send((await encrypted(utf8('a picture'), { tenant_id: 'globex' })).bytes)).toMatchObject({ status: 403, code: 'TENANT_MISMATCH' });
    // Wrapped to a key of acme, and its own tenant's name on it.
    expect(await send((await encrypted(utf8('a picture'), { tenant_id: 'globex' })).bytes, otherKey)).toMatchObject({ code: 'KEY_UNKNOWN' });
    expect(await send((await encrypted(utf8('a picture'), { compliance_zone: 'mars' })).bytes)).toMatchObject({ code: 'ZONE_DENIED' });

    const [one, two] = [await send(made.bytes), await send(made.bytes)];
    expect([one.status, two.status, one.jobId]).toEqual([202, 202, two.jobId]);
    // The same ciphertext, its job's name replaced.
    const other = crypto.randomUUID();
    const moved = Buffer.from(made.bytes);
    moved.write(other, moved.indexOf(made.context.job_id));
    expect((await send(moved)).status).toBe(202);
    expect(await final(other)).toEqual({ state: 'rejected', code: 'KEY_UNWRAP', signed: false });
    expect(await final(made.context.job_id)).toMatchObject({ state: 'rejected', code: 'IMAGE_FORMAT', signed: true });

    // The other tenant sees nothing of it: no job, no events, no entry in its list.
    const foreign = (path: string) => fetch(`${cell.url}${path}`, { headers: { authorization: `Bearer ${otherKey}` } });
    for (const path of [`/v1/jobs/${other}`, `/v1/jobs/${other}/events`]) expect((await foreign(path)).status).toBe(404);
    expect(await (await foreign('/v1/jobs')).json()).toEqual({ jobs: [] });
  });

  it('of 0 bytes, of 20 MB and one, in twenty thousand frames of one byte', async () => {
    expect(await send(new Uint8Array(0))).toMatchObject({ status: 400, code: 'BODY_EMPTY' });
    expect(await send(new Uint8Array(20 * MIB + 1))).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' });
    const many = await stockMessage(manifest.manifest.keys, { compliance_zone: cell.zone }, { plaintext: new Uint8Array(20_000), frameLength: 1 });
    expect(await send(many.bytes)).toMatchObject({ status: 400, code: 'MESSAGE_FORMAT' });
  });

  it('with a seventh key in the context, called __proto__', async () => {
    const context = { __proto__: null, tenant_id: cell.tenant, job_id: crypto.randomUUID(), purpose: 'count-cats', data_classification: 'public', compliance_zone: cell.zone, result_key: b64u(randomBytes(1216)) };
    Object.defineProperty(context, '__proto__', { value: 'x', enumerable: true });
    const { bytes: message } = await stockMessage(manifest.manifest.keys, context as never);
    expect(Buffer.from(message).includes('__proto__')).toBe(true);
    expect(await send(message)).toMatchObject({ status: 400, code: 'CONTEXT_FORMAT' });
  });
});

describe('pictures, properly encrypted', () => {
  it('bombs of 50,000 x 50,000 pixels and worse', async () => {
    const jpeg = await gradient(64, 64).jpeg().toBuffer();
    for (const bomb of [pngBomb(50_000, 50_000), pngBomb(0xffff_ffff, 0xffff_ffff), jpegBomb(jpeg, 50_000, 50_000), jpegBomb(jpeg, 65_535, 65_535), webpBomb(50_000, 50_000), webpBomb(16_777_216, 16_777_216)]) {
      expect(await rejection(bomb)).toBe('rejected IMAGE_TOO_LARGE');
    }
  });

  it('bombs that stay inside the caps of pixels: a picture of 24 million in 300 KB, a profile of 200 MB in 1 MB', async () => {
    const plain = deflateSync(Buffer.alloc(4_898 * (1 + 3 * 4_898)), { level: 1 });
    const header = Buffer.alloc(13);
    header.writeUInt32BE(4_898, 0);
    header.writeUInt32BE(4_898, 4);
    header.set([8, 2, 0, 0, 0], 8);
    const signature = Buffer.from('89504e470d0a1a0a', 'hex');
    const big = Buffer.concat([signature, pngChunk('IHDR', header), pngChunk('IDAT', plain), pngChunk('IEND', Buffer.alloc(0))]);
    expect((await verdictOn(big)).outcome).toBe('completed');
    const profile = Buffer.concat([Buffer.from('icc\0\0', 'latin1'), deflateSync(Buffer.alloc(200 * MIB), { level: 1 })]);
    const small = await gradient(16, 16).png().toBuffer();
    const hidden = Buffer.concat([small.subarray(0, 33), pngChunk('iCCP', profile), small.subarray(33)]);
    const { outcome, code } = await verdictOn(hidden);
    expect(['completed', 'rejected IMAGE_CORRUPT']).toContain(code === undefined ? outcome : `${outcome} ${code}`);
  });

  it('files of two kinds at once, other kinds, no kind', async () => {
    const png = await gradient(32, 32).png().toBuffer();
    const jpeg = await gradient(32, 32).jpeg().toBuffer();
    const zip = Buffer.from('504b03040a0000000000', 'hex');
    const cases: [string, Uint8Array][] = [
      ['IMAGE_TRAILING', Buffer.concat([png, zip])], ['IMAGE_TRAILING', Buffer.concat([jpeg, utf8('<script>alert(1)</script>')])], ['IMAGE_FORMAT', Buffer.concat([zip, png])],
      ['IMAGE_FORMAT', utf8('GIF89a')], ['IMAGE_FORMAT', utf8('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')], ['IMAGE_FORMAT', utf8('%PDF-1.7')], ['IMAGE_FORMAT', utf8('push graphic-context\nimage over 0,0 0,0 "|id"')],
      ['IMAGE_EMPTY', new Uint8Array(0)], ['IMAGE_TRUNCATED', jpeg.subarray(0, jpeg.length >> 1)], ['IMAGE_TRUNCATED', png.subarray(0, png.length - 8)],
      ['IMAGE_CORRUPT', Buffer.from(png).fill(0xff, 45, 60)], ['IMAGE_FORMAT', randomBytes(4096)],
    ];
    for (const [code, file] of cases) expect(await rejection(file)).toBe(`rejected ${code}`);
  });

  it('random bytes as large as a message may be', async () => {
    const noise = new Uint8Array(20 * MIB - 16_384);
    for (let at = 0; at < noise.length; at += 65_536) crypto.getRandomValues(noise.subarray(at, at + 65_536));
    noise.set([0xff, 0xd8, 0xff, 0xe0]);
    expect(await rejection(noise)).toMatch(/^rejected IMAGE_(CORRUPT|TRUNCATED)$/);
  });
});

describe('after all that', () => {
  it('an honest picture is counted by the same processes, whose memory stayed bounded', async () => {
    const picture = new Uint8Array(await gradient(320, 240).jpeg().toBuffer());
    const counted = await countPicture({ ...client(), api, seen: memorySeen(), jobs: memoryJobs(), audience: 'hostile', now: Date.now, esdk, classification: 'internal', bytes: picture });
    expect([counted.outcome, counted.counted]).toEqual(['completed', 0]);
    expect(cell.processes.map((p) => p.pid())).toEqual(pids);
    expect(cell.processes.map((p) => p.restarts())).toEqual(cell.processes.map(() => 0));
    const peaks = Object.fromEntries(await Promise.all(cell.processes.map(async (p) => [p.name, Math.round((await memoryOf(p.pid() as number)).peak / MIB)] as const)));
    expect(peaks['gateway'], JSON.stringify(peaks)).toBeLessThan(600);
    expect(peaks['broker'], JSON.stringify(peaks)).toBeLessThan(300);
    expect(peaks['counter-1'], JSON.stringify(peaks)).toBeLessThan(600);
    // The process that opened the pictures: the cap is 1,500 MB.
    const opened = await processTree(cell.processes.find((p) => p.name === 'counter-1')?.pid() as number);
    expect(opened.length).toBeGreaterThan(0);
    for (const pid of opened) expect((await memoryOf(pid)).peak / MIB).toBeLessThan(1_500);
  });

  it('the operator sees no 32 bytes of any of the pictures: not in the database, the store or the logs', async () => {
    const view = await operatorView(cell.folder, cell.databaseUrl);
    expect(view.reduce((sum, place) => sum + place.items, 0)).toBeGreaterThan(100);
    const { windows, found } = plaintextIn(view, sentPictures);
    expect(windows).toBeGreaterThan(50_000);
    expect(found).toEqual([]);
  });

  it('secrets on the disk are for their owner only', async () => {
    const mode = async (path: string) => ((await stat(`${cell.folder}/${path}`)).mode & 0o777).toString(8);
    for (const path of ['owner/owner.jwk', 'simulated/root.key.json', 'broker/sealer.key', 'admin.sock', 'pg/secrets.json']) expect([path, await mode(path)]).toEqual([path, '600']);
    for (const path of ['owner', 'simulated', 'broker', 'client', 'store', 'logs']) expect([path, await mode(path)]).toEqual([path, '700']);
  });

  it('logs hold neither what was sent nor a line that is not ours', async () => {
    for (const { name } of cell.processes) {
      const log = await readFile(`${cell.folder}/logs/${name}.log`, 'utf8');
      expect(log).not.toMatch(/script|etc\/passwd|graphic-context|__proto__/);
      for (const line of log.trim().split('\n')) expect(() => JSON.parse(line) as unknown, line.slice(0, 200)).not.toThrow();
    }
  });
});

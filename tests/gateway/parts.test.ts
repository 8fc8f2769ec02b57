/** The small parts on their own. */
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { authenticate, newApiKey } from '../../workloads/gateway/api-keys.ts';
import { guardLedger } from '../../workloads/gateway/guard.ts';
import { Load } from '../../workloads/gateway/load.ts';
import { LIMITS } from '../../workloads/gateway/limits.ts';
import { RateLimiter } from '../../workloads/gateway/rate.ts';
import { promisedLength, readUpload } from '../../workloads/gateway/upload.ts';
import { type Ledger, LedgerError, LedgerUnavailable } from '../../workloads/ledger/ledger.ts';
import { CccError } from '../../workloads/protocol/problem.ts';

const codeOf = (work: () => unknown): string => { try { work(); return 'none'; } catch (error) { return (error as CccError).code; } };

describe('token buckets', () => {
  test('never give more than burst and rate allow', () => fc.assert(fc.property(
    fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 50 }), fc.array(fc.integer({ min: -100, max: 500 }), { maxLength: 200 }),
    (burst, perSecond, steps) => {
      let at = 1_000_000;
      let [earliest, latest, forward] = [at, at, 0];
      const limiter = new RateLimiter(() => at, 10);
      let taken = 0;
      for (const step of steps) {
        at += step;
        if (step > 0) forward += step;
        [earliest, latest] = [Math.min(earliest, at), Math.max(latest, at)];
        if (codeOf(() => limiter.take('x', { burst, perSecond })) === 'none') taken += 1;
      }
      // A clock that goes back and forth gives for each way forward, no more.
      expect(taken).toBeLessThanOrEqual(burst + (forward / 1000) * perSecond + 1e-6);
    },
  )));
  test('say when to come back, and mean it', () => {
    let at = 0;
    const limiter = new RateLimiter(() => at, 10);
    const rate = { burst: 1, perSecond: 0.25 };
    limiter.take('x', rate);
    const error = (() => { try { limiter.take('x', rate); return undefined; } catch (e) { return e as CccError; } })();
    expect([error?.code, error?.retryAfter]).toEqual(['RATE_LIMITED', 4]);
    at = 3_999;
    expect(codeOf(() => limiter.take('x', rate))).toBe('RATE_LIMITED');
    at = 4_000;
    expect(codeOf(() => limiter.take('x', rate))).toBe('none');
  });
  test('take bounded memory', () => {
    const limiter = new RateLimiter(() => 0, 100);
    for (let i = 0; i < 10_000; i++) limiter.take(`key ${i}`, { burst: 1, perSecond: 1 });
    expect(limiter.size).toBe(100);
  });
});

describe('API keys', () => {
  test('have a 256-bit secret and a form of their own', () => {
    const keys = Array.from({ length: 100 }, newApiKey);
    expect(new Set(keys.map((k) => k.id)).size).toBe(100);
    for (const { id, key, hash } of keys) {
      expect(key).toMatch(new RegExp(`^ccc_live_${id}_[A-Za-z0-9_-]{43}$`));
      expect(hash).toMatch(/^[0-9a-f]{64}$/);
      expect(key).not.toContain(hash);
    }
  });
  test('one changed character is another key', async () => {
    const { id, key, hash } = newApiKey();
    const ledger = { apiKey: async (asked: string) => (asked === id ? { id, tenantId: 'acme', hash, scopes: [], createdAt: 0 } : undefined) };
    expect((await authenticate(ledger, `Bearer ${key}`, 1)).tenantId).toBe('acme');
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: key.length - 1 }), fc.constantFrom(...'abcXYZ019_-'), async (at, character) => {
      const other = key.slice(0, at) + character + key.slice(at + 1);
      fc.pre(other !== key);
      await expect(authenticate(ledger, `Bearer ${other}`, 1)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    }), { numRuns: 200 });
  });
  test('a stored hash that is none matches nothing', async () => {
    const { id, key } = newApiKey();
    for (const hash of ['', 'zz', '0'.repeat(63), 'g'.repeat(64), `${'0'.repeat(64)}00`]) {
      await expect(authenticate({ apiKey: async () => ({ id, tenantId: 'acme', hash, scopes: [], createdAt: 0 }) }, `Bearer ${key}`, 1)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    }
  });
});

describe('uploads', () => {
  const limits = { messageBytes: 100, uploadMs: 1_000, uploadIdleMs: 500 };
  test('come out as they went in, however they were cut', () => fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 5 }), async (parts) => {
    const stream = new PassThrough();
    const reading = readUpload(stream, limits);
    for (const part of parts) stream.write(part);
    stream.end();
    expect(Buffer.from(await reading).equals(Buffer.concat(parts))).toBe(true);
  }), { numRuns: 50 }));
  test('at the limit and above it', async () => {
    for (const [size, code] of [[100, 'none'], [101, 'BODY_TOO_LARGE']] as const) {
      const stream = new PassThrough();
      const reading = readUpload(stream, limits).then(() => 'none', (error: CccError) => error.code);
      stream.end(Buffer.alloc(size));
      expect(await reading).toBe(code);
    }
  });
  test('that break off, or fail', async () => {
    for (const end of [(s: PassThrough) => s.destroy(), (s: PassThrough) => s.destroy(new Error('reset'))]) {
      const stream = new PassThrough();
      const reading = readUpload(stream, limits);
      stream.write('x');
      end(stream);
      await expect(reading).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
  });
  test('promise a length', () => {
    expect([promisedLength('5', 10), promisedLength(undefined, 10), promisedLength('x', 10)]).toEqual([5, undefined, undefined]);
    expect(codeOf(() => promisedLength('11', 10))).toBe('BODY_TOO_LARGE');
  });
});

describe('the guarded ledger', () => {
  const guarded = (apiKey: () => Promise<unknown>): Ledger => guardLedger({ apiKey, onWork: () => () => {} } as unknown as Ledger, 50);
  test.each([
    ['answers', async (): Promise<unknown> => 'x', undefined],
    ['is unavailable', async () => { throw new LedgerUnavailable(new Error('x')); }, 'LEDGER_UNAVAILABLE'],
    ['hangs', async (): Promise<never> => new Promise(() => {}), 'LEDGER_UNAVAILABLE'],
    ['knows no tenant', async () => { throw new LedgerError('TENANT_UNKNOWN', 'x'); }, 'TENANT_UNKNOWN'],
  ] as const)('%s', async (_name, apiKey, code) => {
    const asked = guarded(apiKey).apiKey('x');
    if (code === undefined) expect(await asked).toBe('x');
    else await expect(asked).rejects.toMatchObject({ name: 'CccError', code });
  });
  test('other errors stay what they are; what is no promise passes', async () => {
    const error = new Error('x');
    await expect(guarded(async () => { throw error; }).apiKey('x')).rejects.toBe(error);
    expect(guarded(async () => 1).onWork(() => {})).toBeTypeOf('function');
  });
});

test('memory for uploads is given back once', () => {
  const load = new Load({ ledger: { counts: async () => { throw new Error('not asked'); } }, limits: { ...LIMITS, uploadBudgetBytes: 100 }, now: () => 0 });
  const release = load.reserve(60);
  expect(codeOf(() => load.reserve(41))).toBe('BACK_PRESSURE');
  release();
  release();
  expect(load.uploadingBytes).toBe(0);
  load.reserve(100);
  expect(codeOf(() => load.reserve(1))).toBe('BACK_PRESSURE');
});

/** The envelope by itself: any blob opens or is refused, any names are one context, and nothing secret is left behind. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Bytes, bytes, concat, equal, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { type Context, contextOf, type DataKeyService, envelopeSealer } from '../../../workloads/broker/sealers/envelope.ts';
import { kept } from '../../../workloads/broker/sealers/kept.ts';

/** A service that keeps what it wrapped: by handle, under its context. */
function memory(change: Partial<DataKeyService> = {}): DataKeyService & { readonly given: Bytes[] } {
  const rows = new Map<string, { readonly key: Bytes; readonly context: string }>();
  const given: Bytes[] = [];
  const lend = (key: Bytes): Bytes => { const copy = key.slice(); given.push(copy); return copy; };
  return {
    service: 1, given,
    async generate(context) {
      const [key, wrapped] = [randomBytes(32), randomBytes(24)];
      rows.set(String(wrapped), { key, context: canonicalJson(context) });
      return { plaintext: lend(key), wrapped, keyId: 'key/1' };
    },
    async unwrap(context, keyId, wrapped) {
      const row = rows.get(String(wrapped));
      if (row === undefined || row.context !== canonicalJson(context) || keyId !== 'key/1') throw Object.assign(new Error('lost'), { code: 'KEY_SEALER_LOST' });
      return lend(row.key);
    },
    describe: () => ({ backend: 'memory', location: 'here', proves: 'nothing' }), ...change,
  };
}
const AAD = utf8(canonicalJson({ cell: 'a', key_id: 'k', tenant_id: 't' }));

test('whatever is changed or cut in a blob is KEY_SEALER_LOST', async () => {
  const sealer = envelopeSealer(memory(), 'owner');
  const plaintext = randomBytes(100);
  const sealed = await sealer.seal(AAD, plaintext);
  expect(await sealer.open(AAD, sealed)).toEqual(plaintext);
  await fc.assert(fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (where, change, cut) => {
    const at = where % sealed.length;
    const other = cut ? sealed.slice(0, at) : sealed.slice();
    if (!cut) other[at] = (other[at] as number) ^ change;
    await expect(sealer.open(AAD, other)).rejects.toMatchObject({ code: 'KEY_SEALER_LOST' });
  }), { numRuns: 300 });
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (data) => { await expect(sealer.open(AAD, concat(utf8('cck1'), bytes(data)))).rejects.toMatchObject({ code: 'KEY_SEALER_LOST' }); }), { numRuns: 200 });
});

test('a blob of another key service is asked of nobody', async () => {
  const sealed = await envelopeSealer(memory({ service: 3 }), 'owner').seal(AAD, randomBytes(10));
  const other = memory();
  await expect(envelopeSealer(other, 'owner').open(AAD, sealed)).rejects.toMatchObject({ code: 'KEY_SEALER_LOST', reasons: [{ have: 'a blob of another key service' }] });
  expect(other.given).toEqual([]);
});

test('data keys are wiped, also of what fails', async () => {
  const service = memory();
  const sealer = envelopeSealer(service, 'owner');
  const sealed = await sealer.seal(AAD, randomBytes(10));
  await sealer.open(AAD, sealed);
  const broken = sealed.slice();
  broken[sealed.length - 1] = (broken.at(-1) as number) ^ 1;
  await sealer.open(AAD, broken).catch(() => {});
  expect(service.given.length).toBe(4);
  expect(service.given.every((key) => key.every((byte) => byte === 0))).toBe(true);
});

test.each<[string, Partial<DataKeyService>]>([
  ['of another length', { generate: async () => ({ plaintext: randomBytes(16), wrapped: randomBytes(24), keyId: 'key/1' }) }],
  ['that does not come back', { unwrap: async () => randomBytes(32) }],
  ['without a wrapped form', { generate: async () => ({ plaintext: randomBytes(32), wrapped: bytes([]), keyId: 'key/1' }), unwrap: async () => randomBytes(32) }],
])('a data key %s seals nothing', async (_, change) => {
  await expect(envelopeSealer(memory(change), 'owner').seal(AAD, randomBytes(10))).rejects.toMatchObject({ code: 'KEY_SEALER_ANSWER' });
});

test.each<[string, number]>([['an id', 513], ['a wrapped key', 6_145]])('%s that is too long seals nothing', async (what, length) => {
  const key = randomBytes(32);
  const made = what === 'an id' ? { keyId: 'x'.repeat(length), wrapped: randomBytes(24) } : { keyId: 'key/1', wrapped: randomBytes(length) };
  await expect(envelopeSealer(memory({ generate: async () => ({ plaintext: key.slice(), ...made }), unwrap: async () => key.slice() }), 'owner').seal(AAD, randomBytes(10))).rejects.toMatchObject({ code: 'KEY_SEALER_ANSWER' });
});

test('contexts: the same names in any order are one, different names are different ones', () => {
  const names = fc.dictionary(fc.string({ minLength: 1, maxLength: 10 }).filter((n) => n !== 'deployment' && n !== '__proto__'), fc.string({ maxLength: 20 }), { minKeys: 1, maxKeys: 7 });
  const of = (fields: Context): string => canonicalJson(contextOf('owner', utf8(JSON.stringify(fields))));
  fc.assert(fc.property(names, (fields) => of(fields) === of(Object.fromEntries(Object.entries(fields).reverse()))), { numRuns: 100 });
  fc.assert(fc.property(names, names, (a, b) => (of(a) === of(b)) === (canonicalJson(a) === canonicalJson(b))), { numRuns: 100 });
  expect(equal(utf8(of({ a: '1' })), utf8('{"a":"1","deployment":"owner"}'))).toBe(true);
});

test('what is lent is asked for once, by however many, and again when it ends or is refused', async () => {
  let [asked, time] = [0, 0];
  const lent = kept(async () => ({ value: ++asked, endsAt: time + 1_000_000 }), () => time);
  expect(await Promise.all([lent(false), lent(false), lent(true)])).toEqual([1, 1, 1]);
  time = 699_999;
  expect(await lent(false)).toBe(1);
  time = 700_000;
  expect(await lent(false)).toBe(2);
  expect(await lent(true)).toBe(3);
});

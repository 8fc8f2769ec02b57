import { describe, expect, it } from 'vitest';
import { utf8 } from '../../attestation/bytes.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { JtiStore, makePop, POP_TYPE, verifyPop } from '../../workloads/protocol/pop.ts';
import { codesOf } from './refusals.ts';

const { publicKey, privateKey } = await generateSigningKey();
const NOW = 1_800_000_000;
const request = { method: 'POST', path: '/internal/v1/lease?x=1', body: utf8('{"max":1}'), session: 'a.b.c', now: NOW };
const made = (changed: Partial<typeof request> = {}) => makePop({ key: privateKey, ...request, ...changed });
const verify = async (pop: string, changed: Partial<typeof request> & { publicKey?: Uint8Array; seen?: JtiStore } = {}) =>
  verifyPop({ pop, publicKey, seen: new JtiStore(), ...request, ...changed });

describe('proof of possession', () => {
  it('holds for the request it was made for, with and without a session', async () => {
    await expect(verify(await made())).resolves.toBeUndefined();
    const { session: _, ...bare } = request;
    const pop = await makePop({ key: privateKey, ...bare });
    await expect(verifyPop({ pop, publicKey, seen: new JtiStore(), ...bare })).resolves.toBeUndefined();
    expect(await codesOf(() => verify(pop))).toEqual(['POP_INVALID']);
    expect(await codesOf(async () => verifyPop({ pop: await made(), publicKey, seen: new JtiStore(), ...bare }))).toEqual(['POP_INVALID']);
  });

  it.each([
    ['method', { method: 'GET' }], ['path', { path: '/internal/v1/lease?x=2' }], ['body', { body: utf8('{"max":2}') }], ['session', { session: 'a.b.d' }],
    ['a clock 61 s later', { now: NOW + 61 }], ['a clock 61 s earlier', { now: NOW - 61 }],
  ])('refuses another %s', async (_, changed) => {
    expect(await codesOf(async () => verify(await made(), changed))).toEqual(['POP_INVALID']);
  });

  it('accepts 60 s of skew', async () => {
    await expect(verify(await made(), { now: NOW + 60 })).resolves.toBeUndefined();
    await expect(verify(await made(), { now: NOW - 60 })).resolves.toBeUndefined();
  });

  it('refuses another key and another type', async () => {
    const other = await generateSigningKey();
    expect(await codesOf(async () => verify(await made(), { publicKey: other.publicKey }))).toEqual(['POP_INVALID']);
    expect(await codesOf(async () => verify(await signJws('ccc-result+jws', {}, privateKey)))).toEqual(['POP_INVALID']);
    expect(new Set(await codesOf(async () => verify(await signJws(POP_TYPE, { htm: 'POST' }, privateKey))))).toEqual(new Set(['POP_INVALID']));
  });

  it('accepts each proof once, and stores none that does not hold', async () => {
    const seen = new JtiStore();
    const pop = await made();
    expect(await codesOf(() => verify(pop, { seen, body: utf8('other') }))).toEqual(['POP_INVALID']);
    expect(seen.size).toBe(0);
    await verify(pop, { seen });
    expect(await codesOf(() => verify(pop, { seen }))).toEqual(['POP_REPLAYED']);
    await verify(await made(), { seen });
  });

  it('never forgets a live proof to make room, and forgets dead ones', () => {
    const seen = new JtiStore(2);
    expect([seen.use('a', 100, 50), seen.use('b', 200, 50), seen.use('c', 300, 50)]).toEqual([true, true, false]);
    expect([seen.use('c', 300, 101), seen.use('b', 200, 101), seen.size]).toEqual([true, false, 2]);
  });
});

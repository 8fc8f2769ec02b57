/** The container of Azure's evidence: one spelling, bounded, and nothing unknown in it. Then whole pieces of evidence, bit by bit. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { bytes, text, utf8 } from '../../../attestation/bytes.ts';
import { encodeAzureEvidence, parseAzureEvidence } from '../../../attestation/platforms/azure-cvm/container.ts';
import { azureCvm } from '../../../attestation/platforms/azure-cvm/verify.ts';
import type { AzureWorld } from '../../../attestation/platforms/simulated/azure.ts';
import { simulatedBoot } from '../../../attestation/platforms/simulated/event-log.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { filled, refused } from '../support.ts';
import { azureWorld, EXPECT, trustOf } from './support.ts';

let w: AzureWorld;
let tdx: AzureWorld;
beforeAll(async () => { [w, tdx] = await Promise.all([azureWorld({ events: simulatedBoot() }), azureWorld({ technology: 'tdx' })]); });
const json = (change: Record<string, unknown> = {}) => utf8(JSON.stringify({ ...(JSON.parse(text(encodeAzureEvidence(w.parts))) as object), ...change }));

describe('form', () => {
  test('what was encoded is what is read', () => {
    for (const { parts } of [w, tdx]) expect(parseAzureEvidence(encodeAzureEvidence(parts), 'e')).toEqual({ ak: undefined, vek: undefined, issuers: undefined, tdQuote: undefined, eventLog: undefined, ...parts });
  });

  test('fits into the messages of the protocol', () => {
    for (const { parts } of [w, tdx]) expect(encodeAzureEvidence({ ...parts, eventLog: filled(131_072, 1) }).length).toBeLessThan(262_144);
  });

  const cases: [string, Record<string, unknown>, RefusalCode][] = [
    ['an unknown member', { nonce: 'AAAA' }, 'FMT_FIELD_UNKNOWN'], ['no HCL report', { hcl: undefined }, 'FMT_FIELD_MISSING'], ['no PCRs', { pcrs: undefined }, 'FMT_FIELD_MISSING'], ['a number for bytes', { message: 5 }, 'FMT_FIELD'], ['empty bytes', { signature: '' }, 'FMT_FIELD'],
    ['padded base64', { vek: 'AA==' }, 'FMT_FIELD'], ['another alphabet', { vek: 'A+/A' }, 'FMT_FIELD'], ['null', { tdQuote: null }, 'FMT_FIELD'], ['PCRs as a list', { pcrs: ['AAAA'] }, 'FMT_PCR'], ['PCR 24', { pcrs: { 24: 'AAAA' } }, 'FMT_PCR'], ['PCR 07', { pcrs: { '07': 'AAAA' } }, 'FMT_PCR'],
    ['PCR -1', { pcrs: { '-1': 'AAAA' } }, 'FMT_PCR'], ['no certificates', { ak: [] }, 'FMT_FIELD'], ['seven certificates', { ak: Array.from({ length: 7 }, () => 'AAAA') }, 'FMT_FIELD'], ['certificates that are none', { issuers: 'AAAA' }, 'FMT_FIELD'],
  ];
  test.each(cases)('%s', async (_, change, code) => { await refused(() => parseAzureEvidence(json(change), 'e'), code); });

  test('JSON that is none, twice the same member, too deep, too large', async () => {
    for (const data of ['', '[]', '{', 'null', '{"hcl":"AA","hcl":"AA"}', '{"pcrs":{"0":"AA","0":"AA"}}', '{"ak":[[["AA"]]]}', `{"hcl":"${'A'.repeat(262_144)}"}`]) await refused(() => parseAzureEvidence(utf8(data), 'e'), 'FMT_JSON');
    await refused(() => parseAzureEvidence(bytes([0x7b, 0xff, 0x7d]), 'e'), 'FMT_JSON');
  });

  test('bytes that are none are refused, not thrown about', async () => {
    await refused(azureCvm.verify({ platform: 'azure-cvm', document: 'text' as never }, EXPECT, trustOf(w)), 'FMT_FIELD');
  });
});

describe('hostile evidence', () => {
  const judge = (world: AzureWorld, document: Uint8Array<ArrayBuffer>) => azureCvm.verify({ platform: 'azure-cvm', document }, EXPECT, trustOf(world)).then((claims) => claims, (e: unknown) => { expect(e).toBeInstanceOf(Refusal); return undefined; });

  test('a changed bit of a signed part refuses', async () => {
    const world = await azureWorld();
    const { parts } = world;
    expect(await judge(world, encodeAzureEvidence(parts))).toBeDefined();
    await fc.assert(fc.asyncProperty(fc.constantFrom('hcl', 'message', 'signature', 'vek'), fc.nat(), fc.integer({ min: 0, max: 7 }), async (name, position, bit) => {
      const original = parts[name as 'hcl'];
      const changed = original.slice();
      // Behind the runtime data of the HCL report there are zeros, which are demanded
      const at = position % original.length;
      changed[at] = (changed[at] as number) ^ (1 << bit);
      const claims = await judge(world, encodeAzureEvidence({ ...parts, [name]: changed }));
      // Version 1 and 2 of the header differ in nothing that is read
      if (name === 'hcl' && at === 4 && changed[4] === 2) return;
      expect(claims, `${name}[${at}]`).toBeUndefined();
    }), { numRuns: 150, seed: 11 });
  });

  test('random members: a refusal, nothing else', async () => {
    const world = await azureWorld();
    expect(await judge(world, encodeAzureEvidence(world.parts))).toBeDefined();
    await fc.assert(fc.asyncProperty(fc.constantFrom('hcl', 'message', 'signature', 'vek', 'tdQuote', 'eventLog'), fc.uint8Array({ minLength: 1, maxLength: 3000 }), async (name, data) => {
      expect(await judge(world, encodeAzureEvidence({ ...world.parts, [name]: bytes(data) }))).toBeUndefined();
    }), { numRuns: 60 });
    expect(await judge(world, encodeAzureEvidence({ ...world.parts, ak: [filled(100, 0x30)] }))).toBeUndefined();
  });
});

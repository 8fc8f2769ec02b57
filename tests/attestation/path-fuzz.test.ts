/** Whatever is done to one byte of a path or of a list that it requires, the answer is a refusal (D59). */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import type { PathRequest } from '../../attestation/path.ts';
import { makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { DAY, pki, requestOf, verdict } from './path-support.ts';
import { NOW } from './support.ts';

let request: PathRequest;
let parts: Record<'leaf' | 'intermediate' | 'root' | 'leafList' | 'rootList', Bytes>;
const week = { thisUpdate: NOW - DAY, nextUpdate: NOW + 6 * DAY };
beforeAll(async () => {
  const p = await pki();
  parts = { leaf: p.leaf.certificate, intermediate: p.intermediate.certificate, root: p.root.certificate, leafList: await makeCrl({ issuer: p.intermediate, ...week }), rootList: await makeCrl({ issuer: p.root, ...week }) };
  request = await requestOf(p);
});

const judge = (changed: Partial<typeof parts>) => {
  const all = { ...parts, ...changed };
  return verdict({ ...request, leaf: all.leaf, intermediates: [all.intermediate, all.root], crls: [all.leafList, all.rootList], requireCrl: 'require' });
};

describe('one byte', () => {
  test('of nothing: accepted', async () => expect((await judge({})).path?.revocation).toBe('good'));

  test.each(['leaf', 'intermediate', 'root', 'leafList', 'rootList'] as const)('of the %s', async (part) => {
    const seen = new Set<string>();
    for (let i = 0; i < parts[part].length; i++) {
      const changed = bytes(parts[part]);
      changed[i] = (changed[i] as number) ^ (1 << (i % 8));
      const { codes } = await judge({ [part]: changed });
      expect(codes.length, `byte ${i}`).toBeGreaterThan(0);
      expect(codes).not.toContain('INTERNAL');
      for (const code of codes) seen.add(code);
    }
    const expected = { leaf: 'CHAIN_SIGNATURE', intermediate: 'CHAIN_SIGNATURE', root: 'CHAIN_ROOT_UNPINNED', leafList: 'CRL_SIGNATURE', rootList: 'CRL_SIGNATURE' }[part];
    expect(seen).toContain(expected);
    expect(seen).toContain(part.endsWith('List') ? 'CRL_FORMAT' : 'FMT_DER');
  });
});

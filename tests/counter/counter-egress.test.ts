import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guardEgress } from '../../workloads/counter/egress.ts';
import type { CountResult } from '../../workloads/protocol/messages.ts';
import { countResultSchema } from '../../workloads/protocol/messages.ts';
import type { OwnerPolicy } from '../../workloads/protocol/owner.ts';

const MODEL = { name: 'm', digest: 'a'.repeat(64), threshold: 0.5 };
const RESULT: CountResult = { count: 1, method: 'x', model: MODEL, boxes: [{ x: 1, y: 2, w: 3, h: 4, score: 0.7 }], image: { width: 5, height: 6 } };
type Field = OwnerPolicy['tenants'][number]['egress'][number];
const FIELDS: Field[] = ['count', 'boxes', 'scores', 'image'];
const rule = (tenant: string, egress: Field[]) => ({ tenant, egress, zones: ['z'], classifications: ['public' as const], scopes: ['enclave' as const] });
const policy = (...tenants: ReturnType<typeof rule>[]) => ({ tenants, detectors: [MODEL] }) as unknown as OwnerPolicy;

describe('the egress guard', () => {
  it('lets out the fields that the policy names, of every combination', () => {
    fc.assert(fc.property(fc.subarray(FIELDS), (more) => {
      const egress = [...new Set<Field>(['count', ...more])];
      const out = guardEgress(RESULT, policy(rule('acme', egress)), 'acme');
      expect('boxes' in out).toBe(egress.includes('boxes'));
      expect('image' in out).toBe(egress.includes('image'));
      expect(out.boxes?.some((box) => 'score' in box) ?? false).toBe(egress.includes('boxes') && egress.includes('scores'));
      expect(countResultSchema.safeParse(out).success).toBe(true);
    }));
  });

  it('takes the tenant\'s own rule before the one for all, and none for nobody', () => {
    const both = policy(rule('*', ['count', 'boxes']), rule('acme', ['count']));
    expect(guardEgress(RESULT, both, 'acme')).not.toHaveProperty('boxes');
    expect(guardEgress(RESULT, both, 'globex')).toHaveProperty('boxes');
    expect(() => guardEgress(RESULT, policy(rule('acme', ['count'])), 'globex')).toThrow('EGRESS_RULE');
  });

  it('without the count there is nothing to say', () => {
    expect(() => guardEgress(RESULT, policy(rule('acme', ['boxes'])), 'acme')).toThrow('EGRESS_FIELD');
  });

  it.each([{ name: 'other' }, { digest: 'b'.repeat(64) }, { threshold: 0.1 }])('stops a model that the policy does not have: %j', (change) => {
    expect(() => guardEgress({ ...RESULT, model: { ...MODEL, ...change } }, policy(rule('acme', ['count'])), 'acme')).toThrow('EGRESS_MODEL');
  });

  it('anything else is stopped, and its text is not repeated', () => {
    fc.assert(fc.property(fc.anything(), (value) => {
      expect(() => guardEgress(value, policy(rule('acme', ['count'])), 'acme')).toThrow(/^EGRESS_SCHEMA$/);
    }));
    for (const change of [{ count: -1 }, { count: 1.5 }, { count: Number.NaN }, { note: 'x' }, { method: 'x'.repeat(65) }, { boxes: [{ x: 0, y: 0, w: 0, h: 0, pixels: [1] }] }, { boxes: Array.from({ length: 257 }, () => ({ x: 0, y: 0, w: 1, h: 1 })) }, { image: { width: Infinity, height: 1 } }]) {
      expect(() => guardEgress({ ...RESULT, ...change }, policy(rule('acme', ['count', 'boxes', 'image'])), 'acme')).toThrow('EGRESS_SCHEMA');
    }
  });
});

import { describe, expect, it } from 'vitest';
import { b64u } from '../../attestation/bytes.ts';
import { CHALLENGE_MS, Challenges } from '../../workloads/broker/core/challenges.ts';

const DIGEST = new Uint8Array(32);

describe('challenges', () => {
  it('are bounded: the ones under way stay, new ones wait', () => {
    let now = 0;
    const challenges = new Challenges({ now: () => now, limit: 3 });
    const first = challenges.issue('counter', 'aws-nitro', DIGEST);
    for (let i = 0; i < 2; i++) challenges.issue('counter', 'aws-nitro', DIGEST);
    expect(() => challenges.issue('counter', 'aws-nitro', DIGEST)).toThrow('BACK_PRESSURE');
    expect(challenges.consume(b64u(first.id))).toBe(first);
    expect(() => challenges.issue('counter', 'aws-nitro', DIGEST)).toThrow('BACK_PRESSURE'); // a spent one is still remembered
    now = CHALLENGE_MS;
    challenges.issue('counter', 'aws-nitro', DIGEST);
    expect(challenges.size).toBeLessThanOrEqual(3);
    expect(() => challenges.consume(b64u(first.id))).toThrow('CHALLENGE_UNKNOWN'); // forgotten, never accepted
  });

  it('are forgotten after a while, and say what they were before', () => {
    let now = 0;
    const challenges = new Challenges({ now: () => now });
    const [used, unused] = [challenges.issue('counter', 'aws-nitro', DIGEST), challenges.issue('counter', 'aws-nitro', DIGEST)];
    challenges.consume(b64u(used.id));
    now = CHALLENGE_MS + 599_999;
    expect(() => challenges.consume(b64u(used.id))).toThrow('CHALLENGE_USED');
    expect(() => challenges.consume(b64u(unused.id))).toThrow('CHALLENGE_EXPIRED');
    now += 2;
    challenges.issue('counter', 'aws-nitro', DIGEST);
    expect(challenges.size).toBe(1);
    expect(() => challenges.consume('')).toThrow('CHALLENGE_UNKNOWN');
  });
});

/** Hostile bytes: Google's extension and the container give a value or a refusal, nothing else; what is read is written back the same. Node claims before an appraisal. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { appraise } from '../../../attestation/appraise.ts';
import { type Bytes, bytes, utf8 } from '../../../attestation/bytes.ts';
import { readGceInstance } from '../../../attestation/formats/gce-ak-cert.ts';
import { encodeGkeEvidence, parseGkeEvidence } from '../../../attestation/platforms/gke/container.ts';
import { explicit, bool } from '../../../attestation/platforms/simulated/der-writer.ts';
import { encodeGceInstance, GCE_FIELDS, gceProduction, gceVersion } from '../../../attestation/platforms/simulated/gce.ts';
import type { AppraisalPolicy } from '../../../attestation/policy.ts';
import { requiredRegisters } from '../../../attestation/policy.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { sevNode, snpNode, tdxNode, verify } from './support.ts';

const attempt = <T>(work: () => T): T | Refusal => {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
};
const raw = (max: number) => fc.uint8Array({ maxLength: max }).map((a) => bytes(a));
const name = fc.stringMatching(/^[!-~]{1,40}$/);
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('parsers', () => {
  test('instances are read as they were written', () => {
    fc.assert(fc.property(name, u64, name, u64, name, fc.option(fc.tuple(fc.nat(1000), fc.boolean(), fc.boolean())), (zone, projectNumber, projectId, instanceId, instanceName, security) => {
      const written = { zone, projectNumber, projectId, instanceId, instanceName };
      const members = security === null ? null : [gceVersion(security[0] & 255), gceProduction(security[1]), explicit(7, bool(security[2]))];
      expect(readGceInstance(encodeGceInstance({ ...written, security: members }), 'i')).toEqual({ ...written, security: security === null ? null : { version: security[0] & 255, production: security[1], flags: new Map([[7, security[2]]]) } });
    }), { numRuns: 150 });
  });

  test('changed instances: the same members, or a refusal', () => {
    const whole = encodeGceInstance(GCE_FIELDS);
    fc.assert(fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(whole.length), (at, mask, end) => {
      const changed = bytes(whole);
      changed[at] = (changed[at] as number) ^ mask;
      attempt(() => readGceInstance(changed, 'i'));
      expect(attempt(() => readGceInstance(whole.slice(0, Math.min(end, whole.length - 1)), 'i'))).toBeInstanceOf(Refusal);
    }), { numRuns: 300 });
  });

  test('arbitrary bytes', () => {
    fc.assert(fc.property(raw(300), (data) => {
      attempt(() => readGceInstance(data, 'i'));
      expect(attempt(() => parseGkeEvidence(data, 'e'))).toBeInstanceOf(Refusal);
    }), { numRuns: 200 });
    fc.assert(fc.property(fc.json({ maxDepth: 4 }), (json) => {
      expect(attempt(() => parseGkeEvidence(utf8(json), 'e'))).toBeInstanceOf(Refusal);
    }), { numRuns: 200 });
  });

  test('containers are read as they were written', () => {
    const some = fc.uint8Array({ minLength: 1, maxLength: 60 }).map((a) => bytes(a));
    const list = fc.array(some, { minLength: 1, maxLength: 6 });
    const maybe = <K extends string, T>(key: K, value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined }).map((v) => (v === undefined ? {} : { [key]: v }) as { [P in K]?: T });
    const instance = fc.record({ instanceId: u64, numericalProjectId: u64, zone: fc.stringMatching(/^[a-z0-9-]{1,63}$/) });
    const pcrs = fc.uniqueArray(fc.nat(23), { minLength: 1 }).chain((indexes) => fc.array(some, { minLength: indexes.length, maxLength: indexes.length }).map((values) => new Map<number, Bytes>(indexes.sort((a, b) => a - b).map((i, at) => [i, values[at] as Bytes]))));
    const parts = fc.oneof(
      fc.tuple(some, maybe('vek', some), maybe('issuers', list)).map(([report, vek, issuers]) => ({ technology: 'sev-snp' as const, report, ...vek, ...issuers })),
      fc.tuple(some, maybe('ccel', some), maybe('instance', instance)).map(([tdQuote, ccel, i]) => ({ technology: 'tdx' as const, tdQuote, ...ccel, ...i })),
      fc.tuple(some, some, pcrs, list, some).map(([message, signature, values, ak, eventLog]) => ({ technology: 'sev' as const, message, signature, pcrs: values, ak, eventLog })),
    );
    fc.assert(fc.property(parts, (p) => {
      expect(parseGkeEvidence(encodeGkeEvidence(p), 'e')).toEqual(p);
    }), { numRuns: 150 });
  });
});

describe('appraisal', () => {
  const policyOf = async (change: Partial<AppraisalPolicy> = {}): Promise<AppraisalPolicy> => {
    const registers = async (node: Awaited<ReturnType<typeof sevNode>>, names: readonly string[]) => Object.fromEntries((await verify(node)).measurements.filter((m) => names.includes(m.register)).map((m) => [m.register, m.value]));
    return {
      id: 'gke', role: 'counter', maxAgeSeconds: 300, allowDevelopment: false, scopes: ['node'],
      references: [
        { id: 'snp', platform: 'gke', registers: await registers(await snpNode(), ['LAUNCH']) }, { id: 'tdx', platform: 'gke', registers: await registers(await tdxNode(), ['MRTD', 'RTMR1', 'RTMR2']) },
        { id: 'sev', platform: 'gke', registers: await registers(await sevNode(), [4, 7, 8, 9, 11, 12, 13].map((i) => `vTPM:PCR${i}`)) },
      ] as unknown as AppraisalPolicy['references'],
      ...change,
    };
  };

  test('nodes of each technology against one policy; plain SEV never above a warning', async () => {
    const policy = await policyOf();
    for (const [node, id] of [[await snpNode(), 'snp'], [await tdxNode(), 'tdx'], [await sevNode(), 'sev']] as const) {
      const claims = await verify(node, { expect: { registers: requiredRegisters(policy, 'gke') } });
      const { status, rules, claims: matched, vector } = await appraise(claims, policy);
      expect(rules.filter((r) => r.outcome === 'fail'), id).toEqual([]);
      expect(matched.measurements.some((m) => m.matchedReference === id)).toBe(true);
      expect(status === 'affirming' || status === 'warning', id).toBe(true);
      if (id === 'sev') expect([status, vector.hardware, vector['runtime-opaque'], vector['instance-identity']]).toEqual(['warning', 32, 32, 2]);
    }
  });

  test('evidence of a node is for nobody who does not accept nodes, and never for a broker', async () => {
    const claims = await verify(await snpNode());
    for (const change of [{ scopes: ['vm'] }, { role: 'broker', scopes: ['node', 'enclave'] }] as Partial<AppraisalPolicy>[]) {
      const { status, rules } = await appraise(claims, await policyOf(change));
      expect(status).toBe('contraindicated');
      expect(rules.filter((r) => r.outcome === 'fail').map((r) => r.code)).toContain('SCOPE_NODE');
    }
  });
});

/** Confidential Space as a broker's evidence: each test changes one thing, under a signature that verifies. */
import { describe, expect, it, test } from 'vitest';
import { appraise, requireAcceptable } from '../../../attestation/appraise.ts';
import { b64u, randomBytes } from '../../../attestation/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral/collateral.ts';
import { appraisalPolicySchema } from '../../../attestation/policy.ts';
import { confidentialSpace } from '../../../attestation/platforms/confidential-space/verify.ts';
import { machineRegisters } from '../../../attestation/platforms/simulated/machine.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { googleNonces } from '../../../attestation/services/google.ts';
import { NOW, refused } from '../support.ts';
import { BINDING, EXPECT, type Given, MEASURED, verify } from './support.ts';

const policy = async (change: object = {}) => appraisalPolicySchema.parse({
  id: 'p', role: 'broker', references: [{ id: 'v1', platform: 'confidential-space', registers: await machineRegisters('confidential-space', MEASURED) }], maxAgeSeconds: 300, allowDevelopment: true, scopes: ['container'], ...change,
});

describe('a token of Confidential Space', () => {
  test('is a container\'s evidence, for a broker too, and says whose word it is', async () => {
    const claims = await verify();
    const { IMAGE } = await machineRegisters('confidential-space', MEASURED);
    expect(claims).toMatchObject({
      platform: 'confidential-space', anchor: 'development', hardware: { vendor: 'intel', technology: 'tdx', signer: { kind: 'service' }, revocation: { status: 'good' } }, tcb: { status: 'UpToDate' }, guest: { debug: false, secureBoot: true },
      workload: { imageDigest: `sha256:${IMAGE}`, imageDigestSource: 'platform-token', binding: { scope: 'container' } }, cloud: { provider: 'gcp', origin: 'asserted', region: 'europe-west4' },
      time: { evidenceAt: NOW, freshness: 'challenge' }, key: { boundIn: 'eat_nonce' }, measurements: [{ register: 'IMAGE', alg: 'sha256', value: IMAGE }],
    });
    const appraisal = await appraise(claims, await policy());
    expect(appraisal.rules.filter((r) => r.outcome === 'fail')).toEqual([]);
    expect(appraisal.status).toBe('warning');
    requireAcceptable(appraisal);
  });

  test('of another image is refused, and where the root is not allowed', async () => {
    const claims = await verify({ claims: { container: { image_digest: `sha256:${'0e'.repeat(32)}` } } });
    expect((await appraise(claims, await policy())).rules.filter((r) => r.outcome === 'fail').map((r) => r.code)).toEqual(['MEASUREMENT_MISMATCH']);
    expect((await appraise(await verify(), await policy({ allowDevelopment: false }))).rules.filter((r) => r.outcome === 'fail').map((r) => r.code)).toEqual(['ANCHOR_DEVELOPMENT']);
  });

  test('under an old TCB is refused by the appraisal', async () => {
    const claims = await verify({ claims: { top: { tdx: { gcp_attester_tcb_status: 'OutOfDate' } } } });
    expect((await appraise(claims, await policy())).rules.filter((r) => r.outcome === 'fail').map((r) => r.code)).toEqual(['TCB_OUT_OF_DATE']);
  });

  test('of exactly the lowest version that counts', async () => {
    expect((await verify({ claims: { top: { swversion: ['250301'] } }, expect: { services: { confidentialSpace: { minVersion: 250_301 } } } })).services?.[0]?.software?.versions).toEqual(['250301']);
    expect((await verify({ claims: { top: { swversion: ['250000'] } } })).services?.[0]?.software?.versions).toEqual(['250000']);
  });

  it('is judged at its own time as a replay, which releases nothing', async () => {
    const claims = await verify({ mode: 'replay', issuedAt: NOW - 20_000, expect: {} });
    expect(claims.time).toMatchObject({ evidenceAt: NOW - 20_000, freshness: 'none' });
    const appraisal = await appraise(claims, await policy());
    requireAcceptable(appraisal, 'replay');
    expect(() => requireAcceptable(appraisal)).toThrow('STALE');
  });
});

const nonces = async (): Promise<[string, string]> => await googleNonces(BINDING) as [string, string];

describe('refused', () => {
  it.each<[string, () => Promise<Given> | Given, RefusalCode | readonly RefusalCode[]]>([
    ['another audience', () => ({ audience: 'somebody else' }), 'CS_AUDIENCE'],
    ['another challenge', async () => ({ nonces: [b64u(randomBytes(32)), (await nonces())[1]] }), 'CS_NONCE'],
    ['another transcript', async () => ({ nonces: [(await nonces())[0], b64u(randomBytes(48))] }), 'CS_NONCE'],
    ['one nonce of two', async () => ({ nonces: [(await nonces())[0]] }), 'CS_NONCE'],
    ['another issuer', () => ({ claims: { top: { iss: 'https://issuer.invalid' } } }), 'JWT_ISSUER'],
    ['plain SEV', () => ({ model: 'GCP_AMD_SEV' }), 'HW_MODEL'],
    ['a debug image', () => ({ claims: { top: { dbgstat: 'enabled' } } }), 'CS_DEBUG'],
    ['no Secure Boot', () => ({ claims: { top: { secboot: false } } }), 'SECURE_BOOT'],
    ['another software', () => ({ claims: { top: { swname: 'GCE' } } }), 'CS_SOFTWARE'],
    ['an old image of Google\'s', () => ({ claims: { top: { swversion: ['240900'] } } }), 'CS_SOFTWARE'],
    ['an image below what the policy wants', () => ({ claims: { top: { swversion: ['250300'] } }, expect: { services: { confidentialSpace: { minVersion: 250_301 } } } }), 'CS_SOFTWARE'],
    ['an image below the floor, whatever the policy says', () => ({ claims: { top: { swversion: ['249999'] } }, expect: { services: { confidentialSpace: { minVersion: 1 } } } }), 'CS_SOFTWARE'],
    ['an image that Google supports no more', () => ({ claims: { space: { support_attributes: [] } } }), 'CS_SUPPORT'],
    ['memory that is monitored', () => ({ claims: { space: { monitoring_enabled: { memory: true } } } }), 'CS_MONITORING'],
    ['a command of the operator\'s', () => ({ claims: { container: { cmd_override: ['/bin/sh'] } } }), 'CS_OVERRIDE'],
    ['an environment of the operator\'s', () => ({ claims: { container: { env_override: { NODE_OPTIONS: '--inspect' } } } }), 'CS_OVERRIDE'],
    ['no container', () => ({ claims: { top: { submods: { gce: { zone: 'z', project_id: 'simulated', project_number: '1', instance_name: 'x', instance_id: '1' } } } } }), ['CS_IMAGE', 'CS_MONITORING', 'CS_SUPPORT']],
    ['one without certificates', () => ({ header: { x5c: undefined } }), 'JWT_KEY'],
    ['an old one', () => ({ issuedAt: NOW - 301 }), 'STALE'],
    ['one of tomorrow', () => ({ issuedAt: NOW + 61 }), 'JWT_NOT_YET_VALID'],
    ['roots that are not pinned', () => ({ trust: { roots: [] } }), ['CHAIN_ROOT_UNPINNED', 'JWT_KEY']],
    ['no revocation list', () => ({ trust: { collateral: NO_COLLATERAL } }), ['CRL_ABSENT', 'JWT_KEY']],
    ['a project of somebody else', () => ({ trust: { gce: { projects: ['7'] } } }), 'CLOUD_ORIGIN'],
    ['an instance that was denied', () => ({ trust: { gce: { deniedInstances: ['4160176124173070639'] } } }), 'CLOUD_ORIGIN'],
    ['a policy without an image', () => ({ expect: { registers: [] } }), 'POLICY_EMPTY'],
    ['another platform expected', () => ({ expect: { platform: 'gke' } }), 'BINDING_PLATFORM'],
  ])('%s', async (_, given, code) => {
    const refusal = await refused(verify(await given()), ...[code].flat());
    expect(refusal.reasons.every((r) => r.next.length > 10)).toBe(true);
  });

  it('bytes that are no token, and a token for the demands of a project', async () => {
    const trust = { roots: [], revoked: [], now: NOW };
    await refused(confidentialSpace.verify({ platform: 'confidential-space', document: new Uint8Array([1, 2]) }, EXPECT, trust), 'JWT_FORMAT');
    await refused(confidentialSpace.verifyReplay({ platform: 'confidential-space', document: new Uint8Array() }, EXPECT, trust), 'JWT_FORMAT');
    expect((await verify({ trust: { gce: { projects: ['1000'], deniedInstances: ['1'] } } })).cloud.provider).toBe('gcp');
  });
});

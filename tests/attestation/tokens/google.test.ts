/** D47, D48 and A9: one thing is wrong, under a signature that verifies, and only its check fails. */
import { describe, expect, test } from 'vitest';
import { CheckList } from '../../../attestation/checks.ts';
import { keySet, type GoogleParts, jwkOf, type Json, SIMULATED_GOOGLE_ISSUER } from '../../../attestation/platforms/simulated/tokens.ts';
import { googleEvidence, GOOGLE_ISSUER, googleNonces, googleServiceClaims, type GooglePolicy, technology, verifyGoogle } from '../../../attestation/services/google.ts';
import { googleNormalized } from '../../../attestation/services/google-normalized.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { BINDING } from '../support.ts';
import { appraiseGoogle, AUDIENCE, google, GOOGLE, googleKeySet, GOOGLE_POLICY, googleToken, KID, NONCES, NOW, refused, serviceKey, sign, trustOf, verify } from './support.ts';

const top = (change: Json): GoogleParts => ({ top: change });

describe('accepted', () => {
  test('the token that every other test changes in one place', async () => {
    const facts = await verify(await googleToken());
    expect(facts).toMatchObject({ mode: 'oidc', bound: true, audience: AUDIENCE, nonces: NONCES, hwModel: 'GCP_INTEL_TDX', swName: 'CONFIDENTIAL_SPACE', tdx: { status: 'UpToDate', date: 1770768000, evaluationNumber: 20 }, memoryMonitoring: false, container: { imageDigest: `sha256:${'b1'.repeat(32)}` }, gce: { instanceId: '4160176124173070639' } });
    const { done } = await appraiseGoogle(facts);
    expect(done.every((c) => c.result === 'pass')).toBe(true);
    expect(done.map((c) => c.id)).toEqual(['CS-SOFTWARE', 'CS-OEM', 'CS-SECBOOT', 'CS-DEBUG', 'CS-HW-MODEL', 'CS-PROJECT', 'CS-ZONE', 'CS-ACCOUNT', 'CS-TDX-STATUS', 'CS-VERSION', 'CS-SUPPORT', 'CS-MONITORING', 'CS-CONTAINER', 'CS-IMAGE', 'CS-ARGS', 'CS-COMMAND', 'CS-ENVIRONMENT', 'CS-RESTART']);
    expect(googleServiceClaims(facts)).toMatchObject({ source: 'service', service: 'google', anchor: 'development', mode: 'oidc', technology: 'tdx', debug: false, tcbStatus: 'UpToDate', evaluationNumber: 20, software: { name: 'CONFIDENTIAL_SPACE', versions: ['260900'] } });
    expect(googleEvidence(facts, 'root')).toMatchObject({ kind: 'confidential-space-jwt', role: 'root', sha256: facts.token.sha256 });
  });
  test('a nonce alone, as a string; in an array of one; two in the other order', async () => {
    const one = { ...GOOGLE, nonces: [NONCES[0] as string] };
    await expect(verify(await sign(google('GCP_INTEL_TDX', {}, one.nonces)), one)).resolves.toMatchObject({ nonces: one.nonces });
    await expect(verify(await googleToken(top({ eat_nonce: one.nonces })), one)).resolves.toBeDefined();
    await expect(verify(await googleToken(top({ eat_nonce: [...NONCES].reverse() })))).resolves.toBeDefined();
  });
  test('TDX claims in an array of one', async () => {
    await expect(verify(await googleToken(top({ tdx: [{ gcp_attester_tcb_status: 'UpToDate', gcp_attester_tcb_date: '2026-02-11T00:00:00Z' }] })))).resolves.toMatchObject({ tdx: { status: 'UpToDate', evaluationNumber: null } });
  });
  test('the operator sets what the policy lets him set', async () => {
    await expect(appraiseGoogle(await verify(await googleToken({ container: { env_override: { LOG: 'warn', NAME: 'anything' } } })))).resolves.toBeDefined();
  });
  test('Google\'s own issuer is the default, and production', async () => {
    const checks = new CheckList();
    const token = await googleToken(top({ iss: GOOGLE_ISSUER }));
    const facts = await verifyGoogle({ token, mode: 'oidc', expect: GOOGLE }, trustOf([keySet(GOOGLE_ISSUER, [jwkOf(await serviceKey(), KID)], NOW)]), NOW, checks);
    expect(facts === undefined ? undefined : googleServiceClaims(facts).anchor).toBe('production');
    await refused(verify(token), 'JWT_ISSUER');
  });
  test('the nonces of a challenge are of the lengths that Google takes', async () => {
    const [nonce, bound] = await googleNonces(BINDING);
    expect([nonce?.length, bound?.length]).toEqual([43, 64]);
    expect(await googleNonces({ ...BINDING, role: 'broker' })).not.toEqual([nonce, bound]);
  });
});

describe('audience and nonce', () => {
  test.each<[string, Json, RefusalCode]>([
    ['another audience', { aud: 'broker-2' }, 'CS_AUDIENCE'], ['a longer one', { aud: `${AUDIENCE}/` }, 'CS_AUDIENCE'], ['an array', { aud: [AUDIENCE] }, 'CS_AUDIENCE'], ['an array with another', { aud: [AUDIENCE, 'attacker'] }, 'CS_AUDIENCE'], ['none', { aud: undefined }, 'CS_AUDIENCE'],
    ['of more than 512 bytes', { aud: 'a'.repeat(513) }, 'JWT_CLAIM'],
    ['no nonce', { eat_nonce: undefined }, 'CS_NONCE'], ['another nonce', { eat_nonce: 'x'.repeat(43) }, 'CS_NONCE'], ['one of the two', { eat_nonce: NONCES[0] }, 'CS_NONCE'],
    ['only the second is ours', { eat_nonce: ['x'.repeat(43), NONCES[1]] }, 'CS_NONCE'], ['ours and another', { eat_nonce: [...NONCES, 'x'.repeat(43)] }, 'CS_NONCE'], ['ours, one twice', { eat_nonce: [...NONCES, NONCES[0]] }, 'CS_NONCE'],
    ['ours in one string', { eat_nonce: NONCES.join('').slice(0, 88) }, 'CS_NONCE'], ['seven', { eat_nonce: [...NONCES, ...Array.from({ length: 5 }, (_, i) => `${i}`.repeat(9))] }, 'JWT_CLAIM'], ['a short one', { eat_nonce: [...NONCES, '1234567'] }, 'JWT_CLAIM'],
    ['a long one', { eat_nonce: [...NONCES, 'x'.repeat(89)] }, 'JWT_CLAIM'], ['an empty array', { eat_nonce: [] }, 'JWT_CLAIM'], ['a number', { eat_nonce: 12345678 }, 'JWT_CLAIM'],
  ])('%s', async (_, change, code) => { await refused(verify(await googleToken(top(change))), code); });
  test('others besides, where the caller takes them', async () => {
    const token = await googleToken(top({ eat_nonce: ['x'.repeat(43), ...NONCES] }));
    await expect(verify(token, { ...GOOGLE, extraNonces: 'allow' })).resolves.toBeDefined();
    await refused(verify(await googleToken(top({ eat_nonce: ['x'.repeat(43), NONCES[1]] })), { ...GOOGLE, extraNonces: 'allow' }), 'CS_NONCE');
  });
  test('no nonce expected: nothing is fresh', async () => {
    await refused(verify(await googleToken(top({ eat_nonce: undefined })), { ...GOOGLE, nonces: [] }), 'CS_NONCE');
    await refused(verify(await googleToken(), { ...GOOGLE, nonces: [], extraNonces: 'allow' }), 'CS_NONCE');
  });
  test('exp 60 s ago, 61 s ago; six minutes old', async () => {
    await expect(verify(await googleToken(top({ exp: NOW - 60, iat: NOW - 90 })))).resolves.toBeDefined();
    await refused(verify(await googleToken(top({ exp: NOW - 61, iat: NOW - 90 }))), 'JWT_EXPIRED');
    await refused(verify(await googleToken(), GOOGLE, { at: NOW + 360 }), 'STALE');
  });
});

describe('form', () => {
  test.each<[string, GoogleParts]>([
    ['no submods', top({ submods: undefined })], ['no hwmodel', top({ hwmodel: undefined })], ['no swname', top({ swname: undefined })], ['no dbgstat', top({ dbgstat: undefined })], ['secboot as text', top({ secboot: 'true' })],
    ['no image digest', { container: { image_digest: undefined } }], ['an image digest of another form', { container: { image_digest: 'sha512:00' } }], ['args as text', { container: { args: '/broker' } }], ['env_override as a list', { container: { env_override: ['A=b'] } }],
    ['a variable that is no string', { container: { env_override: { A: 1 } } }], ['an instance id as a number', { gce: { instance_id: 4160176124173070639 } }], ['a project number of letters', { gce: { project_number: 'x' } }], ['two TDX claim sets', top({ tdx: [{ gcp_attester_tcb_status: 'A' }, { gcp_attester_tcb_status: 'B' }] })],
    ['a TCB date that is none', top({ tdx: { gcp_attester_tcb_status: 'UpToDate', gcp_attester_tcb_date: 'yesterday' } })], ['support attributes as text', { space: { support_attributes: 'STABLE' } }],
  ])('%s', async (_, change) => { await refused(verify(await googleToken(change)), 'JWT_CLAIM'); });
});

describe('appraisal', () => {
  const box = (change: Json): GoogleParts => ({ container: change });
  test.each<[string, GoogleParts, RefusalCode, Partial<GooglePolicy>?]>([
    ['debug image', top({ dbgstat: 'enabled' }), 'CS_DEBUG'], ['debug status of another word', top({ dbgstat: 'disabled' }), 'CS_DEBUG'], ['no support attributes', { space: { support_attributes: undefined } }, 'CS_SUPPORT'], ['support attributes without STABLE', { space: { support_attributes: ['USABLE'] } }, 'CS_SUPPORT'],
    ['swname GCE', top({ swname: 'GCE' }), 'CS_SOFTWARE'], ['an old version', top({ swversion: ['250300'] }), 'CS_SOFTWARE'], ['a version that is no number', top({ swversion: ['260900-x'] }), 'CS_SOFTWARE'], ['no version', top({ swversion: [] }), 'CS_SOFTWARE'],
    ['one old version of two', top({ swversion: ['260900', '1'] }), 'CS_SOFTWARE'], ['another maker', top({ oemid: 11130 }), 'CS_SOFTWARE'], ['no Secure Boot', top({ secboot: false }), 'SECURE_BOOT'], ['Secure Boot: not said', top({ secboot: undefined }), 'SECURE_BOOT'],
    ['shielded VM', top({ hwmodel: 'GCP_SHIELDED_VM' }), 'HW_MODEL'], ['model in another case', top({ hwmodel: 'gcp_intel_tdx' }), 'HW_MODEL'], ['no model named', {}, 'HW_MODEL', { hwModels: [] }],
    ['another project', { gce: { project_id: 'attacker' } }, 'CLOUD_ORIGIN'], ['another zone', { gce: { zone: 'us-central1-a' } }, 'CLOUD_ORIGIN'], ['another account', top({ google_service_accounts: ['attacker@x'] }), 'CS_ACCOUNT'], ['one account more', top({ google_service_accounts: [...GOOGLE_POLICY.serviceAccounts, 'attacker@x'] }), 'CS_ACCOUNT'],
    ['no account', top({ google_service_accounts: [] }), 'CS_ACCOUNT'], ['TDX out of date', top({ tdx: { gcp_attester_tcb_status: 'OutOfDate' } }), 'TCB_STATUS'], ['no TDX claims', top({ tdx: undefined }), 'TCB_STATUS'], ['no attester', top({ attester_tcb: undefined }), 'TCB_STATUS'],
    ['another image under the same reference', box({ image_digest: `sha256:${'b2'.repeat(32)}` }), 'CS_IMAGE'], ['no image named', {}, 'CS_IMAGE', { container: { ...GOOGLE_POLICY.container as NonNullable<GooglePolicy['container']>, imageDigests: [] } }],
    ['other arguments', box({ args: ['/broker', '--insecure'] }), 'CS_OVERRIDE'], ['arguments split otherwise', box({ args: ['/bro', 'ker'] }), 'CS_OVERRIDE'], ['an override of the command', box({ cmd_override: ['/broker'] }), 'CS_OVERRIDE'],
    ['one variable more', box({ env_override: { LD_PRELOAD: '/evil.so' } }), 'CS_OVERRIDE'], ['an allowed variable with another value', box({ env_override: { LOG: 'trace' } }), 'CS_OVERRIDE'], ['a variable named as an object\'s own', box({ env_override: JSON.parse('{"constructor":"x"}') }), 'CS_OVERRIDE'],
    ['a variable named __proto__', box({ env_override: JSON.parse('{"__proto__":"x"}') }), 'CS_OVERRIDE'], ['another restart policy', box({ restart_policy: 'Always' }), 'CS_OVERRIDE'], ['no restart policy', box({ restart_policy: undefined }), 'CS_OVERRIDE'],
    ['memory monitoring', { space: { monitoring_enabled: { memory: true } } }, 'CS_MONITORING'], ['monitoring: not said', { space: { monitoring_enabled: undefined } }, 'CS_MONITORING'],
    ['no policy for the container', {}, 'POLICY_EMPTY', { container: null }],
  ])('%s', async (_, change, code, policy = {}) => {
    const token = change.top !== undefined || change.container !== undefined || change.gce !== undefined || change.space !== undefined ? await googleToken(change) : await googleToken();
    await refused(appraiseGoogle(await verify(token), policy), code);
  });
  test('no container at all; no Confidential Space part', async () => {
    const { submods } = google() as { submods: { gce: Json; container: Json } };
    await refused(appraiseGoogle(await verify(await googleToken(top({ submods: { ...submods, container: undefined } })))), 'CS_IMAGE');
    await refused(appraiseGoogle(await verify(await googleToken(top({ submods: { ...submods, confidential_space: undefined } })))), 'CS_SUPPORT', 'CS_MONITORING');
    await refused(appraiseGoogle(await verify(await googleToken(top({ submods: { container: submods.container, confidential_space: { support_attributes: ['STABLE'], monitoring_enabled: { memory: false } } } })))), 'CLOUD_ORIGIN');
  });
  test('D48: plain SEV where SEV-SNP is required', async () => {
    const facts = await verify(await sign(google('GCP_AMD_SEV')));
    expect(technology(facts)).toBe('sev');
    await refused(appraiseGoogle(facts, { hwModels: ['GCP_AMD_SEV_SNP'] }), 'HW_MODEL');
    await refused(appraiseGoogle(facts), 'HW_MODEL');
    await expect(appraiseGoogle(facts, { hwModels: ['GCP_AMD_SEV'] })).resolves.toBeDefined();
  });
  test('models that are nothing known are no technology', () => {
    for (const hwModel of ['GCP_SHIELDED_VM', 'toString', '', 'GCP_AMD_SEV_SNP2']) expect(technology({ hwModel })).toBe('none');
  });
  test('a debug image passes only where debug and support are waived, and the checks say so', async () => {
    const facts = await verify(await googleToken({ top: { dbgstat: 'enabled' }, space: { support_attributes: undefined } }));
    await refused(appraiseGoogle(facts), 'CS_DEBUG', 'CS_SUPPORT');
    const { done } = await appraiseGoogle(facts, { allowDebug: true, support: null });
    expect(done.filter((c) => c.result === 'skipped-by-policy').map((c) => c.id)).toEqual(['CS-DEBUG', 'CS-SUPPORT']);
    expect(googleServiceClaims(facts).debug).toBe(true);
  });
  test('a Confidential VM (swname GCE) has no container to look at', async () => {
    const { submods } = google() as { submods: { gce: Json } };
    const facts = await verify(await googleToken(top({ swname: 'GCE', swversion: undefined, submods: { gce: submods.gce } })));
    await expect(appraiseGoogle(facts, { software: 'GCE' })).resolves.toBeDefined();
    await refused(appraiseGoogle(facts), 'CS_SOFTWARE', 'CS_SUPPORT', 'CS_MONITORING', 'CS_IMAGE');
  });
  test('the values of variables are not shown', async () => {
    const refusal = await refused(appraiseGoogle(await verify(await googleToken(box({ env_override: { TOKEN: 'hunter2' } })))), 'CS_OVERRIDE');
    expect(refusal.message).toContain('TOKEN');
    expect(refusal.message).not.toContain('hunter2');
  });
  test('everything that is wrong is said at once', async () => {
    const facts = await verify(await googleToken({ top: { dbgstat: 'enabled', secboot: false }, container: { restart_policy: 'Always' } }));
    await refused(appraiseGoogle(facts), 'CS_DEBUG', 'SECURE_BOOT', 'CS_OVERRIDE');
  });
});

describe('as claims', () => {
  test('TDX: signed by a service, the image from the token, nothing measured', async () => {
    const facts = await verify(await googleToken());
    expect(googleNormalized(facts)).toMatchObject({
      anchor: 'development', hardware: { vendor: 'intel', technology: 'tdx', generation: null, signer: { kind: 'service', leafSerial: KID, rootSha256: facts.token.collateral[0]?.sha256 }, revocation: { status: 'unchecked' } },
      tcb: { status: 'UpToDate', evaluationNumber: 20 }, guest: { debug: false, migratable: null, secureBoot: true, vmpl: null }, measurements: [],
      workload: { imageDigest: `sha256:${'b1'.repeat(32)}`, imageDigestSource: 'platform-token', args: ['/broker'], env: {}, binding: { scope: 'container' } },
      cloud: { provider: 'gcp', zone: 'europe-west4-a', region: 'europe-west4', accountOrProject: 'simulated', origin: 'asserted' }, services: [{ source: 'service' }],
    });
  });
  test('plain SEV says so, and claims no TCB; a word that Intel does not have is no status', async () => {
    expect(googleNormalized(await verify(await sign(google('GCP_AMD_SEV'))))).toMatchObject({ hardware: { vendor: 'amd', technology: 'sev' }, tcb: { status: 'NotReported' }, guest: { debug: false, migratable: null } });
    expect(googleNormalized(await verify(await googleToken(top({ tdx: { gcp_attester_tcb_status: 'Fine' } }))))?.tcb.status).toBe('NotReported');
  });
  test('a debug image is a debug guest; a shielded VM has no claims', async () => {
    expect(googleNormalized(await verify(await googleToken(top({ dbgstat: 'enabled' }))))?.guest.debug).toBe(true);
    expect(googleNormalized(await verify(await googleToken(top({ hwmodel: 'GCP_SHIELDED_VM' }))))).toBeUndefined();
  });
});

test('the key set is the issuer\'s', async () => {
  expect((await googleKeySet()).key).toBe(SIMULATED_GOOGLE_ISSUER);
  await refused(verify(await googleToken(), GOOGLE, { items: [] }), 'COLLATERAL_ABSENT');
});

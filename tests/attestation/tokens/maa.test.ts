/** D46 and A8: one thing is wrong, under a signature that verifies, and only its check fails. */
import { describe, expect, test } from 'vitest';
import { hex, utf8 } from '../../../attestation/bytes.ts';
import { base64, hclRuntime, type Json, maaPlatformClaims } from '../../../attestation/platforms/simulated/tokens.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { claimedIssuer, MAA_ISSUER, maaEvidence, maaServiceClaims, type MaaPolicy } from '../../../attestation/services/maa.ts';
import { appraiseMaa, filled, GUEST, guestToken, maa, NONCE, NOW, platformToken, PLATFORM, refused, RUNTIME, sign, type Tee, USER_DATA } from './support.ts';

const TEES: Tee[] = ['sev-snp', 'tdx'];

describe.each(TEES)('%s: accepted', (tee) => {
  test('a platform token, bound by the HCL\'s user-data', async () => {
    const facts = await maa(await platformToken(tee));
    expect(facts).toMatchObject({ guest: null, bound: { runtime: true, challenge: true }, ageSeconds: 0, compliance: 'azure-compliant-cvm', tee: { tee } });
    const { done } = await appraiseMaa(facts);
    expect(done.every((c) => c.result === 'pass')).toBe(true);
    expect(maaServiceClaims(facts)).toMatchObject({ source: 'service', service: 'maa', anchor: 'development', technology: tee, debug: false, policyHash: facts.policyHash, mode: 'oidc' });
    expect(maaEvidence(facts)).toMatchObject({ kind: 'maa-jwt', role: 'corroborating', sha256: facts.token.sha256 });
  });
  test('a guest token, bound by the caller\'s nonce', async () => {
    const facts = await maa(await guestToken(tee), GUEST);
    expect(facts).toMatchObject({ guest: { secureBoot: true, debug: false, attestedPcrs: [0, 1, 2, 3, 4, 5, 6, 7] }, tee: { tee } });
    await expect(appraiseMaa(facts)).resolves.toBeDefined();
  });
  test('the service may leave keys of the runtime data out', async () => {
    const { keys, ...rest } = JSON.parse(RUNTIME) as { keys: unknown[] };
    await expect(maa(await platformToken(tee, { 'x-ms-runtime': { ...rest, keys: keys.slice(1) } }))).resolves.toBeDefined();
  });
});

test('measurements stand as the service\'s own, by register', async () => {
  expect(maaServiceClaims(await maa(await platformToken('sev-snp')))).toMatchObject({ generation: 'Genoa', tcbStatus: 'NotReported', measurements: { LAUNCH: '15'.repeat(48) } });
  expect(maaServiceClaims(await maa(await platformToken('tdx')))).toMatchObject({ tcbStatus: 'UpToDate', measurements: { MRTD: 'a2'.repeat(48), RTMR3: '00'.repeat(48) } });
});

test('issuers of the public cloud, and others', () => {
  for (const host of ['https://sharedwus.wus.attest.azure.net', 'https://sharedeus2.eus2.attest.azure.net', 'https://ra26014b305c1c7c2c4521.eus2e.attest.azure.net']) expect(MAA_ISSUER.test(host)).toBe(true);
  for (const host of ['https://sharedeus.eus.attest.azure.net.evil.example', 'http://sharedeus.eus.attest.azure.net', 'https://evil.example/sharedeus.eus.attest.azure.net', 'https://sharedeus.eus.attest.azure.net/', 'https://attest.azure.net']) expect(MAA_ISSUER.test(host)).toBe(false);
  for (const text of ['', 'a', 'a.b.c', 'a.!!.c', `a.${btoa('[]')}.c`, `a.${btoa('{"iss":1}')}.c`, `a.${btoa('null')}.c`]) expect(claimedIssuer(text)).toBeUndefined();
});

describe('runtime data', () => {
  const run = (change: Json, expectation = PLATFORM) => platformToken('sev-snp', change).then((t) => maa(t, expectation));
  test.each<[string, () => Promise<unknown>]>([
    ['keys that do not hash to the report data', () => run({}, { ...PLATFORM, runtimeData: utf8(hclRuntime(USER_DATA, { keys: [{ kid: 'HCLAkPub', kty: 'RSA', e: 'AQAB', n: 'attacker' }] })) })],
    ['keys in the claim only', () => run({ 'x-ms-runtime': JSON.parse(hclRuntime(USER_DATA, { keys: [{ kid: 'HCLAkPub', kty: 'RSA', e: 'AQAB', n: 'attacker' }] })) })],
    ['a member in the claim only', () => run({ 'x-ms-runtime': { ...JSON.parse(RUNTIME) as object, extra: 1 } })],
    ['another value in the claim', () => run({ 'x-ms-runtime': JSON.parse(hclRuntime(USER_DATA, { 'vm-configuration': { 'secure-boot': false } })) })],
    ['the same in another spelling', () => run({}, { ...PLATFORM, runtimeData: utf8(`${RUNTIME} `) })],
    ['other report data', () => run({ 'x-ms-sevsnpvm-reportdata': '11'.repeat(64) })],
    ['report data that ends in something', () => platformToken('tdx').then(async () => { const c = await maaPlatformClaims('tdx', RUNTIME, NOW); return maa(await sign({ ...c, tdx_report_data: `${String(c['tdx_report_data']).slice(0, 126)}01` })); })],
    ['a token without it (none was submitted)', () => platformToken('tdx', { 'x-ms-runtime': undefined }).then((t) => maa(t, { verdict: true, runtimeData: utf8(RUNTIME) }))],
  ])('%s is not bound', async (_, work) => { await refused(work(), 'RUNTIME_UNBOUND'); });
  test('a name twice in it', async () => {
    const twice = RUNTIME.replace('{', '{"user-data":"00",');
    await refused(maa(await sign(await maaPlatformClaims('sev-snp', twice, NOW)), { ...PLATFORM, runtimeData: utf8(twice) }), 'RUNTIME_UNBOUND');
  });
  test('of a guest token it is the machine\'s, not the caller\'s', async () => {
    const caller = { 'client-payload': { nonce: base64(NONCE) } };
    await refused(maa(await guestToken('sev-snp', { 'x-ms-runtime': caller }, { 'x-ms-runtime': caller }), GUEST), 'RUNTIME_UNBOUND');
  });
});

describe('challenge', () => {
  test.each<[string, Json, RefusalCode]>([
    ['another nonce', { 'client-payload': { nonce: base64(filled(32, 1)) } }, 'NONCE_MISMATCH'], ['none', { 'client-payload': {} }, 'NONCE_ABSENT'], ['no payload', {}, 'NONCE_ABSENT'], ['our nonce and more', { 'client-payload': { nonce: base64(new Uint8Array([...NONCE, 0])) } }, 'NONCE_MISMATCH'],
    ['our nonce in hex', { 'client-payload': { nonce: hex(NONCE) } }, 'NONCE_MISMATCH'], ['our nonce, unpadded', { 'client-payload': { nonce: base64(NONCE).replace('=', '') } }, 'NONCE_MISMATCH'], ['a list', { 'client-payload': { nonce: [base64(NONCE)] } }, 'NONCE_MISMATCH'],
    ['our nonce elsewhere', { nonce: base64(NONCE) }, 'NONCE_ABSENT'],
  ])('guest: %s', async (_, runtime, code) => { await refused(maa(await guestToken('sev-snp', { 'x-ms-runtime': runtime }), GUEST), code); });
  test('guest: the payload of a platform token does not count', async () => { await refused(maa(await platformToken('sev-snp'), GUEST), 'NONCE_ABSENT'); });
  test('platform: other user-data, none, one with more', async () => {
    await refused(maa(await platformToken('tdx'), { ...PLATFORM, challenge: { in: 'user-data', value: filled(64, 1) } }), 'NONCE_MISMATCH');
    await refused(maa(await platformToken('tdx'), { ...PLATFORM, challenge: { in: 'user-data', value: USER_DATA.slice(0, 63) } }), 'NONCE_MISMATCH');
    const without = hclRuntime(USER_DATA, { 'user-data': undefined });
    await refused(maa(await sign(await maaPlatformClaims('tdx', without, NOW)), { ...PLATFORM, runtimeData: utf8(without) }), 'NONCE_ABSENT');
  });
  test('an empty expectation matches nothing', async () => {
    await refused(maa(await guestToken('sev-snp', { 'x-ms-runtime': { 'client-payload': { nonce: '' } } }), { ...GUEST, challenge: { in: 'client-payload', value: filled(0, 0) } }), 'NONCE_MISMATCH');
  });
  test('a token 20 minutes old with the right nonce is stale', async () => { await refused(maa(await guestToken('sev-snp'), GUEST, { at: NOW + 1200 }), 'STALE'); });
  test('a verdict leaves it out, and says so', async () => {
    const facts = await maa(await platformToken('tdx'), { verdict: true }, { at: NOW + 1200 });
    expect(facts.bound).toEqual({ runtime: false, challenge: false });
  });
});

describe('shape', () => {
  test.each<[string, Tee, Json]>([
    ['another type', 'tdx', { 'x-ms-attestation-type': 'sgx' }], ['no type', 'tdx', { 'x-ms-attestation-type': undefined }], ['the type of the other technology', 'tdx', { 'x-ms-attestation-type': 'sevsnpvm' }],
    ['no report data', 'sev-snp', { 'x-ms-sevsnpvm-reportdata': undefined }], ['short report data', 'sev-snp', { 'x-ms-sevsnpvm-reportdata': '00' }], ['no measurement', 'sev-snp', { 'x-ms-sevsnpvm-launchmeasurement': undefined }],
    ['a flag as text', 'sev-snp', { 'x-ms-sevsnpvm-is-debuggable': 'false' }], ['a version as text', 'sev-snp', { 'x-ms-sevsnpvm-snpfw-svn': '27' }], ['a version above 255', 'sev-snp', { 'x-ms-sevsnpvm-snpfw-svn': 256 }],
    ['no RTMR', 'tdx', { tdx_rtmr2: undefined }], ['no attributes', 'tdx', { tdx_td_attributes: undefined }], ['a policy hash of another form', 'tdx', { 'x-ms-policy-hash': 'abc' }], ['runtime data that is text', 'tdx', { 'x-ms-runtime': RUNTIME }],
    ['a debug flag against its bit', 'tdx', { tdx_td_attributes_debug: true }], ['a debug bit against its flag', 'tdx', { tdx_td_attributes: '0100001000000000' }], ['a migration bit against its flag', 'tdx', { tdx_td_attributes: '0000003000000000' }],
  ])('%s (%s)', async (_, tee, change) => { await refused(maa(await platformToken(tee, change)), 'JWT_CLAIM'); });
  test('a guest token without a TEE below it, or with the TEE\'s claims on top', async () => {
    await refused(maa(await guestToken('tdx', { 'x-ms-isolation-tee': undefined }), GUEST), 'JWT_CLAIM');
    await refused(maa(await platformToken('tdx', { 'x-ms-attestation-type': 'azurevm' }), PLATFORM), 'JWT_CLAIM');
    await refused(maa(await guestToken('tdx', {}, { tdx_mrtd: undefined }), GUEST), 'JWT_CLAIM');
  });
});

describe('appraisal', () => {
  test.each<[string, Tee, Json, RefusalCode, Partial<MaaPolicy>?]>([
    ['no compliance status', 'sev-snp', { 'x-ms-compliance-status': undefined }, 'MAA_COMPLIANCE'], ['another compliance status', 'tdx', { 'x-ms-compliance-status': 'azure-signed-td' }, 'MAA_COMPLIANCE'],
    ['an unknown policy', 'tdx', { 'x-ms-policy-hash': 'A'.repeat(43) }, 'MAA_POLICY'], ['no policy hash', 'tdx', { 'x-ms-policy-hash': undefined }, 'MAA_POLICY'], ['no policy named', 'tdx', {}, 'POLICY_EMPTY', { policyHashes: [] }],
    ['debuggable', 'sev-snp', { 'x-ms-sevsnpvm-is-debuggable': true }, 'DEBUG_VM'], ['debuggable: not said', 'sev-snp', { 'x-ms-sevsnpvm-is-debuggable': undefined }, 'DEBUG_VM'],
    ['VMPL 1', 'sev-snp', { 'x-ms-sevsnpvm-vmpl': 1 }, 'GUEST_VMPL'], ['VMPL: not said', 'sev-snp', { 'x-ms-sevsnpvm-vmpl': null }, 'GUEST_VMPL'], ['may migrate', 'sev-snp', { 'x-ms-sevsnpvm-migration-allowed': true }, 'GUEST_POLICY'],
    ['may migrate: not said', 'sev-snp', { 'x-ms-sevsnpvm-migration-allowed': undefined }, 'GUEST_POLICY'],
    ['Milan', 'sev-snp', { 'x-ms-sevsnpvm-chip-family': 'milan' }, 'HW_DENIED'], ['chip family: not said', 'sev-snp', { 'x-ms-sevsnpvm-chip-family': undefined }, 'HW_DENIED'],
    ['old boot loader', 'sev-snp', { 'x-ms-sevsnpvm-bootloader-svn': 9 }, 'TCB_FLOOR'], ['old firmware', 'sev-snp', { 'x-ms-sevsnpvm-snpfw-svn': 26 }, 'TCB_FLOOR'], ['old microcode', 'sev-snp', { 'x-ms-sevsnpvm-microcode-svn': 87 }, 'TCB_FLOOR'],
    ['no version', 'sev-snp', { 'x-ms-sevsnpvm-tee-svn': undefined }, 'TCB_FLOOR'],
    ['out of date', 'tdx', { attester_tcb_status: 'OutOfDate' }, 'TCB_STATUS'], ['no status', 'tdx', { attester_tcb_status: undefined }, 'TCB_STATUS'],
    ['debug', 'tdx', { tdx_td_attributes_debug: true, tdx_td_attributes: '0100001000000000' }, 'DEBUG_TD'], ['debug: not said, but set', 'tdx', { tdx_td_attributes_debug: undefined, tdx_td_attributes: '0100001000000000' }, 'DEBUG_TD'],
    ['migratable', 'tdx', { tdx_td_attributes_migratable: true, tdx_td_attributes: '0000003000000000' }, 'TD_ATTR'], ['page faults of the host', 'tdx', { tdx_td_attributes_septve_disable: false, tdx_td_attributes: '0000000000000000' }, 'TD_ATTR'],
  ])('%s (%s)', async (_, tee, change, code, policy = {}) => {
    await refused(appraiseMaa(await maa(await platformToken(tee, change)), policy), code);
    if (!('x-ms-policy-hash' in change)) await refused(appraiseMaa(await maa(await guestToken(tee, {}, change), GUEST), policy), code);
  });
  test.each<[string, Json, RefusalCode]>([
    ['no Secure Boot', { secureboot: false }, 'SECURE_BOOT'], ['Secure Boot: not said', { secureboot: undefined }, 'SECURE_BOOT'], ['kernel debugging', { 'x-ms-azurevm-kerneldebug-enabled': true }, 'DEBUG_VM'], ['test signing', { 'x-ms-azurevm-testsigning-enabled': true }, 'DEBUG_VM'],
  ])('guest: %s', async (_, change, code) => { await refused(appraiseMaa(await maa(await guestToken('sev-snp', change), GUEST)), code); });
  test('platform: Secure Boot off, by the runtime data', async () => {
    const off = hclRuntime(USER_DATA, { 'vm-configuration': { 'secure-boot': false } });
    const facts = await maa(await sign(await maaPlatformClaims('tdx', off, NOW)), { ...PLATFORM, runtimeData: utf8(off) });
    await refused(appraiseMaa(facts), 'SECURE_BOOT');
    await expect(appraiseMaa(facts, { requireSecureBoot: false })).resolves.toBeDefined();
  });
});

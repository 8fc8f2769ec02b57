/** The policies that Azure evaluates, from the bytes that are deployed. */
import './light.ts';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { readMaaClaims } from '../../attestation/services/maa-claims.ts';
import { attestationPolicyJwt, attestationUri, diskReleasePolicy, policyTag, type ReleasePolicy, releasePolicy, sevSnpPolicy, tpmPolicy } from '../../modules/azure/release-policy.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { entriesOf, parseLock, readLock } from '../../modules/measurements.ts';
import { azureOf, synthesizeAzure } from './azure-synth.ts';

const lock = readLock();
const KEY = 'Microsoft.KeyVault/vaults/keys@2023-07-01';
const deployed = (env: (typeof ENVIRONMENT_NAMES)[number], part: 'data' | 'disk', from = azureOf(env)) => {
  const key = from.resources('azapi_resource').find(({ body }) => body['name'].includes(`-${part}-`));
  if (key === undefined) throw new Error(`no ${part} key`);
  const { data } = key.body['body'].properties.release_policy;
  const text = Buffer.from(data, 'base64url').toString('utf8');
  return { body: key.body, data: data as string, text, policy: JSON.parse(text) as ReleasePolicy };
};
const own = (env: (typeof ENVIRONMENT_NAMES)[number]): string => azureOf(env).json['output']['attestation-uri'].value;

/** What Key Vault does with a policy of the form that ours have; the rules of all clouds have an evaluator of the whole grammar. */
const releases = (policy: ReleasePolicy, { issuer, claims }: { issuer: string; claims: Record<string, unknown> }): boolean => policy.anyOf.some(({ authority, allOf }) =>
  authority === issuer && allOf.every(({ claim, equals }) => claim.split('.').reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], claims) === equals));

/** A guest's token in the shape of the service. */
const guest = (launch: string) => ({
  'x-ms-attestation-type': 'azurevm', secureboot: true, 'x-ms-azurevm-attested-pcrs': [0, 1, 2, 3, 4, 5, 6, 7], 'x-ms-azurevm-vmid': 'd7a69a44-f0dc-42ec-9c74-9b520e3330c8',
  'x-ms-azurevm-kerneldebug-enabled': false, 'x-ms-azurevm-bootdebug-enabled': false, 'x-ms-azurevm-hypervisordebug-enabled': false, 'x-ms-azurevm-testsigning-enabled': false, 'x-ms-ver': '1.0',
  'x-ms-isolation-tee': {
    'x-ms-attestation-type': 'sevsnpvm', 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-sevsnpvm-is-debuggable': false, 'x-ms-sevsnpvm-migration-allowed': false, 'x-ms-sevsnpvm-vmpl': 0,
    'x-ms-sevsnpvm-launchmeasurement': launch, 'x-ms-sevsnpvm-reportdata': 'ab'.repeat(64), 'x-ms-sevsnpvm-smt-allowed': true,
  } as Record<string, unknown>,
}) as Record<string, unknown> & { 'x-ms-isolation-tee': Record<string, unknown> };
const [blue, green] = entriesOf(lock, 'broker');
const launchOf = (entry: typeof blue): string => entry?.azure.launch ?? '';

test('the token of these tests is one that the verifier reads: claims have the names that the service gives them', () => {
  const read = readMaaClaims(guest(launchOf(blue)));
  expect(read).toMatchObject({ tee: { tee: 'sev-snp', measurement: launchOf(blue), debug: false, migratable: false, vmpl: 0 }, compliance: 'azure-compliant-cvm', guest: { secureBoot: true, debug: false } });
});

test.each(ENVIRONMENT_NAMES)('%s: the data key is released to both generations of the broker, at the own instance', (env) => {
  const { policy, body } = deployed(env, 'data');
  for (const entry of [blue, green]) expect(releases(policy, { issuer: own(env), claims: guest(launchOf(entry)) })).toBe(true);
  expect(body['type']).toBe(KEY);
  expect(body['body'].properties).toMatchObject({ kty: 'RSA-HSM', keySize: 3072, attributes: { exportable: true, enabled: true } });
});

test('the vault itself never opens anything with the data key', () => {
  expect(deployed('prod', 'data').body['body'].properties.keyOps.sort()).toEqual(['encrypt', 'wrapKey']);
});

test.each<[string, (c: ReturnType<typeof guest>) => void]>([
  ['a counter', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-launchmeasurement'] = entriesOf(lock, 'counter')[0]?.azure.launch; }],
  ['capital digits', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-launchmeasurement'] = launchOf(blue).toUpperCase(); }],
  ['no measurement', (c) => { delete c['x-ms-isolation-tee']['x-ms-sevsnpvm-launchmeasurement']; }],
  ['a debuggable VM', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-is-debuggable'] = true; }],
  ['a VM that may migrate', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-migration-allowed'] = true; }],
  ['another privilege level', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-vmpl'] = 2; }],
  ['a TDX VM', (c) => { c['x-ms-isolation-tee']['x-ms-attestation-type'] = 'tdxvm'; }],
  ['no compliant VM', (c) => { c['x-ms-isolation-tee']['x-ms-compliance-status'] = 'not-compliant'; }],
  ['Secure Boot off', (c) => { c['secureboot'] = false; }],
  ['Secure Boot unknown', (c) => { delete c['secureboot']; }],
  ['a kernel in debug mode', (c) => { c['x-ms-azurevm-kerneldebug-enabled'] = true; }],
  ['a boot loader in debug mode', (c) => { c['x-ms-azurevm-bootdebug-enabled'] = true; }],
  ['a hypervisor in debug mode', (c) => { c['x-ms-azurevm-hypervisordebug-enabled'] = true; }],
  ['test signing', (c) => { c['x-ms-azurevm-testsigning-enabled'] = true; }],
  ['a token of the platform', (c) => { c['x-ms-attestation-type'] = 'sevsnpvm'; }],
  ['nothing below the TEE', (c) => { c['x-ms-isolation-tee'] = {}; }],
])('the data key is not released to %s', (_, change) => {
  const claims = guest(launchOf(blue));
  change(claims);
  expect(releases(deployed('prod', 'data').policy, { issuer: own('prod'), claims })).toBe(false);
});

test.each(['https://sharedweu.weu.attest.azure.net', 'https://cccprodmaap1x8.neu.attest.azure.net', 'https://cccstagingmaas4m9.weu.attest.azure.net', 'https://cccprodmaap1x8.weu.attest.azure.net.evil.example'])('a token of %s releases nothing', (issuer) => {
  expect(releases(deployed('prod', 'data').policy, { issuer, claims: guest(launchOf(blue)) })).toBe(false);
});

const GENUINE = new URL('../../../shared/vectors/azure-maa/atlas-authorization-pca/', import.meta.url);
test.skipIf(!existsSync(GENUINE) && process.env['REQUIRE_ENGINES'] !== '1')('genuine tokens of other VMs release neither key', () => {
  const tokens = readdirSync(GENUINE).filter((name) => name.endsWith('.jwt'));
  expect(tokens.length).toBeGreaterThan(0);
  for (const name of tokens) {
    const claims = JSON.parse(Buffer.from(readFileSync(new URL(name, GENUINE), 'utf8').trim().split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
    for (const part of ['data', 'disk'] as const) for (const issuer of [own('prod'), String(claims['iss'])]) expect(releases(deployed('prod', part).policy, { issuer, claims })).toBe(false);
  }
});

test('the disk key is released to the orchestrator, which has a token of the platform, of the own location only', () => {
  const claims = { 'x-ms-attestation-type': 'sevsnpvm', 'x-ms-compliance-status': 'azure-compliant-cvm' };
  const { policy } = deployed('prod', 'disk');
  expect(releases(policy, { issuer: 'https://sharedweu.weu.attest.azure.net', claims })).toBe(true);
  expect(releases(policy, { issuer: 'https://sharedeus.eus.attest.azure.net', claims })).toBe(false);
  expect(releases(policy, { issuer: 'https://sharedweu.weu.attest.azure.net', claims: { ...claims, 'x-ms-compliance-status': 'no' } })).toBe(false);
});

test.each(ENVIRONMENT_NAMES)('%s: a key is made only once the instance has the name that its policy trusts', (env) => {
  for (const { body } of azureOf(env).resources('azapi_resource')) {
    const [precondition] = body['lifecycle'].precondition;
    expect(precondition.condition).toMatch(/^\$\{trimsuffix\(azurerm_attestation_provider\.[\w-]+\.attestation_uri, "\/"\) == "https:\/\/ccc[a-z0-9]+\.(?:eus|weu)\.attest\.azure\.net"\}$/);
    expect(precondition.condition).toContain(`"${own(env)}"`);
    expect(body['lifecycle'].prevent_destroy).toBe(env === 'prod' ? true : undefined);
  }
});

test.each(ENVIRONMENT_NAMES)('%s: plans warn of attested keys that are older than 90 days', (env) => {
  const [assertion] = azureOf(env).json['check']['attested-keys-are-young'].assert;
  const local = /^\$\{timecmp\(plantimestamp\(\), timeadd\(local\.([\w-]+), "2160h"\)\) < 0\}$/.exec(assertion.condition)?.[1] ?? '';
  expect(azureOf(env).json['locals'][local]).toBe(ENVIRONMENTS[env].azure.keyPeriod.start);
});

test('a changed measurement is another key: keys are created once', () => {
  const { body, policy, data } = deployed('prod', 'data');
  expect(body['name']).toBe(`ccc-prod-data-1-${policyTag(policy)}`);
  expect(data).toMatch(/^[A-Za-z0-9_-]+$/);
  const changed = JSON.parse(JSON.stringify(lock)) as typeof lock;
  changed.roles.broker.blue.azure.launch = createHash('sha384').update('another image').digest('hex');
  const next = deployed('prod', 'data', synthesizeAzure(ENVIRONMENTS.prod, parseLock(JSON.stringify(changed))));
  expect(next.body['name']).not.toBe(body['name']);
  expect(releases(next.policy, { issuer: own('prod'), claims: guest(launchOf(blue)) })).toBe(false);
  expect(releases(next.policy, { issuer: own('prod'), claims: guest(launchOf(green)) })).toBe(true);
});

test('one generation alone: the retired one is not in the policy', () => {
  const alone = JSON.parse(JSON.stringify(lock)) as typeof lock;
  delete alone.roles.broker.green;
  expect(deployed('dev', 'data', synthesizeAzure(ENVIRONMENTS.dev, parseLock(JSON.stringify(alone)))).policy.anyOf).toHaveLength(1);
});

test.each(ENVIRONMENT_NAMES)('%s: policies of the attestation instance are unsigned JWTs over the text that the lock file gives', (env) => {
  const body = azureOf(env).resources('azurerm_attestation_provider')[0]?.body ?? {};
  for (const field of ['sev_snp_policy_base64', 'tpm_policy_base64']) {
    const segments = String(body[field]).split('.');
    expect(segments).toHaveLength(3);
    expect(segments[2]).toBe('');
    expect(JSON.parse(Buffer.from(segments[0] ?? '', 'base64url').toString())).toEqual({ alg: 'none' });
    const { AttestationPolicy } = JSON.parse(Buffer.from(segments[1] ?? '', 'base64url').toString());
    const text = Buffer.from(AttestationPolicy, 'base64url').toString();
    expect(text).toMatch(/^version=1\.2;\nconfigurationrules\{[\s\S]*\};\nauthorizationrules\{[\s\S]+\};\nissuancerules\{\n\};\n$/);
    expect(text).not.toMatch(/^\s*=> permit\(\)/m);
    for (const entry of [...entriesOf(lock, 'broker'), ...entriesOf(lock, 'counter')]) {
      const wanted = field.startsWith('sev') ? [entry.azure.launch] : Object.values(entry.azure.pcrs);
      for (const value of wanted) expect(text).toContain(value);
    }
  }
});

test('each rule of the TPM policy wants all PCRs of one entry and a valid attestation key', () => {
  const rules = tpmPolicy(entriesOf(lock, 'broker')).split('\n').filter((line) => line.includes('permit()'));
  expect(rules).toHaveLength(2);
  rules.forEach((rule, n) => expect([...rule.matchAll(/type=="(\w+)"/g)].map(([, type]) => type)).toEqual(['aikValidated', ...[4, 7, 8, 9, 11, 12, 13].map((i) => `e${n}pcr${i}`)]));
  expect(tpmPolicy(entriesOf(lock, 'broker'))).toContain(`required_pcr_mask", value=${[4, 7, 8, 9, 11, 12, 13].reduce((m, i) => m + 2 ** i, 0)}`);
  expect(sevSnpPolicy(entriesOf(lock, 'broker')).match(/is-debuggable", value==false\]/g)).toHaveLength(2);
});

test('nothing is generated from nothing', () => {
  const uri = attestationUri('cccmaa', 'weu');
  for (const make of [() => releasePolicy(uri, []), () => sevSnpPolicy([]), () => tpmPolicy([]), () => releasePolicy('https://sharedweu.weu.attest.azure.net/x', entriesOf(lock, 'broker')), () => diskReleasePolicy('http://x'), () => attestationUri('A', 'weu')]) expect(make).toThrow(ConfigurationError);
  expect(attestationPolicyJwt('x').split('.')).toHaveLength(3);
});

test('who may use which key', () => {
  for (const env of ENVIRONMENT_NAMES) {
    const given = azureOf(env).resources('azurerm_role_assignment').filter(({ body }) => /Crypto|Administrator|Officer|Owner/.test(String(body['role_definition_name'])));
    const release = given.filter(({ body }) => body['role_definition_name'] === 'Key Vault Crypto Service Release User');
    expect(release.map(({ body }) => `${/(broker-blue|broker-green|orchestrator)/.exec(String(body['principal_id']))?.[1]} ${/(data-key|disk-key)/.exec(String(body['scope']))?.[1]}`).sort()).toEqual(['broker-blue data-key', 'broker-green data-key', 'orchestrator disk-key']);
    for (const { body } of given) expect(String(body['role_definition_name'])).toMatch(/^Key Vault Crypto Service (?:Release|Encryption) User$/);
    // Encryption users wrap for services: none of them on the data key.
    for (const { body } of given) if (body['role_definition_name'].includes('Encryption')) expect(String(body['scope'])).not.toContain('data-key');
  }
});

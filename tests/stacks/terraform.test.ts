/** What Terraform itself says of the stacks where there are no providers: expressions run, placeholders fail a plan and built entries do not. Skipped by name where there is no Terraform. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { placeholderLock, placeholders, readLock } from '../../modules/measurements.ts';
import { unsettled } from '../../modules/placeholders.ts';
import { ENVIRONMENTS } from '../../modules/environments.ts';
import { builtInputs, builtLock, synthesizeTo } from '../../scripts/stacks/built.ts';
import { hollow, type Json } from '../../scripts/stacks/hollow.ts';
import { MOCK_DATA, planTest, providersOf } from '../../scripts/stacks/mocks.ts';
import { terraform, terraformVersion } from '../../scripts/stacks/terraform.ts';
import { planHollow } from '../../scripts/stacks/validate.ts';

type Body = Record<string, any>;
const version = terraformVersion();
if (version === undefined && process.env['REQUIRE_PROVIDERS'] === '1') throw new Error('no terraform');
const root = mkdtempSync(join(tmpdir(), 'ccc-terraform-'));
const read = (of: 'now' | 'built', stack: string): Body => JSON.parse(readFileSync(join(root, of, 'stacks', stack, 'cdk.tf.json'), 'utf8')) as Body;

beforeAll(() => {
  synthesizeTo(join(root, 'now'), { environments: ENVIRONMENTS, lock: placeholderLock() });
  synthesizeTo(join(root, 'built'), builtInputs());
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The gate and what it reads, without the rest of its stack. */
function gateOf({ resource, locals }: Body): Json {
  const { '//': _, ...own } = locals as Body;
  const gates = Object.entries(resource['terraform_data'] as Body).filter(([, body]) => body.lifecycle?.precondition !== undefined);
  expect(gates).toHaveLength(1);
  return { resource: { terraform_data: Object.fromEntries(gates) }, locals: own } as Json;
}

describe.skipIf(version === undefined)(`Terraform ${version ?? '(none on this machine)'}`, () => {
  test.each(['ccc-aws-prod', 'ccc-azure-staging', 'ccc-gcp-prod', 'ccc-gcp-k8s-dev'])('%s: placeholders fail a plan, each named', (stack) => {
    const problems = planHollow(join(root, 'gate', stack), gateOf(read('now', stack))).join('\n');
    for (const label of placeholders(placeholderLock())) expect(problems).toContain(label);
    const environment = ENVIRONMENTS[stack.split('-').at(-1) as 'prod'];
    for (const field of unsettled(environment, stack.split('-')[1] as 'aws')) expect(problems).toContain(field);
  });

  test('one placeholder is enough, of the lock file or of the settings, and one image that was not promoted', () => {
    const stack = read('built', 'ccc-gcp-prod');
    const locals = Object.keys(stack['locals'] as Body).filter((name) => /placeholder|unpromoted/.test(name));
    expect(locals).toHaveLength(3);
    for (const [i, name] of locals.entries()) {
      const one = { ...stack, locals: { ...(stack['locals'] as Body), [name]: ['the-one'] } };
      expect(planHollow(join(root, `one-${i}`), gateOf(one))).toEqual([expect.stringContaining('the-one')]);
    }
  });

  test.each(['ccc-gcp-k8s-prod', 'edge-prod', 'ccc-azure-dev'])('%s with built entries: all expressions run, the plan passes', (stack) => {
    expect(planHollow(join(root, 'plan', stack), read('built', stack) as Json)).toEqual([]);
  });

  test.each<[string, (stack: Body) => void, RegExp]>([
    ['an expression that does not parse', (s) => { s['resource']['aws_route53_zone'].x = { name: '${jsonencode({"a" = "says "no""})}' }; }, /separator|Missing|Invalid/],
    ['a function that does not exist', (s) => { s['resource']['aws_route53_zone'].x = { name: '${base65encode("a")}' }; }, /no function named|unknown function/i],
    ['a reference to nothing', (s) => { s['resource']['aws_route53_zone'].x = { name: '${aws_kms_key.gone.arn}' }; }, /undeclared/],
    ['a circle', (s) => { s['resource']['aws_route53_zone'] = { x: { name: '${aws_route53_zone.y.id}' }, y: { name: '${aws_route53_zone.x.id}' } }; }, /Cycle/],
    ['a pure function that fails', (s) => { s['resource']['aws_route53_zone'].x = { name: '${base64decode("%")}' }; }, /base64/],
  ])('%s is found', (what, spoil, why) => {
    const stack = read('built', 'edge-dev');
    spoil(stack);
    expect(planHollow(join(root, what.replaceAll(' ', '-')), stack as Json).join('\n')).toMatch(why);
  });

  test('attestation policies of Azure: Terraform decodes the deployed bytes to what was meant', () => {
    const policy = Object.values(read('built', 'ccc-azure-prod')['resource']['azurerm_attestation_provider'] as Body)[0]['sev_snp_policy_base64'] as string;
    const folder = join(root, 'decode');
    mkdirSync(folder);
    const part = (i: number): string => `base64decode(join("", [replace(replace(split(".", ${JSON.stringify(policy)})[${i}], "-", "+"), "_", "/"), substr("===", 0, (4 - length(split(".", ${JSON.stringify(policy)})[${i}]) % 4) % 4)]))`;
    writeFileSync(join(folder, 'main.tf.json'), JSON.stringify({ output: { header: { value: `\${${part(0)}}` }, body: { value: `\${${part(1)}}` } } }));
    writeFileSync(join(folder, 'x.tftest.json'), JSON.stringify({ run: { decoded: { command: 'plan', assert: [
      { condition: '${jsondecode(output.header).alg == "none"}', error_message: 'header' }, { condition: '${length(jsondecode(output.body).AttestationPolicy) > 100}', error_message: 'body' },
    ] } } }));
    const { ok, output } = terraform(folder, ['test', '-no-color']);
    expect(output).toContain('1 passed');
    expect(ok).toBe(true);
  });
});

describe('what is handed to Terraform', () => {
  test('a hollow stack has no provider, every block once, references that follow', () => {
    const stack = read('built', 'ccc-aws-prod');
    const made = hollow(stack as Json) as Body;
    const count = ['resource', 'data'].flatMap((kind) => Object.values((stack[kind] ?? {}) as Record<string, Body>)).reduce((sum, named) => sum + Object.keys(named).length, 0);
    expect(Object.keys(made['resource'])).toEqual(['terraform_data']);
    expect(Object.keys(made['resource']['terraform_data'])).toHaveLength(count);
    expect(JSON.stringify(made)).not.toMatch(/\$\{(?:data\.)?aws_/);
    expect(made['terraform']).toBeUndefined();
  });

  test('every provider of a stack is mocked, and answers have the shapes that expressions read', () => {
    for (const stack of ['ccc-aws-prod', 'ccc-azure-prod', 'ccc-gcp-prod', 'ccc-gcp-k8s-prod', 'edge-prod']) {
      const json = read('built', stack);
      const made = planTest(json as Json) as Body;
      expect(Object.keys(made['mock_provider']).sort()).toEqual(providersOf(json as Json).map((p) => p.name).sort());
      expect(made['run']).toEqual({ plan: { command: 'plan' } });
      // Answers for data sources whose attributes are read, one by one.
      for (const [, type, attribute] of JSON.stringify(json).matchAll(/\$\{[^}"]*?data\.([a-z0-9_]+)\.[\w-]+\.([a-z_]+)/g)) expect(MOCK_DATA[type as string], type).toHaveProperty(attribute as string);
    }
    expect(() => JSON.parse(String(MOCK_DATA['aws_iam_policy_document']?.['json']))).not.toThrow();
  });

  test('a built lock is the lock of the tree but for where it is from', () => {
    const strip = (lock: unknown): string => JSON.stringify(lock, (key, value: unknown) => (key === 'provenance' ? undefined : value));
    expect(strip(builtLock())).toBe(strip(readLock()));
    expect(placeholders(builtLock())).toEqual([]);
    expect(Object.values(builtInputs().environments).flatMap((e) => [...unsettled(e, 'aws'), ...unsettled(e, 'azure'), ...unsettled(e, 'gcp')])).toEqual([]);
    expect(unsettled(ENVIRONMENTS.prod, 'gcp')).toEqual(['confidentialSpaceImage', 'mirrored.devicePlugin', 'mirrored.sqlProxy', 'mirrored.metricsAdapter'].map((field) => `environments.prod.gcp.${field}`));
  });
});

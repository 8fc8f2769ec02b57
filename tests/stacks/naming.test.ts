/** Names: what each service would refuse is refused here, and long parts never meet. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { checkName, LIMITS, type NameKind, namer } from '../../modules/naming.ts';

const KINDS = Object.keys(LIMITS) as NameKind[];
const part = fc.stringMatching(/^[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9}){0,9}$/);

test.each(KINDS)('%s: every part gives a name that the service takes, or a clear error', (kind) => {
  fc.assert(fc.property(fc.constantFrom(...ENVIRONMENT_NAMES), part, (environment, p) => {
    let name: string;
    try {
      name = namer(ENVIRONMENTS[environment])(kind, p);
    } catch (error) {
      // Only where an ending or a beginning is not the service's to give.
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as ConfigurationError).message).toMatch(/no (?:ending|beginning)/);
      return;
    }
    expect(name.length).toBeLessThanOrEqual(LIMITS[kind].max);
    checkName(kind, name);
  }), { numRuns: 60 });
});

test('two long parts that begin alike keep different names', () => {
  const name = namer(ENVIRONMENTS.prod);
  fc.assert(fc.property(fc.uniqueArray(part, { minLength: 2, maxLength: 2 }), ([a, b]) => {
    const stem = 'a-very-long-part-of-a-name-that-no-service-takes-whole-'.repeat(2).slice(0, -1);
    expect(name('key-vault', `${stem}-${a}`)).not.toBe(name('key-vault', `${stem}-${b}`));
  }));
});

test.each([
  ['key-vault', 'ccc-prod-vault-', /hyphens/], ['key-vault', 'ab', /3 to 24/], ['storage-account', 'ccc-prod', /letters and digits/], ['storage-account', 'c'.repeat(25), /3 to 24/],
  ['service-bus', 'ccc-prod-sb', /ending "-sb"/], ['load-balancer', 'internal-ccc', /beginning "internal-"/], ['s3-bucket', 'xn--ccc', /beginning/], ['s3-bucket', 'ccc-prod--ol-s3', /ending/],
  ['workload-identity-pool', 'gcp-pool', /beginning/], ['workload-identity-pool', 'ccc', /4 to 32/], ['gcs-bucket', 'goog-ccc', /beginning/], ['service-account', 'ccc', /6 to 30/], ['iam-role', 'Ccc', /lower-case/],
] as const)('%s: %s is refused', (kind, name, why) => {
  expect(() => checkName(kind, name)).toThrow(why);
});

test('names that are unique beyond an account carry the uid, and parts are kebab-case', () => {
  expect(namer(ENVIRONMENTS.prod)('s3-bucket', 'audit')).toBe('ccc-prod-audit-p1x8');
  expect(namer(ENVIRONMENTS.prod)('iam-role', 'broker')).toBe('ccc-prod-broker');
  expect(namer(ENVIRONMENTS.dev)('storage-account', 'audit-log')).toBe('cccdevauditlogd7k2');
  for (const bad of ['', 'Has-Capital', 'a--b', '-a', 'a_b', 'ä']) expect(() => namer(ENVIRONMENTS.dev)('iam-role', bad)).toThrow(ConfigurationError);
});

/** Who may use the attested key on Google Cloud: the condition and the attributes, evaluated on claims of genuine tokens, from the bytes that are deployed. */
import './light.ts';
import { Environment, evaluate } from '@marcbachmann/cel-js';
import { App } from 'cdktf';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cellFile } from '../../modules/cell-config.ts';
import { ENVIRONMENTS } from '../../modules/environments.ts';
import { ATTRIBUTE_MAPPING, brokerImages, cellVariable, tokenCondition, type TokenRequirement } from '../../modules/gcp/token-condition.ts';
import { placeholderLock, type MeasurementLock } from '../../modules/measurements.ts';
import { GcpStack } from '../../stacks/gcp.ts';

const VECTORS = new URL('../../../shared/vectors/gcp-confidential-space/atlas-authorization-pca/', import.meta.url);
const HAVE = existsSync(VECTORS);
if (!HAVE && process.env['REQUIRE_ENGINES'] === '1') throw new Error('the vectors of Confidential Space are absent');

interface Claims { [claim: string]: unknown; submods: { confidential_space: Record<string, unknown>; container: Record<string, unknown>; gce: Record<string, unknown> }; google_service_accounts: string[] }
const claimsOf = (name: string): Claims => JSON.parse(Buffer.from(readFileSync(new URL(name, VECTORS), 'utf8').split('.')[1] ?? '', 'base64url').toString('utf8')) as Claims;

const prod = ENVIRONMENTS.prod;
const lock = placeholderLock();
const requirement: TokenRequirement = {
  lock, project: prod.gcp.project, projectNumber: prod.gcp.projectNumber, zones: prod.gcp.zones, serviceAccount: 'ccc-prod-broker@ccc-prod-p1x8.iam.gserviceaccount.com', cell: cellVariable(cellFile(prod, 'gcp').json),
};
/** A claim that is absent makes the token service refuse: so does an error here. */
const admits = (condition: string, assertion: unknown): boolean => {
  try {
    return evaluate(condition, { assertion } as never) === true;
  } catch {
    return false;
  }
};
const deployed = (): { condition: string; mapping: Record<string, string>; audience: string } => {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-gcp-token-'));
  try {
    const app = new App({ outdir });
    new GcpStack(app, 'stack', { environment: prod, lock });
    app.synth();
    const json = JSON.parse(readFileSync(join(outdir, 'stacks/stack/cdk.tf.json'), 'utf8')) as { resource: { google_iam_workload_identity_pool_provider: Record<string, { workload_identity_pool_provider_id: string; attribute_condition: string; attribute_mapping: Record<string, string>; oidc: { allowed_audiences: string[] } }> } };
    const provider = Object.values(json.resource.google_iam_workload_identity_pool_provider).find((p) => p.workload_identity_pool_provider_id === 'confidential-space');
    return { condition: provider?.attribute_condition ?? '', mapping: provider?.attribute_mapping ?? {}, audience: provider?.oidc.allowed_audiences[0] ?? '' };
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
};

describe.skipIf(!HAVE)('on the claims of a genuine token', () => {
  /** The genuine production token, with the values of this cell and of TDX: everything else is Google's. */
  const right = (generation: 0 | 1 = 0): Claims => {
    const claims = claimsOf('prod-token.jwt');
    Object.assign(claims, { hwmodel: 'GCP_INTEL_TDX', google_service_accounts: [requirement.serviceAccount] });
    Object.assign(claims.submods.container, { image_digest: brokerImages(lock)[generation], env_override: { CCC_CELL: requirement.cell } });
    Object.assign(claims.submods.gce, { project_id: requirement.project, project_number: requirement.projectNumber, zone: requirement.zones[1] });
    return claims;
  };
  const { condition, mapping } = deployed();

  test('what is deployed is what the generator makes', () => {
    expect(condition).toBe(tokenCondition(requirement));
    expect(mapping).toEqual(ATTRIBUTE_MAPPING);
  });

  test.each([0, 1] as const)('a broker of generation %i is admitted, and its attributes fit', (generation) => {
    const claims = right(generation);
    expect(admits(condition, claims)).toBe(true);
    expect(evaluate(mapping['attribute.image_digest'] ?? '', { assertion: claims } as never)).toBe(brokerImages(lock)[generation]);
    const subject = evaluate(mapping['google.subject'] ?? '', { assertion: claims } as never) as string;
    expect(subject.startsWith('gcpcs::sha256:')).toBe(true);
    expect(Buffer.byteLength(subject)).toBeLessThanOrEqual(127);
  });

  test.each(['prod-token.jwt', 'debug-token.jwt'])('somebody else\'s %s is refused', (name) => {
    expect(admits(condition, claimsOf(name))).toBe(false);
  });

  const WRONG: [string, (claims: Claims) => void][] = [
    ['plain SEV', (c) => { c['hwmodel'] = 'GCP_AMD_SEV'; }],
    ['no TEE', (c) => { c['hwmodel'] = 'GCP_SHIELDED_VM'; }],
    ['a GKE node or plain VM', (c) => { c['swname'] = 'GCE'; }],
    ['without secure boot', (c) => { c['secboot'] = false; }],
    ['debugged', (c) => { c['dbgstat'] = 'enabled'; }],
    ['an image that is no longer stable', (c) => { c.submods.confidential_space['support_attributes'] = ['USABLE']; }],
    ['a debug image, which has no attributes', (c) => { delete c.submods.confidential_space['support_attributes']; }],
    ['another container', (c) => { c.submods.container['image_digest'] = `sha256:${'ab'.repeat(32)}`; }],
    ['a counter\'s container', (c) => { c.submods.container['image_digest'] = lock.roles.counter.blue.image; }],
    ['the right reference with another digest', (c) => { c.submods.container['image_reference'] = `registry/broker@${brokerImages(lock)[0] ?? ''}`; c.submods.container['image_digest'] = `sha256:${'cd'.repeat(32)}`; }],
    ['another command', (c) => { c.submods.container['cmd_override'] = ['sh']; }],
    ['a restarted container', (c) => { c.submods.container['restart_policy'] = 'Always'; }],
    ['one more variable', (c) => { c.submods.container['env_override'] = { CCC_CELL: requirement.cell, NODE_OPTIONS: '--inspect' }; }],
    ['another configuration', (c) => { c.submods.container['env_override'] = { CCC_CELL: cellVariable('{}') }; }],
    ['no configuration', (c) => { c.submods.container['env_override'] = {}; }],
    ['no overrides at all', (c) => { delete c.submods.container['env_override']; }],
    ['another project', (c) => { c.submods.gce['project_id'] = 'other'; }],
    ['another project\'s number', (c) => { c.submods.gce['project_number'] = '1021147225643'; }],
    ['another zone', (c) => { c.submods.gce['zone'] = 'us-central1-c'; }],
    ['no place', (c) => { delete (c.submods as Partial<Claims['submods']>).gce; }],
    ['another account', (c) => { c.google_service_accounts = ['1021147225643-compute@developer.gserviceaccount.com']; }],
    ['no account', (c) => { c.google_service_accounts = []; }],
    ['no submodules', (c) => { delete (c as Partial<Claims>).submods; }],
  ];
  test.each(WRONG)('%s is refused', (_, change) => {
    const claims = right();
    change(claims);
    expect(admits(condition, claims)).toBe(false);
  });

  test('each clause does something: without it one of these is admitted', () => {
    const clauses = condition.split(' && ');
    expect(clauses).toHaveLength(14);
    const idle = clauses.filter((clause) => {
      const weaker = clauses.map((other) => (other === clause ? 'true' : other)).join(' && ');
      return !WRONG.some(([, change]) => {
        const claims = right();
        change(claims);
        return admits(weaker, claims);
      });
    });
    expect(idle).toEqual([]);
  });
});

test('the condition is an expression that checks, of claims that Confidential Space has', () => {
  const environment = new Environment().registerVariable('assertion', 'map');
  expect(environment.check(tokenCondition(requirement)).valid).toBe(true);
  expect(tokenCondition(requirement).length).toBeLessThan(4_096);
});

test('after the second generation is gone only one image is admitted', () => {
  const single: MeasurementLock = { ...lock, roles: { ...lock.roles, broker: { blue: lock.roles.broker.blue } } };
  expect(brokerImages(single)).toEqual([lock.roles.broker.blue.image]);
  expect(tokenCondition({ ...requirement, lock: single })).not.toContain(lock.roles.broker.green?.image);
});

test.each<[string, Partial<TokenRequirement>, RegExp]>([
  ['a quote in the account', { serviceAccount: `x' || true || '` }, /serviceAccount/],
  ['a quote in the project', { project: `p' || 'a' == 'a` }, /project/],
  ['a quote in the configuration', { cell: `{"a":'b'}` }, /cell/],
  ['no zones', { zones: [] }, /zones/],
  ['a zone with a quote', { zones: [`z'`] }, /zones/],
  ['a configuration that does not fit', { cell: 'a'.repeat(4_000) }, /4096/],
])('%s never synthesizes', (_, change, message) => {
  expect(() => tokenCondition({ ...requirement, ...change })).toThrow(message);
});

test('the audience is the provider of this environment, no default one', () => {
  expect(deployed().audience).toBe(`https://iam.googleapis.com/projects/${prod.gcp.projectNumber}/locations/global/workloadIdentityPools/ccc-prod-attested/providers/confidential-space`);
});

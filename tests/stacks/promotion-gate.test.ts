/** A plan of staging or prod is one of what was promoted there. */
import './light.ts';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'cdktf';
import { describe, expect, test, vi } from 'vitest';
import { type Cloud, CLOUDS, ENVIRONMENTS, type EnvironmentName } from '../../modules/environments.ts';
import { type MeasurementLock, placeholderLock } from '../../modules/measurements.ts';
import { latest, type Promotion, type Promotions, unpromoted } from '../../modules/promotions.ts';
import { builtLock, promotedEverywhere } from '../../scripts/stacks/built.ts';
import { AwsStack } from '../../stacks/aws.ts';

const only = (cloud: Cloud, lock: MeasurementLock, at = '2026-11-20T00:00:00Z'): Promotion => ({ ...latest(promotedEverywhere(lock), 'dev', cloud) as Promotion, at });
const NONE: Promotions = { version: 1, environments: { dev: [], staging: [], prod: [] } };
const ALL = ['gateway blue', 'gateway green', 'broker blue', 'broker green', 'counter blue', 'counter green'];

describe('what was not promoted', () => {
  const lock = builtLock(placeholderLock());
  test('nothing, where all of it was', () => {
    for (const cloud of CLOUDS) for (const name of ['staging', 'prod'] as const) expect(unpromoted(lock, promotedEverywhere(lock), name, cloud)).toEqual([]);
  });

  test('everything, where nothing was or where it is a placeholder; dev is where images begin', () => {
    expect(unpromoted(lock, NONE, 'staging', 'aws')).toEqual(ALL);
    expect(unpromoted(placeholderLock(), promotedEverywhere(lock), 'prod', 'gcp')).toEqual(ALL);
    expect(unpromoted(lock, NONE, 'dev', 'aws')).toEqual([]);
  });

  test('one environment and one cloud say nothing for another', () => {
    const alone = (name: EnvironmentName, cloud: Cloud): Promotions => ({ ...NONE, environments: { ...NONE.environments, [name]: [only(cloud, lock)] } });
    expect(unpromoted(lock, alone('staging', 'aws'), 'prod', 'aws')).toEqual(ALL);
    expect(unpromoted(lock, alone('prod', 'azure'), 'prod', 'aws')).toEqual(ALL);
  });

  test.each<[string, (lock: any) => void, string[], Cloud]>([
    ['another image', (l) => { l.roles.counter.blue.image = `sha256:${'a'.repeat(64)}`; }, ['counter blue'], 'gcp'],
    ['another enclave of the same image', (l) => { l.roles.broker.green.nitro.PCR0 = 'a'.repeat(96); }, ['broker green'], 'aws'],
    ['another commit', (l) => { l.roles.gateway.blue.provenance.commit = 'd'.repeat(40); }, ['gateway blue'], 'azure'],
  ])('%s', (_, change, names, cloud) => {
    const other = structuredClone(lock);
    change(other);
    expect(unpromoted(other, promotedEverywhere(lock), 'prod', cloud)).toEqual(names);
  });

  test('the latest promotion counts, not one before it', () => {
    const other = structuredClone(lock) as any;
    other.roles.counter.blue.image = `sha256:${'a'.repeat(64)}`;
    const records = [only('gcp', lock), only('gcp', other, '2026-11-21T00:00:00Z')];
    expect(unpromoted(lock, { version: 1, environments: { dev: records, staging: records, prod: records } }, 'prod', 'gcp')).toEqual(['counter blue']);
  });
});

describe('the stack', () => {
  function gateOf(lock: MeasurementLock, promotions: Promotions): { unpromoted: string[]; conditions: string[]; warnings: string[] } {
    const outdir = mkdtempSync(join(tmpdir(), 'ccc-promotion-'));
    vi.spyOn(console, 'warn').mockImplementation(() => {});
    try {
      const app = new App({ outdir, skipValidation: true });
      const stack = new AwsStack(app, 'ccc-aws-staging', { environment: ENVIRONMENTS.staging, lock, promotions });
      app.synth();
      const json = JSON.parse(readFileSync(join(outdir, 'stacks', 'ccc-aws-staging', 'cdk.tf.json'), 'utf8')) as { locals: Record<string, string[]>; resource: { terraform_data: Record<string, { lifecycle?: { precondition: { condition: string }[] } }> } };
      const [name = ''] = Object.keys(json.locals).filter((key) => key.includes('unpromoted'));
      return {
        unpromoted: json.locals[name] ?? ['no local'], conditions: Object.values(json.resource.terraform_data).flatMap(({ lifecycle }) => lifecycle?.precondition ?? []).map(({ condition }) => condition).filter((condition) => condition.includes(name)),
        warnings: stack.node.findAll().flatMap((node) => node.node.metadata).map(({ data }) => String(data)).filter((text) => text.includes('promotions.json')),
      };
    } finally {
      vi.restoreAllMocks();
      rmSync(outdir, { recursive: true, force: true });
    }
  }

  test('plans of what was promoted pass, without a warning', () => {
    const { unpromoted: left, conditions, warnings } = gateOf(builtLock(placeholderLock()), promotedEverywhere(builtLock(placeholderLock())));
    expect([left, conditions.length, warnings]).toEqual([[], 1, []]);
    expect(conditions[0]).toMatch(/^\$\{length\(.*local\.[\w-]*unpromoted[\w-]*.*\) == 0\}$/);
  });

  test('plans of anything else fail by name, and the synthesis warns', () => {
    const { unpromoted: left, conditions, warnings } = gateOf(builtLock(placeholderLock()), NONE);
    expect([left, conditions.length, warnings.length]).toEqual([ALL, 1, 1]);
    expect(warnings[0]).toContain('gateway blue');
  });
});

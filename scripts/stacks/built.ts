/** The stacks as they are once every placeholder is settled: what gates of plans let through. For validation only, never written to the tree. */
import { mkdirSync } from 'node:fs';
import { App } from 'cdktf';
import { CLOUDS, type Environment, ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { lockSchema, type MeasurementLock, readLock } from '../../modules/measurements.ts';
import { lockedEntries, type Promotions, promotionsSchema } from '../../modules/promotions.ts';
import { type Inputs, synthesizeInto } from '../../stacks/all.ts';

/** The same measurements, said to be of a build. */
export function builtLock(lock: MeasurementLock = readLock()): MeasurementLock {
  return lockSchema.parse(JSON.parse(JSON.stringify(lock), (key, value: unknown) => (key === 'provenance' ? { source: 'built', commit: '0123456789abcdef0123456789abcdef01234567' } : value)));
}

const settled = (environment: Environment): Environment => ({
  ...environment,
  aws: { ...environment.aws, parentImage: 'ami-00aa11bb22cc33dd4' },
  gcp: {
    ...environment.gcp, confidentialSpaceImage: environment.gcp.confidentialSpaceImage.replace(/[0-9]{2}$/, '01'),
    mirrored: { devicePlugin: `sha256:${'1a'.repeat(32)}`, sqlProxy: `sha256:${'2b'.repeat(32)}`, metricsAdapter: `sha256:${'3c'.repeat(32)}` },
  },
});

/** Records by which everything of a built lock file came into every environment. */
export function promotedEverywhere(lock: MeasurementLock): Promotions {
  const records = CLOUDS.map((cloud) => ({
    cloud, commit: '0123456789abcdef0123456789abcdef01234567', at: '2026-11-20T00:00:00Z', entries: lockedEntries(lock, cloud).map((entry) => (entry.PCR0 === undefined ? entry : { ...entry, eif: `sha256:${'4d'.repeat(32)}` })),
  }));
  return promotionsSchema.parse({ version: 1, environments: Object.fromEntries(ENVIRONMENT_NAMES.map((name) => [name, records])) });
}

export const builtInputs = (): Inputs => ({ lock: builtLock(), promotions: promotedEverywhere(builtLock()), environments: Object.fromEntries(ENVIRONMENT_NAMES.map((name) => [name, settled(ENVIRONMENTS[name])])) });

/** Synthesizes into `outdir`/stacks/<name>/cdk.tf.json. @throws ConfigurationError as the synthesis does */
export function synthesizeTo(outdir: string, inputs?: Inputs): void {
  mkdirSync(outdir, { recursive: true });
  const app = new App({ outdir });
  synthesizeInto(app, inputs);
  app.synth();
}

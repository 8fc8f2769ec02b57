/** The Azure stacks alone, synthesized in process into a folder of their own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'cdktf';
import { type Environment, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { type MeasurementLock, readLock } from '../../modules/measurements.ts';
import { AzureStack } from '../../stacks/azure.ts';

export type Body = Record<string, any>;
export interface Synthesized { readonly json: Body; readonly resources: (type: string | RegExp) => { readonly type: string; readonly name: string; readonly body: Body }[] }

export function synthesizeAzure(environment: Environment, lock: MeasurementLock = readLock()): Synthesized {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-azure-'));
  try {
    const app = new App({ outdir });
    const id = `ccc-azure-${environment.name}`;
    new AzureStack(app, id, { environment, lock });
    app.synth();
    const json = JSON.parse(readFileSync(join(outdir, 'stacks', id, 'cdk.tf.json'), 'utf8')) as Body;
    return {
      json,
      resources: (type) => Object.entries(json['resource'] as Record<string, Record<string, Body>>)
        .filter(([t]) => (typeof type === 'string' ? t === type : type.test(t)))
        .flatMap(([t, named]) => Object.entries(named).map(([name, body]) => ({ type: t, name, body }))),
    };
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

const made = new Map<EnvironmentName, Synthesized>();
export function azureOf(name: EnvironmentName): Synthesized {
  const known = made.get(name) ?? synthesizeAzure(ENVIRONMENTS[name]);
  made.set(name, known);
  return known;
}

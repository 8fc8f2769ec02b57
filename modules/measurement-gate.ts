/** Synthesizes with what is not ready, never plans with it: preconditions on a resource that everything attested depends on. */
import { Annotations, DataResource, TerraformLocal } from 'cdktf';
import { Construct } from 'constructs';
import type { AcceptedGeneration } from './generations.ts';
import { type MeasurementLock, placeholders } from './measurements.ts';

export interface MeasurementGateProps {
  readonly lock: MeasurementLock;
  /** Fields of the environments table that hold placeholders too (placeholders.ts). */
  readonly unsettled: readonly string[];
  /** Images that this environment did not get by a promotion (promotions.ts), as `broker blue`. */
  readonly unpromoted: readonly string[];
  /** What evidence is accepted from for the time being (generations.ts). */
  readonly accepted: readonly AcceptedGeneration[];
}

export class MeasurementGate extends Construct {
  constructor(scope: Construct, id: string, { lock, unsettled, unpromoted, accepted }: MeasurementGateProps) {
    super(scope, id);
    const labels = placeholders(lock);
    const warn = (message: string): void => { Annotations.of(this).addWarning(message); };
    if (labels.length > 0) warn(`measurements.lock.json holds placeholders (${labels.join(', ')}): plans of this stack fail until the image build has written it.`);
    if (unsettled.length > 0) warn(`${unsettled.join(', ')}: placeholders; plans of this stack fail until they are settled.`);
    if (unpromoted.length > 0) warn(`Not promoted to this environment by promotions.json: ${unpromoted.join(', ')}; plans of this stack fail until ccc promote has recorded them.`);
    for (const { generation, until, reason } of accepted) warn(`${generation} is accepted until ${until}, then plans of this stack fail: ${reason}`);
    const waiting = new TerraformLocal(this, 'placeholder-measurements', labels);
    const settings = new TerraformLocal(this, 'placeholder-settings', [...unsettled]);
    const strangers = new TerraformLocal(this, 'unpromoted-images', [...unpromoted]);
    new DataResource(this, 'measurements-are-built', {
      input: lock.roles,
      lifecycle: {
        precondition: [
          {
            condition: `\${length(${waiting.fqn}) == 0}`,
            errorMessage: `measurements.lock.json holds placeholders: \${join(", ", ${waiting.fqn})}. Build the images, commit the lock file that the build writes, and plan again.`,
          },
          { condition: `\${length(${settings.fqn}) == 0}`, errorMessage: `Placeholders: \${join(", ", ${settings.fqn})}. Mirror or bake these images, name them in modules/environments.ts, and plan again.` },
          { condition: `\${length(${strangers.fqn}) == 0}`, errorMessage: `Not promoted to this environment: \${join(", ", ${strangers.fqn})}. Run ccc promote, commit promotions.json, and plan again.` },
          ...accepted.map(({ generation, until }) => ({ condition: `\${timecmp(plantimestamp(), ${new TerraformLocal(this, `accepts-${generation.toLowerCase()}-until`, until).fqn}) < 0}`, errorMessage: `${generation} was accepted until ${until}. Change the sizes, or acceptedGenerations of modules/environments.ts, and sign the owner's policy anew.` })),
        ],
      },
    });
  }
}

/** Synthesizes with placeholders, never plans with them: preconditions on a resource that everything attested depends on. */
import { Annotations, DataResource, TerraformLocal } from 'cdktf';
import { Construct } from 'constructs';
import { type MeasurementLock, placeholders } from './measurements.ts';

export class MeasurementGate extends Construct {
  /** `fields` of the environments table that hold placeholders too (placeholders.ts). */
  constructor(scope: Construct, id: string, lock: MeasurementLock, fields: readonly string[]) {
    super(scope, id);
    const labels = placeholders(lock);
    if (labels.length > 0) Annotations.of(this).addWarning(`measurements.lock.json holds placeholders (${labels.join(', ')}): plans of this stack fail until the image build has written it.`);
    if (fields.length > 0) Annotations.of(this).addWarning(`${fields.join(', ')}: placeholders; plans of this stack fail until they are settled.`);
    const waiting = new TerraformLocal(this, 'placeholder-measurements', labels);
    const settings = new TerraformLocal(this, 'placeholder-settings', [...fields]);
    new DataResource(this, 'measurements-are-built', {
      input: lock.roles,
      lifecycle: {
        precondition: [
          {
            condition: `\${length(${waiting.fqn}) == 0}`,
            errorMessage: `measurements.lock.json holds placeholders: \${join(", ", ${waiting.fqn})}. Build the images, commit the lock file that the build writes, and plan again.`,
          },
          { condition: `\${length(${settings.fqn}) == 0}`, errorMessage: `Placeholders: \${join(", ", ${settings.fqn})}. Mirror or bake these images, name them in modules/environments.ts, and plan again.` },
        ],
      },
    });
  }
}

/**
 * Every stack: environment x cloud, in one synthesis. Run by cdktf (cdktf.json, start.mjs); stack names are frozen, states hang on them.
 * The flags of cdktf.json keep it small: no search for the format of files that say it, a young generation that fits what a synthesis throws away from its start on, and an old one of twice what
 * it keeps, without which a busy machine collects too late.
 */
import { loadLightly } from './loading.ts';

loadLightly();
const { App, TerraformStack } = await import('cdktf');
const { synthesizeInto } = await import('./all.ts');
const { resolveLeanly } = await import('./lean.ts');
resolveLeanly();
// Validation would start `terraform version` once for each stack, and Terraform itself refuses what it is too old for. What hangs on the stacks (each resource has its provider) runs here.
const app = new App({ skipValidation: true });
synthesizeInto(app);
const problems = app.node.children.filter(TerraformStack.isStack).flatMap((stack) => stack.node.validate());
if (problems.length > 0) throw new Error(problems.join('\n'));
app.synth();

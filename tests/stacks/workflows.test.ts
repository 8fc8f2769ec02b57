/** Workflows: who they are is what the stacks made; nothing unpinned, nothing granted by default, no expression inside a script. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CLOUDS, ENVIRONMENT_NAMES } from '../../modules/environments.ts';
import { synthesizedStacks } from '../../scripts/stacks/diagram.ts';
import { pipelineIdentity } from '../../scripts/stacks/pipeline-identity.ts';
import { templates } from '../rules/stacks/template.ts';

const folder = new URL('../../.github/', import.meta.url);
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yml')).map((name) => [name, readFileSync(new URL(name, folder), 'utf8')] as const);
const workflows = files.filter(([name]) => name.startsWith('workflows/'));

test('there are the ones that are promised', () => {
  expect(workflows.map(([name]) => name).sort()).toEqual(['apply', 'ci', 'drift', 'plan', 'scan'].map((name) => `workflows/${name}.yml`));
});

test.each(files)('%s: actions are pinned by commit, with their version', (_, text) => {
  const used = [...text.matchAll(/uses: (\S+)(.*)/g)];
  expect(used.length).toBeGreaterThan(0);
  for (const [, action = '', comment] of used) if (!action.startsWith('$/')) expect(`${action}${comment}`).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
});

test.each(workflows)('%s: no permission unless a job asks for it, a time limit, no kept credentials', (name, text) => {
  expect(text).toMatch(/^permissions: \{\}$/m);
  expect(text.match(/runs-on:/g)?.length).toBe(text.match(/timeout-minutes:/g)?.length);
  expect(text.match(/actions\/checkout@/g)?.length).toBe(text.match(/persist-credentials: false/g)?.length);
  expect(text).not.toMatch(/pull_request_target|write-all|secrets\./);
  expect(/id-token: write/.test(text)).toBe(/plan|apply|drift/.test(name));
});

test.each(files)('%s: no expression inside a script', (_, text) => {
  for (const [, script = ''] of text.matchAll(/^\s*(?:- )?run: (\|?(?:.*\n(?:\s{8,}\S.*\n)*))/gm)) expect(script).not.toContain('${{');
});

test('only apply applies, from main, in an environment that people approve', () => {
  for (const [name, text] of workflows) expect(/terraform .*apply|part: apply/.test(text)).toBe(name === 'workflows/apply.yml');
  const apply = workflows.find(([name]) => name === 'workflows/apply.yml')?.[1] ?? '';
  expect(apply).toContain("if: github.ref == 'refs/heads/main'");
  expect(apply).toContain('environment: ${{ inputs.environment }}');
});

test('identities are those that the stacks of production make', () => {
  const stacks = synthesizedStacks();
  const aws = stacks.get('ccc-aws-prod') ?? '';
  for (const part of ['plan', 'apply'] as const) {
    const role = pipelineIdentity('aws', 'prod', part)['role']?.split('/').at(-1);
    expect(aws).toContain(`"name": "${role}"`);
    const { provider = '', account = '' } = pipelineIdentity('gcp', 'prod', part);
    const gcp = stacks.get('ccc-gcp-prod') ?? '';
    expect(gcp).toContain(`https://iam.googleapis.com/${provider}"`);
    expect(gcp).toContain(`"account_id": "${account.split('@')[0]}"`);
  }
  for (const cloud of CLOUDS) for (const name of ENVIRONMENT_NAMES) for (const value of Object.values(pipelineIdentity(cloud, name, 'plan'))) expect(value).not.toMatch(/undefined|\s/);
});

test.each(['plan', 'drift'])('%s looks at every stack, each with the identity of its cloud', (name) => {
  const text = workflows.find(([file]) => file === `workflows/${name}.yml`)?.[1] ?? '';
  const [, kinds = '', environments = ''] = /matrix: \{ stack: \[(.+?)\], environment: \[(.+?)\] \}/.exec(text) ?? [];
  const stacks = kinds.split(', ').flatMap((kind) => environments.split(', ').map((environment) => `${kind}-${environment}`));
  expect(stacks.sort()).toEqual(templates().map(({ stack }) => stack).sort());
  // A token of the environment would be refused: the subjects are the pull request's and the branch's.
  expect(text).not.toMatch(/^ {4}environment:/m);
  expect(text).toContain("cloud: ${{ matrix.stack == 'ccc-azure' && 'azure' || startsWith(matrix.stack, 'ccc-gcp') && 'gcp' || 'aws' }}");
  expect(text.match(/AZURE_PLAN_CLIENT_ID_\{0\}/g)).toHaveLength(2);
});

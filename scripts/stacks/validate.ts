/** `npm run validate:stacks`: Terraform reads, runs and plans the stacks without credentials; what needs a provider that this machine has not is skipped by name. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT, json as printJson, note, progress, say, table } from '../cli/output.ts';
import { builtInputs, synthesizeTo } from './built.ts';
import { hollow, type Json } from './hollow.ts';
import { planTest, providersOf } from './mocks.ts';
import { terraform, terraformVersion } from './terraform.ts';

const USAGE = `usage: npm run validate:stacks -- [--only TEXT] [--json] [--keep FOLDER]

  --only TEXT     stacks whose name contains it
  --json          one object on standard output
  --keep FOLDER   leaves what was generated there (a folder that does not exist yet)

Every stack, with all placeholders settled: its expressions planned by Terraform without providers; then, where TF_CLI_CONFIG_FILE (or a registry) gives the
providers, terraform validate, and terraform test with every provider mocked. REQUIRE_PROVIDERS=1 makes a missing Terraform or provider a failure.
exit: 0 nothing wrong, 1 problems, 2 usage
`;

export interface StackResult {
  readonly stack: string;
  readonly expressions: 'ok' | 'failed';
  readonly providers: 'ok' | 'failed' | 'skipped';
  /** Providers that were not to be had. */
  readonly missing: readonly string[];
  readonly problems: readonly string[];
}

/** Plans a stack whose providers are taken away, in a folder of its own. */
export function planHollow(folder: string, stack: Json): string[] {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'main.tf.json'), JSON.stringify(hollow(stack), null, 1));
  const { ok, problems, output } = terraform(folder, ['plan', '-json', '-input=false', '-lock=false']);
  return ok ? [] : problems.length > 0 ? [...problems] : [output.trim().slice(-500)];
}

/** Validates and plans with real providers; `.terraform` of `installed` has them. */
function planMocked(folder: string, stack: Json, installed: string): string[] {
  mkdirSync(folder, { recursive: true });
  const { terraform: settings, ...rest } = stack as { terraform: { [key: string]: Json } };
  const { backend: _, ...kept } = settings;
  writeFileSync(join(folder, 'cdk.tf.json'), JSON.stringify({ ...rest, terraform: kept }, null, 1));
  writeFileSync(join(folder, 'cdk.tftest.json'), JSON.stringify(planTest(stack)));
  cpSync(join(installed, '.terraform'), join(folder, '.terraform'), { recursive: true, verbatimSymlinks: true });
  cpSync(join(installed, '.terraform.lock.hcl'), join(folder, '.terraform.lock.hcl'));
  for (const args of [['validate', '-json'], ['test', '-json']]) {
    const { ok, problems, output } = terraform(folder, args);
    if (!ok) return problems.length > 0 ? [...problems] : [output.trim().slice(-500)];
  }
  return [];
}

class Installs {
  readonly #root: string;
  readonly #probed = new Map<string, string | undefined>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Folder with the providers installed, or the names of those that are not to be had. */
  of(stack: Json): { folder: string } | { missing: string[] } {
    const wanted = providersOf(stack);
    const missing = wanted.filter((p) => this.#install([p]) === undefined).map((p) => `${p.source} ${p.version}`);
    const folder = missing.length === 0 ? this.#install(wanted) : undefined;
    return folder === undefined ? { missing } : { folder };
  }

  #install(wanted: readonly { name: string; source: string; version: string }[]): string | undefined {
    const key = wanted.map((p) => p.name).sort().join('-');
    if (this.#probed.has(key)) return this.#probed.get(key);
    const folder = join(this.#root, key);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'main.tf.json'), JSON.stringify({ terraform: { required_providers: Object.fromEntries(wanted.map(({ name, source, version }) => [name, { source, version }])) } }));
    const done = terraform(folder, ['init', '-backend=false', '-input=false', '-no-color']).ok ? folder : undefined;
    this.#probed.set(key, done);
    return done;
  }
}

export function validate(root: string, only: string, tell: (text: string) => void = () => {}): StackResult[] {
  tell('synthesizing');
  synthesizeTo(join(root, 'synth'), builtInputs());
  const installs = new Installs(join(root, 'providers'));
  return readdirSync(join(root, 'synth', 'stacks')).sort().filter((name) => name.includes(only)).map((name) => {
    const stack = JSON.parse(readFileSync(join(root, 'synth', 'stacks', name, 'cdk.tf.json'), 'utf8')) as Json;
    tell(`${name}: expressions`);
    const problems = planHollow(join(root, 'hollow', name), stack);
    const expressions = problems.length === 0 ? 'ok' : 'failed';
    tell(`${name}: providers`);
    const found = installs.of(stack);
    if ('missing' in found) return { stack: name, expressions, providers: 'skipped', missing: found.missing, problems } satisfies StackResult;
    const said = planMocked(join(root, 'mocked', name), stack, found.folder);
    return { stack: name, expressions, providers: said.length === 0 ? 'ok' : 'failed', missing: [], problems: [...problems, ...said] } satisfies StackResult;
  });
}

function main(): number {
  let options;
  try {
    options = parseArgs({ options: { only: { type: 'string' }, json: { type: 'boolean' }, keep: { type: 'string' }, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    note(`${(error as Error).message}\n${USAGE}`);
    return EXIT.usage;
  }
  if (options.help) { say(USAGE); return EXIT.ok; }
  if (options.keep !== undefined && existsSync(options.keep)) { note(`${options.keep} exists already.`); return EXIT.usage; }
  const required = process.env['REQUIRE_PROVIDERS'] === '1';
  const version = terraformVersion();
  if (version === undefined) {
    if (options.json) printJson({ ok: !required, terraform: null, stacks: [] });
    note('SKIPPED: no terraform on this machine; nothing was validated.');
    return required ? EXIT.failed : EXIT.ok;
  }
  const root = options.keep ?? mkdtempSync(join(tmpdir(), 'ccc-validate-'));
  const live = progress('validate');
  try {
    const stacks = validate(root, options.only ?? '', (text) => live.update(text));
    live.done();
    if (stacks.length === 0) { note(`No stack has "${options.only}" in its name.`); return EXIT.usage; }
    const missing = [...new Set(stacks.flatMap((s) => s.missing))].sort();
    const ok = stacks.every((s) => s.problems.length === 0) && !(required && missing.length > 0);
    if (options.json) printJson({ ok, terraform: version, missing, stacks });
    else say(table(['stack', 'expressions', 'providers'], stacks.map((s) => [s.stack, s.expressions, s.providers])));
    for (const s of stacks) for (const problem of s.problems) note(`${s.stack}: ${problem}`);
    for (const name of missing) note(`${required ? 'MISSING' : 'SKIPPED'}: provider ${name} is not to be had here; stacks that need it were not planned with it.`);
    return ok ? EXIT.ok : EXIT.failed;
  } finally {
    if (options.keep === undefined) rmSync(root, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exitCode = main();

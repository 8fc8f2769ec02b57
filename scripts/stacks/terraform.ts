/** Terraform as validation runs it: no backend, no state, no colours, its own words as data. */
import { spawnSync } from 'node:child_process';

export interface Told { readonly ok: boolean; readonly problems: readonly string[]; readonly output: string }

/** Milliseconds. A plan of one stack takes seconds; an install of a provider from a slow mirror takes longer. */
const LIMIT = 300_000;

export function terraformVersion(): string | undefined {
  const { status, stdout } = spawnSync('terraform', ['version', '-json'], { encoding: 'utf8', env: environment() });
  return status === 0 ? (JSON.parse(stdout) as { terraform_version: string }).terraform_version : undefined;
}

function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { ...process.env, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1', TF_INPUT: '0', ...extra };
}

export function terraform(folder: string, args: readonly string[], extra: Record<string, string> = {}): Told {
  const { status, stdout, stderr, error } = spawnSync('terraform', args, { cwd: folder, encoding: 'utf8', timeout: LIMIT, maxBuffer: 1 << 28, env: environment(extra) });
  const output = `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`;
  return { ok: status === 0, problems: problemsOf(output), output };
}

interface Diagnostic { readonly severity: string; readonly summary: string; readonly detail?: string; readonly address?: string; readonly snippet?: { readonly context?: string; readonly code?: string } }

/** Errors and warnings of one document (`validate -json`) or of a document a line (`plan -json`, `test -json`). */
function problemsOf(output: string): string[] {
  const found: Diagnostic[] = [];
  const take = (text: string): boolean => {
    try {
      const value = JSON.parse(text) as { diagnostics?: Diagnostic[]; diagnostic?: Diagnostic };
      found.push(...(value.diagnostics ?? []), ...(value.diagnostic === undefined ? [] : [value.diagnostic]));
      return true;
    } catch {
      return false;
    }
  };
  if (!take(output)) for (const line of output.split('\n')) if (line.startsWith('{')) take(line);
  const said = found.filter((d) => d.severity === 'error').map((d) => [d.address ?? d.snippet?.context, d.summary, d.detail, d.snippet?.code?.trim().slice(0, 200)].filter((part) => part !== undefined && part !== '').join(' | '));
  return [...new Set(said)];
}

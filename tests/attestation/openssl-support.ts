/** The `openssl` program as a second opinion; tests that need it are shown as skipped where it is absent. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const NO_OPENSSL = spawnSync('openssl', ['version']).status !== 0;
if (NO_OPENSSL && process.env['REQUIRE_ENGINES'] === '1') throw new Error('REQUIRE_ENGINES=1, and there is no openssl');

/** Standard output of `openssl args...`, where `{name}` is a file of these bytes. @throws when it fails */
export function openssl(args: readonly string[], files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const { status, stdout } = run(args, files);
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${status}`);
  return stdout;
}

export function run(args: readonly string[], files: Readonly<Record<string, string | Uint8Array>> = {}): { status: number | null; stdout: string; stderr: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ccc-openssl-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const { status, stdout, stderr } = spawnSync('openssl', args.map((a) => a.replace(/^\{(.+)\}$/, (_, name: string) => join(folder, name))), { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'pipe'] });
    return { status, stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const pemOf = (der: Uint8Array, label = 'CERTIFICATE'): string => `-----BEGIN ${label}-----\n${(Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;

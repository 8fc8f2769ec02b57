/** `ccc verify`, `ccc collateral` and `ccc policy` as a user meets them, with genuine evidence where there is some. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { b64u, bytes, hex } from '../../attestation/bytes.ts';
import { CollateralCache } from '../../attestation/collateral/cache.ts';
import { parseCoseSign1 } from '../../attestation/formats/cose.ts';
import { parseNsmPayload } from '../../attestation/formats/nsm.ts';
import type { TdxWorld } from '../../attestation/platforms/simulated/tdx.ts';
import { fail } from '../../scripts/cli/output.ts';
import { collateralExport, collateralFetch, collateralImport, collateralList } from '../../scripts/commands/collateral.ts';
import { policyDiff, policyExplain, policyLint } from '../../scripts/commands/policy.ts';
import { verify } from '../../scripts/commands/verify.ts';
import { generateSigningKey } from '../../workloads/protocol/jws.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { world } from '../attestation/tdx/support.ts';
import { Vendors } from '../collateral/vendors.ts';

const VECTORS = join(ROOT, '../shared/vectors');
const HERE = existsSync(join(VECTORS, 'MANIFEST.json'));
if (!HERE && process.env['REQUIRE_ENGINES'] === '1') throw new Error('shared vectors are required');

interface Entry { file: string; platform: string; kind: string; role: string; expected: string; verified_at: string | null; companions?: string[] }
const MANIFEST = HERE ? JSON.parse(readFileSync(join(VECTORS, 'MANIFEST.json'), 'utf8')) as Entry[] : [];
const vector = (file: string): Entry => MANIFEST.find((e) => e.file === file) as Entry;
/** Genuine documents that are not of debug mode. */
const nitro = (): { path: string; at: string; payload: ReturnType<typeof parseNsmPayload> } => {
  for (const e of MANIFEST.filter((m) => m.kind === 'nitro-attestation-document' && m.role === 'vector' && m.expected === 'valid' && m.platform === 'aws-nitro')) {
    const payload = parseNsmPayload(parseCoseSign1(bytes(readFileSync(join(VECTORS, e.file))), 'd').payload, 'd');
    if (payload.nonce !== undefined && payload.nonce.length > 0 && payload.pcrs.get(0)?.some((b) => b !== 0)) return { path: join(VECTORS, e.file), at: e.verified_at as string, payload };
  }
  throw new Error('no document with a nonce');
};

let folder: string;
let intel: TdxWorld;
let vendors: Vendors;
let signer: string;
const at = (...path: string[]) => join(folder, ...path);
beforeAll(async () => {
  [folder, intel, vendors] = await Promise.all([mkdtemp(join(tmpdir(), 'ccc-verify-')), world({ now: Math.floor(Date.now() / 1000) - 60 }), Vendors.start()]);
  await writeFile(at('quote.bin'), intel.quote);
  const key = await generateSigningKey({ extractable: true });
  signer = b64u(key.publicKey);
  await writeFile(at('key.jwk'), JSON.stringify(await crypto.subtle.exportKey('jwk', key.privateKey)));
  const cache = new CollateralCache(at('cell', 'collateral'));
  for (const { kind, key: name, bytes: data, fetchedAt } of intel.collateral) await cache.put({ kind, key: name, bytes: data, fetchedAt, origin: 'vendor' });
  await writeFile(at('endpoints.json'), JSON.stringify(vendors.endpoints));
});
afterAll(async () => {
  await vendors.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A real process: for what only a process has. */
const spawned = (args: readonly string[]) => execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), ...args], { reject: false, extendEnv: true, env: { CCC_HOME: at('cell'), CCC_OWNER_KEY: '', NO_COLOR: '1' } });

interface Outcome { readonly exitCode: number; readonly stdout: string; readonly stderr: string }
type Options = Record<string, string | boolean | string[]>;
const LISTS = ['with'];
const COMMANDS: Record<string, (args: string[], options: Options) => Promise<number>> = {
  verify: (files, options) => verify(files, options),
  'collateral list': (_, options) => collateralList(options), 'collateral fetch': (names, options) => collateralFetch(names, options), 'collateral export': ([file = ''], { kind, ...options }) => collateralExport(file, { ...options, ...(kind === undefined ? {} : { kind: [String(kind)] }) }),
  'collateral import': ([file = ''], options) => collateralImport(file, options),
  'policy lint': (files, options) => policyLint(files, options), 'policy diff': ([x = '', y = ''], options) => policyDiff(x, y, options), 'policy explain': ([policy = '', ...files], options) => policyExplain(policy, files, options),
};

/** The command itself, in this process: one at a time, since it writes to standard output. */
async function ccc(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const options: Options = {};
  const words: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const name = /^--(.+)$/.exec(args[i] as string)?.[1];
    if (name === undefined) words.push(args[i] as string);
    else if (['json', 'explain', 'fetch'].includes(name)) options[name] = true;
    else if (LISTS.includes(name)) options[name] = [...(options[name] as string[] | undefined ?? []), args[++i] as string];
    else options[name] = args[++i] as string;
  }
  const command = words[0] === 'verify' ? words.splice(0, 1).join() : words.splice(0, 2).join(' ');
  const [out, error]: [string[], string[]] = [[], []];
  const spies = ([['stdout', out], ['stderr', error]] as const).map(([stream, into]) => vi.spyOn(process[stream], 'write').mockImplementation((text) => { into.push(String(text)); return true; }));
  Object.entries({ CCC_HOME: at('cell'), NO_COLOR: '1', CCC_ENDPOINTS: '', ...env }).forEach(([name, value]) => vi.stubEnv(name, value));
  vi.stubEnv('CCC_OWNER_KEY', undefined);
  let exitCode: number;
  try {
    exitCode = await (COMMANDS[command] as (typeof COMMANDS)[string])(words, options);
  } catch (thrown) {
    exitCode = fail(thrown, options['json'] === true);
  } finally {
    for (const spy of spies) spy.mockRestore();
    vi.unstubAllEnvs();
  }
  return { exitCode, stdout: out.join(''), stderr: error.join('') };
}

async function all(calls: readonly (readonly string[])[]): Promise<Outcome[]> {
  const out: Outcome[] = [];
  for (const args of calls) out.push(await ccc(args));
  return out;
}
interface Result { readonly reasons: readonly { readonly code: string }[]; readonly rules: readonly { readonly rule: string; readonly have: string; readonly need: string }[] }
const one = (stdout: string): Result => (JSON.parse(stdout) as { results: Result[] }).results[0] as Result;

describe('ccc verify', () => {
  it.skipIf(!HERE)('a genuine Nitro document with its references and nonce is affirmed: exit 0', async () => {
    const { path, at: time, payload } = nitro();
    const pcr = (i: number) => hex(payload.pcrs.get(i) as Uint8Array);
    await writeFile(at('nitro.json'), JSON.stringify({ id: 'released', role: 'counter', references: [{ id: 'v1', platform: 'aws-nitro', registers: { PCR0: pcr(0), PCR1: pcr(1), PCR2: pcr(2) } }], maxAgeSeconds: 3600, allowDevelopment: false, scopes: ['enclave'] }));
    const { exitCode, stdout } = await ccc(['verify', path, '--at', time, '--nonce', hex(payload.nonce as Uint8Array), '--policy', at('nitro.json'), '--json']);
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([0, { ok: true, exit: 0, results: [{ kind: 'nitro-attestation-document', verdict: 'valid', status: 'affirming', reasons: [] }] }]);
  });

  it.skipIf(!HERE)('without a policy it is a warning: exit 10, in words', async () => {
    const { path, at: time } = nitro();
    const { exitCode, stdout, stderr } = await ccc(['verify', path, '--at', time, '--explain']);
    expect(exitCode).toBe(10);
    for (const word of ['warning', 'nitro', 'origin proven', 'PCR0', 'NITRO-SIGNATURE', 'no references', 'executables 33']) expect(stdout).toContain(word);
    expect(stderr).toContain('--nonce');
  });

  it.skipIf(!HERE)('today its certificates have expired: exit 30; at its own time they have not', async () => {
    const { path } = nitro();
    const [now, own] = await all([['verify', path, '--json'], ['verify', path, '--at', 'own', '--json']]) as [Outcome, Outcome];
    expect([now.exitCode, own.exitCode]).toEqual([30, 10]);
    expect(one(now.stdout).reasons).toMatchObject(expect.arrayContaining([expect.objectContaining({ code: 'CHAIN_EXPIRED' })]));
    expect(one(own.stdout)).toMatchObject({ claims: { time: { freshness: 'none' } } });
  });

  it.skipIf(!HERE)('debug mode is contraindicated: exit 20, also as the worst of several files', async () => {
    const e = vector('aws-nitro/evervault/ga-2023-09-18.bin');
    const { path } = nitro();
    const { exitCode, stdout } = await ccc(['verify', path, join(VECTORS, e.file), '--at', 'own', '--json']);
    expect([exitCode, (JSON.parse(stdout) as { results: { status: string }[] }).results.map((r) => r.status)]).toEqual([20, ['warning', 'contraindicated']]);
  });

  it.skipIf(!HERE)('a token of a service is verified with the key set beside it, and refused without', async () => {
    const e = vector('gcp-confidential-space/atlas-authorization-pca/prod-token.jwt');
    const keys = (e.companions ?? []).flatMap((c) => ['--with', join(VECTORS, c)]);
    const [good, none] = await all([['verify', join(VECTORS, e.file), ...keys, '--at', e.verified_at as string], ['verify', join(VECTORS, e.file), '--at', e.verified_at as string]]) as [Outcome, Outcome];
    expect([good.exitCode, none.exitCode]).toEqual([10, 30]);
  });

  it.skipIf(!HERE)('a part that anybody could have made proves nothing alone: exit 30', async () => {
    const hcl = MANIFEST.find((e) => e.kind === 'hcl-report' && e.expected === 'valid') as Entry;
    const { exitCode, stdout } = await ccc(['verify', join(VECTORS, hcl.file), '--json']);
    expect([exitCode, one(stdout).reasons]).toMatchObject([30, [{ code: 'AK_UNBOUND' }]]);
  });

  it('simulated hardware is not under a production root: exit 30', async () => {
    const { exitCode, stdout } = await ccc(['verify', at('quote.bin')]);
    expect(exitCode).toBe(30);
    expect(stdout).toContain('CHAIN_ROOT_UNPINNED');
  });

  it('bytes that are nothing: exit 30; what only the caller can know: exit 2', async () => {
    await writeFile(at('noise.bin'), new Uint8Array(999).fill(7));
    const results = await all([['verify', at('noise.bin')], ['verify', at('absent.bin')], ['verify', at('quote.bin'), '--at', 'yesterday'], ['verify', at('quote.bin'), '--nonce', 'xyz'], ['verify', at('quote.bin'), '--policy', at('quote.bin')], ['verify', at('quote.bin'), '--offline', at('quote.bin')], ['verify', at('quote.bin'), '--offline', at('absent.jws'), '--signer', signer]]);
    expect(results.map((r) => r.exitCode)).toEqual([30, 2, 2, 2, 2, 2, 2]);
    for (const r of results.slice(1)) expect([r.stdout, r.stderr.includes('next:')]).toEqual(['', true]);
  });

  it('as a process: its exit code, and --help that says which there are', async () => {
    const [run, help] = await Promise.all([spawned(['verify', at('quote.bin'), '--json']), spawned(['verify', '--help'])]);
    expect([run.exitCode, JSON.parse(run.stdout)]).toMatchObject([30, { ok: false, exit: 30 }]);
    expect(help.stdout).toMatch(/0 affirming, 10 warning.*20 contraindicated, 30 not verifiable; 2 usage/s);
  });

  it('a vendor that does not answer is COLLATERAL_UNAVAILABLE: exit 30', async () => {
    vendors.routes.set('/intel/root.der', { status: 429, headers: { 'Retry-After': '3600' } });
    const { exitCode, stdout } = await ccc(['verify', at('quote.bin'), '--fetch', '--cache', at('empty'), '--json'], { CCC_ENDPOINTS: at('endpoints.json') });
    expect(exitCode).toBe(30);
    expect(one(stdout).reasons.map((r) => r.code)).toContain('COLLATERAL_UNAVAILABLE');
  });
});

describe('ccc collateral', () => {
  it('lists, exports and imports what is kept; another signer or a changed file is refused', async () => {
    const list = await ccc(['collateral', 'list', '--json']);
    expect((JSON.parse(list.stdout) as { items: unknown[] }).items).toHaveLength(intel.collateral.length);
    const made = await ccc(['collateral', 'export', at('bundle.jws'), '--key', at('key.jwk'), '--json']);
    expect([made.exitCode, JSON.parse(made.stdout)]).toMatchObject([0, { items: intel.collateral.length }]);
    const other = b64u((await generateSigningKey()).publicKey);
    const jws = await readFile(at('bundle.jws'), 'utf8');
    await writeFile(at('changed.jws'), jws.replace(/.(?=\.[^.]*$)/, (c) => (c === 'A' ? 'B' : 'A')));
    const imports = await all([
      ['collateral', 'import', at('bundle.jws'), '--signer', signer, '--cache', at('fresh'), '--json'], ['collateral', 'import', at('bundle.jws'), '--signer', other, '--cache', at('none')],
      ['collateral', 'import', at('changed.jws'), '--signer', signer, '--cache', at('none')], ['collateral', 'import', at('bundle.jws'), '--cache', at('none')],
      ['verify', at('quote.bin'), '--offline', at('changed.jws'), '--signer', signer], ['verify', at('quote.bin'), '--offline', at('bundle.jws'), '--signer', signer, '--json'],
      ['collateral', 'export', at('some.jws'), '--kind', 'amd-crl', '--key', at('key.jwk')], ['collateral', 'fetch', 'tea/x'],
    ]) as [Outcome, Outcome, Outcome, Outcome, Outcome, Outcome, Outcome, Outcome];
    expect(imports.map((r) => r.exitCode)).toEqual([0, 3, 3, 2, 30, 30, 1, 2]);
    expect(existsSync(at('none'))).toBe(false);
    expect((JSON.parse(imports[0].stdout) as { imported: unknown[] }).imported).toHaveLength(intel.collateral.length);
    expect(imports[4].stderr).toContain('COLLATERAL_SIGNATURE');
    // All it lacked was a pinned root: nothing about collateral is among the reasons
    expect(one(imports[5].stdout).reasons.map((r) => r.code).filter((c) => /^(COLLATERAL|CRL)/.test(c))).toEqual([]);
    const kept = await new CollateralCache(at('fresh')).all(Math.floor(Date.now() / 1000));
    expect(new Set(kept.map((i) => i.source))).toEqual(new Set(['offline']));
  });

  it('fetches what evidence needs', async () => {
    vendors.routes.set('/intel/root.der', { body: intel.pki.rootCrl });
    const { exitCode, stdout } = await ccc(['collateral', 'fetch', 'intel-root-crl/root', '--cache', at('fetched'), '--json'], { CCC_ENDPOINTS: at('endpoints.json') });
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([0, { ok: true, items: [{ kind: 'intel-root-crl', source: 'live' }] }]);
  });
});

describe('ccc policy', () => {
  it('lint refuses with exit 1 what leaves open what matters; diff says what became looser', async () => {
    const good = { id: 'p', role: 'counter', references: [{ id: 'v1', platform: 'aws-nitro', registers: { PCR0: 'a'.repeat(96), PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) } }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] };
    await Promise.all([writeFile(at('good.json'), JSON.stringify(good)), writeFile(at('bad.json'), JSON.stringify({ ...good, scopes: undefined })), writeFile(at('loose.json'), JSON.stringify({ ...good, allowDevelopment: true }))]);
    const [lint, bad, diff, same, explain] = await all([['policy', 'lint', at('good.json')], ['policy', 'lint', at('bad.json'), '--json'], ['policy', 'diff', at('good.json'), at('loose.json')], ['policy', 'diff', at('good.json'), at('good.json')], ['policy', 'explain', at('good.json')]]) as [Outcome, Outcome, Outcome, Outcome, Outcome];
    expect([lint.exitCode, bad.exitCode, diff.exitCode, same.exitCode, explain.exitCode]).toEqual([0, 1, 1, 0, 0]);
    expect(JSON.parse(bad.stdout)).toMatchObject({ ok: false, results: [{ findings: [{ level: 'error', path: 'scopes' }] }] });
    expect(diff.stdout).toContain('looser    allowDevelopment: false -> true');
    expect(explain.stdout).toContain('debug: refused');
  });

  it('lint of an owner\'s policy finds what it lacks besides the appraisal, such as the cell directory that it goes with', async () => {
    const registers = { PCR0: 'a'.repeat(96), PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) };
    const role = (name: string) => ({ id: name, role: name, references: [{ id: 'v1', platform: 'aws-nitro', registers }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] });
    const owner = {
      revision: 1, notAfter: 4_000_000_000, deployment: 'd', roles: { broker: role('broker'), counter: role('counter') }, developmentRoots: [], revoked: [], zones: [{ name: 'z', regions: ['r'], origin: 'asserted' }],
      tenants: [{ tenant: '*', zones: ['z'], classifications: ['public'], scopes: ['enclave'], egress: ['count'] }], detectors: [{ name: 'd', digest: 'd'.repeat(64), threshold: 0.5 }],
    };
    await Promise.all([writeFile(at('owner.json'), JSON.stringify({ ...owner, directoryRevision: 1 })), writeFile(at('open.json'), JSON.stringify(owner))]);
    const [whole, open] = await all([['policy', 'lint', at('owner.json')], ['policy', 'lint', at('open.json'), '--json']]) as [Outcome, Outcome];
    expect([whole.exitCode, open.exitCode]).toEqual([0, 1]);
    expect(JSON.parse(open.stdout)).toMatchObject({ ok: false, results: [{ findings: [{ level: 'error', path: 'directoryRevision' }] }] });
  });

  it.skipIf(!HERE)('explain has for each rule what evidence has and what the policy needs', async () => {
    const { path, at: time } = nitro();
    await writeFile(at('other.json'), JSON.stringify({ id: 'p', role: 'counter', references: [{ id: 'v1', platform: 'aws-nitro', registers: { PCR0: 'a'.repeat(96), PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) } }], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] }));
    const { exitCode, stdout } = await ccc(['policy', 'explain', at('other.json'), path, '--at', time, '--json']);
    expect(exitCode).toBe(20);
    const rule = one(stdout).rules.find((r) => r.rule === 'measurements');
    expect(rule?.need).toContain(`PCR0 ${'a'.repeat(96)}`);
  });
});

/** The user data runs here, in bash, with the machine's commands replaced by recorders and its folders by a temporary one. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enclaveUserData, gatewayUserData } from '../../modules/aws/user-data.ts';
import { cellFile } from '../../modules/cell-config.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { ENVIRONMENTS } from '../../modules/environments.ts';
import { placeholderEntry } from '../../modules/measurements.ts';

const run = promisify(execFile);
const cell = cellFile(ENVIRONMENTS.prod, 'aws');
const measurements = placeholderEntry('broker-blue').nitro;
const boot = { region: 'eu-central-1', autoscalingGroup: 'ccc-prod-broker-blue', logGroup: '/ccc/prod/broker', cellJson: cell.json, eifBucket: 'ccc-prod-eif-p1x8' };
const enclave = { ...boot, role: 'broker' as const, measurements, cpus: 4, memoryMib: 8_192, debug: false };
const image = `333333333333.dkr.ecr.eu-central-1.amazonaws.com/ccc-prod-gateway@sha256:${'a'.repeat(64)}`;
const gateway = {
  ...boot, autoscalingGroup: 'ccc-prod-gateway-blue', cell: cell.name, image, registry: '333333333333.dkr.ecr.eu-central-1.amazonaws.com', database: { host: 'writer.example', name: 'ccc', user: 'ccc_gateway' }, imageBucket: 'ccc-prod-images-p1x8', metricNamespace: 'ccc',
};

let root: string;
beforeAll(async () => { root = await mkdtemp(join(tmpdir(), 'ccc-boot-')); });
afterAll(() => rm(root, { recursive: true, force: true }));

interface Machine { readonly eif?: Readonly<Record<string, string>>; readonly pages?: number; readonly state?: string; readonly flags?: string; readonly fails?: string }
interface Booted { readonly code: number; readonly calls: string[]; readonly read: (path: string) => Promise<string> }
let machines = 0;

/** Boots a machine whose enclave file measures to `eif`, whose allocator reserves `pages` of 2 MiB, and on which the command line that contains `fails` fails. */
async function bootMachine(script: string, { eif = measurements, pages = 4_096, state = 'RUNNING', flags = 'NONE', fails = 'nothing fails' }: Machine = {}): Promise<Booted> {
  const home = join(root, String((machines += 1)));
  const bin = join(home, 'bin');
  const pool = join(home, 'sys/kernel/mm/hugepages/hugepages-2048kB');
  await Promise.all([bin, pool, ...['etc/nitro_enclaves', 'etc/systemd/system', 'opt/aws/amazon-cloudwatch-agent/etc', 'run', 'var/lib'].map((path) => join(home, path))].map((path) => mkdir(path, { recursive: true })));
  await writeFile(join(pool, 'nr_hugepages'), String(pages));
  await writeFile(join(home, 'eif.json'), JSON.stringify({ Measurements: eif }));
  await writeFile(join(home, 'enclaves.json'), JSON.stringify([{ EnclaveName: 'broker', State: state, Flags: flags }]));
  const recorder = `#!/bin/sh
line="\${0##*/} $*"
echo "$line" >> ${home}/calls
case "$line" in *'${fails}'*) exit 1;; esac
case "$line" in
  *meta-data/instance-id*) echo i-0123456789abcdef0;;
  *meta-data/local-ipv4*) echo 10.22.10.7;;
  *api/token*) echo token;;
  *describe-eif*) cat ${home}/eif.json;;
  *describe-enclaves*) cat ${home}/enclaves.json;;
  *generate-db-auth-token*) echo 'writer.example:5432/?Action=connect&X-Amz-Signature=abc';;
esac
`;
  await Promise.all(['curl', 'aws', 'nitro-cli', 'systemctl', 'podman', 'openssl', 'chown', 'install'].map((name) => writeFile(join(bin, name), recorder, { mode: 0o755 })));
  const moved = script.replaceAll(/(?<![\w/.])\/(etc|opt|run|sys|var)\//g, `${home}/$1/`);
  const code = await run('/bin/bash', ['-c', moved], { env: { PATH: `${bin}:/usr/bin:/bin` } }).then(() => 0, (error: { code: number }) => error.code);
  return { code, calls: (await readFile(join(home, 'calls'), 'utf8')).trim().split('\n'), read: (path) => readFile(join(home, path), 'utf8') };
}
const reported = ({ calls }: Booted): string[] => calls.filter((line) => line.includes('complete-lifecycle-action')).map((line) => line.split(' ').at(-1) ?? '');

describe('the boot of a parent', () => {
  it('fetches the pinned enclave, checks it, runs it and joins', async () => {
    const machine = await bootMachine(enclaveUserData(enclave));
    expect(machine.code).toBe(0);
    expect(reported(machine)).toEqual(['CONTINUE']);
    const at = (part: string): number => machine.calls.findIndex((line) => line.includes(part));
    expect(machine.calls[at('s3 cp')]).toContain(`s3://ccc-prod-eif-p1x8/eif/${measurements.PCR0}.eif`);
    expect(at('nitro-enclaves-allocator')).toBeLessThan(at('s3 cp'));
    expect(at('describe-eif')).toBeLessThan(at('enable --now ccc-cell'));
    expect(at('complete-lifecycle-action')).toBe(machine.calls.length - 1);
    expect(await machine.read('etc/nitro_enclaves/allocator.yaml')).toBe('---\nmemory_mib: 8192\ncpu_count: 4\n');
    expect(await machine.read('etc/nitro_enclaves/vsock-proxy.yaml')).toBe('allowlist:\n- {address: kms.eu-central-1.amazonaws.com, port: 443}\n- {address: 169.254.169.254, port: 80}\n');
    expect(await machine.read('etc/systemd/system/ccc-broker.service')).toContain('run-enclave --enclave-name broker --enclave-cid 16 --cpu-count 4 --memory 8192');
    expect(await machine.read('etc/ccc/cell.json')).toBe(cell.json);
    expect(await machine.read('etc/ccc/name')).toBe('i-0123456789abcdef0');
  });

  it.each([
    ['an enclave file of another image', { eif: { ...measurements, PCR0: 'f'.repeat(96) } }],
    ['another kernel in it', { eif: { ...measurements, PCR1: 'f'.repeat(96) } }],
    ['another application in it', { eif: { ...measurements, PCR2: 'f'.repeat(96) } }],
    ['another signer', { eif: { ...measurements, PCR8: 'f'.repeat(96) } }],
    ['an unsigned file', { eif: { PCR0: measurements.PCR0, PCR1: measurements.PCR1, PCR2: measurements.PCR2 } }],
    ['an allocator that reserved one page too few', { pages: 4_095 }],
    ['an allocator that fails', { fails: 'nitro-enclaves-allocator' }],
    ['no enclave file', { fails: 's3 cp' }],
    ['an enclave that ended at once', { state: 'TERMINATING' }],
    ['an enclave in debug mode', { flags: 'DEBUG_MODE' }],
    ['a broker that never answers', { fails: '8445/v1/health' }],
  ] as const)('abandons the launch for %s', async (_, machine) => {
    const booted = await bootMachine(enclaveUserData(enclave), machine);
    expect(booted.code).not.toBe(0);
    expect(reported(booted)).toEqual(['ABANDON']);
  });

  it('gives a counter no way to KMS and to credentials', async () => {
    const text = enclaveUserData({ ...enclave, role: 'counter' });
    expect(text).toContain('allowlist: []');
    expect(text).not.toMatch(/kms\.|vsock-proxy [0-9]|TCP-LISTEN/);
  });

  it('runs a debug enclave only where it is asked for one', () => {
    expect(enclaveUserData(enclave)).not.toContain('--debug-mode');
    expect(enclaveUserData({ ...enclave, debug: true })).toContain('--debug-mode');
  });
});

describe('the boot of a gateway', () => {
  it('runs the image of the digest, with tokens instead of a password', async () => {
    const machine = await bootMachine(gatewayUserData(gateway));
    expect(machine.code).toBe(0);
    expect(reported(machine)).toEqual(['CONTINUE']);
    expect(machine.calls).toContain(`podman pull --quiet ${image}`);
    const unit = await machine.read('etc/systemd/system/ccc-gateway.service');
    expect(unit).toContain('--add-host gateway.ccc.internal:10.22.10.7 ');
    expect(unit).toContain(`${image} --data `);
    expect(unit).not.toContain('main.ts');
    expect(unit).toMatch(/--read-only .*--cap-drop all .*no-new-privileges/);
    const environment = await machine.read('etc/ccc/gateway.env');
    expect(environment).toMatch(/^DATABASE_URL=postgres:\/\/ccc_gateway@writer\.example:5432\/ccc\?sslmode=verify-full&/m);
    expect(environment).not.toMatch(/PASSWORD|SECRET|:[^/\s]*@/i);
  });

  it.each(['s3 cp', 'podman pull', 'podman login', 'openssl', '8443/v1/health'])('abandons the launch when %s fails', async (fails) => {
    expect(reported(await bootMachine(gatewayUserData(gateway), { fails }))).toEqual(['ABANDON']);
  });

  it('writes the database token as a password file has it', async () => {
    const machine = await bootMachine(gatewayUserData(gateway));
    const script = await machine.read('opt/ccc/database-token');
    const token = /token=\$\((.*)\)$/m.exec(script)?.[1]?.replace(/aws rds .*? \|/, "echo 'writer.example:5432/?a\\b' |");
    const { stdout } = await run('/bin/bash', ['-c', token ?? 'false']);
    expect(stdout).toBe('writer.example\\:5432/?a\\\\b\n');
  });

  it('takes an image by digest only', () => {
    expect(() => gatewayUserData({ ...gateway, image: image.replace(/@.*/, ':latest') })).toThrow(ConfigurationError);
  });
});

describe('every boot', () => {
  const texts = [enclaveUserData(enclave), enclaveUserData({ ...enclave, role: 'counter' }), gatewayUserData(gateway)];

  it('installs nothing, and holds nothing that Terraform would read', () => {
    for (const text of texts) {
      expect(text).not.toMatch(/[$%]\{/);
      expect(text).not.toMatch(/\b(?:dnf|yum|apt|apt-get|rpm|npm|pip|docker build|build-enclave)\b/);
      expect(text.length).toBeLessThan(16_384);
    }
  });

  it('is shell that parses, as are the scripts and units it writes', async () => {
    for (const text of texts) {
      await expect(run('/bin/bash', ['-n', '-c', text])).resolves.toBeDefined();
      const files = [...text.matchAll(/^cat > (\S+) <<'EOF'\n([\s\S]*?)\nEOF$/gm)];
      expect(files.length).toBeGreaterThan(5);
      for (const [, path = '', content = ''] of files) {
        if (content.startsWith('#!/bin/bash')) await expect(run('/bin/bash', ['-n', '-c', content])).resolves.toBeDefined();
        else if (path.endsWith('.service')) expect(content).toMatch(/^ExecStart=\/\S+/m);
        else if (path.endsWith('.json')) expect(JSON.parse(content)).toBeTypeOf('object');
      }
    }
  });

  it('refuses a cell.json that would break out of its quotes', () => {
    expect(() => enclaveUserData({ ...enclave, cellJson: "{'" })).toThrow(ConfigurationError);
  });
});

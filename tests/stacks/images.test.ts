/** docs/images.md against what the stacks deploy and what the processes take. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { gatewayUserData, enclaveUserData, VSOCK } from '../../modules/aws/user-data.ts';
import { cloudInit } from '../../modules/azure/cloud-init.ts';
import { cellFile, HOSTS, PORTS } from '../../modules/cell-config.ts';
import { CLOUDS, ENVIRONMENTS } from '../../modules/environments.ts';
import { EXTERNAL_METRICS } from '../../modules/gcp/k8s-counters.ts';
import { CELL_VARIABLE, cellVariable } from '../../modules/gcp/token-condition.ts';
import { placeholderEntry, WORKLOAD_ROLES, type WorkloadRole } from '../../modules/measurements.ts';
import { synthesizedStacks } from '../../scripts/stacks/diagram.ts';
import { parseStoreUrl } from '../../workloads/ledger/stores/open.ts';
import { parseCell } from '../../workloads/protocol/cell.ts';
import { metricsAddress } from '../../workloads/protocol/metrics-server.ts';
import { name as nameSchema } from '../../workloads/protocol/wire.ts';

type Json = any;

const document = readFileSync(new URL('../../docs/images.md', import.meta.url), 'utf8');
const stacks = synthesizedStacks();
const environment = ENVIRONMENTS.prod ?? (() => { throw new Error('no prod'); })();
const folder = mkdtempSync(join(tmpdir(), 'ccc-images-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const blocks = (stack: string, type: string): Json[] => Object.values((JSON.parse(stacks.get(stack) ?? '{}') as Json).resource?.[type] ?? {});
const imageDigest = `sha256:${'a'.repeat(64)}`;
const azureImage = `registry.azurecr.io/ccc-ROLE@${imageDigest}`;

const awsGateway = gatewayUserData({
  region: 'eu-central-1', autoscalingGroup: 'g', logGroup: 'l', cellJson: cellFile(environment, 'aws').json, eifBucket: 'eif', cell: 'aws-prod', image: `r/ccc@${imageDigest}`, registry: 'r',
  database: { host: 'w.example', name: 'ccc', user: 'ccc_gateway' }, imageBucket: 'images-bucket', metricNamespace: 'CCC',
});
const awsEnclave = (role: 'broker' | 'counter') => enclaveUserData({
  region: 'eu-central-1', autoscalingGroup: 'g', logGroup: 'l', cellJson: cellFile(environment, 'aws').json, eifBucket: 'eif', role, measurements: placeholderEntry(role).nitro, cpus: 2, memoryMib: 4096, debug: false,
});
const azureRole = (role: WorkloadRole) => cloudInit({
  role, cell: cellFile(environment, 'azure'), image: azureImage.replace('ROLE', role), tenantId: '00000000-0000-0000-0000-000000000001', environment: {},
  ...(role === 'gateway' ? { tls: { secretUri: 'https://v/secrets/x' }, database: { host: 'h', user: 'u', name: 'ccc' } } : {}),
});
const pods = (role: 'gateway' | 'counter'): Json[] => blocks('ccc-gcp-k8s-prod', 'kubernetes_deployment_v1').filter((d) => d.metadata.labels['app.kubernetes.io/name'] === role).map((d) => d.spec.template.spec);

describe('the document', () => {
  test('has every port and bridge', () => {
    for (const port of [...Object.values(PORTS), VSOCK.cell, VSOCK.log, VSOCK.name, VSOCK.kms, VSOCK.metadata]) expect(document).toMatch(new RegExp(`^\\| ${port} \\|`, 'm'));
    for (const host of Object.values(HOSTS)) expect(document).toContain(`\`${host}\``);
    expect(document).toContain(`CID ${VSOCK.enclave} the enclave`);
  });

  test('every variable that a machine gives to a process stands in it', () => {
    const given = new Set<string>([CELL_VARIABLE]);
    for (const [, variable] of awsGateway.matchAll(/^([A-Z][A-Z_]+)=/gm)) given.add(variable ?? '');
    for (const stack of ['ccc-azure-prod']) {
      for (const set of blocks(stack, 'azurerm_linux_virtual_machine_scale_set')) {
        const data = JSON.parse(Buffer.from(set.custom_data, 'base64').toString('utf8').replace('#cloud-config', '')) as Json;
        const env = data.write_files.find((file: Json) => file.path === '/etc/ccc/role.env').content as string;
        for (const [, variable] of env.matchAll(/^([A-Z][A-Z_]+)=/gm)) given.add(variable ?? '');
      }
    }
    for (const pod of [...pods('gateway'), ...pods('counter')]) for (const { name } of pod.container[0].env) given.add(name);
    expect(given.size).toBeGreaterThan(8);
    // What is no setting of ours: the SDK's region, and the name that becomes an argument.
    for (const variable of [...given].filter((v) => !['AWS_REGION', 'POD_NAME'].includes(v))) expect(document, variable).toContain(variable);
  });
});

describe('arguments', () => {
  test('containers get arguments after the image, never another program', () => {
    expect(awsGateway).toContain(`r/ccc@${imageDigest} --data /var/lib/ccc`);
    for (const role of WORKLOAD_ROLES) expect(azureRole(role)).toContain(`${azureImage.replace('ROLE', role)} --data /var/lib/ccc${role === 'counter' ? ' --name %H' : ''}\\n`);
    for (const [role, args] of [['gateway', ['--data', '/var/lib/ccc']], ['counter', ['--data', '/var/lib/ccc', '--name', '$(POD_NAME)']]] as const) {
      expect(pods(role).length).toBeGreaterThan(1);
      for (const pod of pods(role)) expect([pod.container[0].command, pod.container[0].args]).toEqual([undefined, args]);
    }
  });

  test('names of pods are names of counters', () => {
    for (const deployment of blocks('ccc-gcp-k8s-prod', 'kubernetes_deployment_v1').filter((d) => d.metadata.labels['app.kubernetes.io/name'] === 'counter')) expect(nameSchema.safeParse(`${deployment.metadata.name}-7d9c5b8f4d-x2x9z`).success).toBe(true);
  });

  test('everything runs as 10001', () => {
    expect(awsGateway.match(/(?:--user |chown (?:-R )?|-o )(\d+)/g)?.every((part) => part.endsWith('10001'))).toBe(true);
    for (const role of WORKLOAD_ROLES) expect(azureRole(role)).toContain('--user 10001:10001');
    for (const pod of [...pods('gateway'), ...pods('counter')]) expect(pod.security_context.run_as_user).toBe('10001');
  });

  /** The processes themselves: what the arguments say is taken (they go on to the configuration, which is broken here), what lacks is refused as usage. */
  const run = (role: WorkloadRole, args: readonly string[]) => {
    writeFileSync(join(folder, 'cell.json'), '{}');
    const { status, stderr, stdout } = spawnSync(process.execPath, [`workloads/${role}/main.ts`, ...args], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, DATABASE_URL: 'postgres://u@127.0.0.1:1/ccc' } });
    return { status, text: stdout + stderr };
  };

  test.each([
    ['gateway', []], ['broker', []], ['counter', ['--name', 'counter-snp-blue-7d9c5b8f4d-x2x9z']],
  ] as const)('%s takes them, and ends with 1 on a cell.json that is none', { timeout: 120_000 }, (role, more) => {
    const taken = run(role, ['--data', folder, ...more]);
    expect(taken.text).not.toMatch(/^usage/im);
    expect(taken.status).toBe(1);
    const refused = run(role, more);
    expect(refused.text).toMatch(/usage/i);
    expect(refused.status).toBe(2);
  });
});

describe('settings', () => {
  test('stores have addresses that the gateway opens', () => {
    const aws = /^STORE_URL=(.*)$/m.exec(awsGateway)?.[1] ?? '';
    expect(parseStoreUrl(aws)).toEqual({ at: 's3', bucket: 'images-bucket', region: 'eu-central-1' });
    const sets = blocks('ccc-azure-prod', 'azurerm_linux_virtual_machine_scale_set').map((set) => Buffer.from(set.custom_data, 'base64').toString('utf8'));
    const azure = sets.flatMap((text) => [...text.matchAll(/STORE_URL=([^\\]+)\\n/g)].map(([, url]) => url ?? ''));
    const accounts = blocks('ccc-azure-prod', 'azurerm_storage_account').map(({ name }) => name);
    expect(azure).toHaveLength(2);
    for (const url of azure) {
      const address = parseStoreUrl(url) as { account: string; container: string };
      expect(accounts).toContain(address.account);
      expect(address.container).toBe('messages');
    }
    const buckets = blocks('ccc-gcp-prod', 'google_storage_bucket').map(({ name }) => name);
    for (const pod of pods('gateway')) expect(buckets).toContain((parseStoreUrl(pod.container[0].env.find((e: Json) => e.name === 'STORE_URL').value) as { bucket: string }).bucket);
  });

  test('health listeners are on the port of health', () => {
    const on = (text: string | undefined) => metricsAddress(text)?.port;
    expect(on(/^METRICS_ADDRESS=(.*)$/m.exec(awsGateway)?.[1])).toBe(PORTS.health);
    for (const pod of pods('counter')) {
      const [container] = pod.container;
      expect(on(container.env.find((e: Json) => e.name === 'METRICS_ADDRESS').value)).toBe(PORTS.health);
      expect([container.liveness_probe.http_get, container.readiness_probe.http_get].map(({ path, port }: Json) => [path, port])).toEqual([['/v1/live', String(PORTS.health)], ['/v1/health', String(PORTS.health)]]);
    }
    // Azure: the machine's own answer has that port, so no container may.
    for (const role of WORKLOAD_ROLES) expect(azureRole(role)).not.toContain('METRICS_ADDRESS');
  });

  test('no password in any of them', () => {
    for (const text of [awsGateway, azureRole('gateway'), ...pods('gateway').map((pod) => JSON.stringify(pod))]) for (const [, user] of text.matchAll(/postgres:\/\/([^/]*?)@/g)) expect(user).not.toContain(':');
  });
});

describe('cell.json', () => {
  test.each(CLOUDS)('%s: what is delivered is a configuration, and its digest that of the stack', async (cloud) => {
    const { json, digest } = cellFile(environment, cloud);
    const { cell, configDigest } = await parseCell(new TextEncoder().encode(json));
    expect(Buffer.from(configDigest).toString('hex')).toBe(digest);
    expect([cell.gateway.public.port, cell.gateway.internal.port, cell.broker.port]).toEqual([PORTS.public, PORTS.internal, PORTS.broker]);
  });

  test('Confidential Space gets the same bytes, and no other variable', () => {
    const templates = blocks('ccc-gcp-prod', 'google_compute_region_instance_template');
    expect(templates.length).toBeGreaterThan(0);
    for (const { metadata } of templates) {
      expect(Object.keys(metadata).filter((key) => key.startsWith('tee-env-'))).toEqual([`tee-env-${CELL_VARIABLE}`]);
      expect(Buffer.from(metadata[`tee-env-${CELL_VARIABLE}`], 'base64url').toString('utf8')).toBe(cellFile(environment, 'gcp').json);
    }
    expect(cellVariable('{"a":"ü?>"}')).toMatch(/^[A-Za-z0-9_-]+$/);
  });
});

describe('Nitro', () => {
  test.each(['broker', 'counter'] as const)('%s: the file is fetched by PCR0, and its four measurements are compared', (role) => {
    const { PCR0, PCR1, PCR2, PCR8 } = placeholderEntry(role).nitro;
    expect(awsEnclave(role)).toContain(`s3://eif/eif/${PCR0}.eif`);
    for (const [register, value] of Object.entries({ PCR0, PCR1, PCR2, PCR8 })) expect(awsEnclave(role)).toContain(`test "$(jq -r .Measurements.${register} /run/ccc/eif.json)" = ${value}`);
  });

  test('bridges: what a role needs and no more', () => {
    const bridges = (role: 'broker' | 'counter') => [...awsEnclave(role).matchAll(/VSOCK-(?:LISTEN|CONNECT):(?:16:)?(\d+)|vsock-proxy (\d+) /g)].map(([, a, b]) => Number(a ?? b)).sort();
    expect(bridges('counter')).toEqual([PORTS.internal, VSOCK.cell, VSOCK.log, VSOCK.name].sort());
    expect(bridges('broker')).toEqual([PORTS.internal, PORTS.broker, VSOCK.cell, VSOCK.log, VSOCK.name, VSOCK.kms, VSOCK.metadata].sort());
  });
});

test('names of the gateway\'s metrics', () => {
  const gateway = readFileSync(new URL('../../workloads/gateway/metering.ts', import.meta.url), 'utf8');
  for (const metric of Object.values(EXTERNAL_METRICS)) expect(gateway).toContain(`'ccc_${metric.split('|').at(-1)}'`);
});

/** What is specific to the Azure cell: what its VMs start with, who talks to whom, names, weights, refusals. Rules of all clouds are in tests/rules. */
import './light.ts';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { App, TerraformStack } from 'cdktf';
import { expect, test } from 'vitest';
import { cloudInit } from '../../modules/azure/cloud-init.ts';
import { Fleet } from '../../modules/azure/fleet.ts';
import { Network } from '../../modules/azure/network.ts';
import type { AzureScope } from '../../modules/azure/scope.ts';
import { burnQuery, WINDOWS, workbook } from '../../modules/azure/slo.ts';
import { cellFile } from '../../modules/cell-config.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { checkEnvironment, type Environment, ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../modules/environments.ts';
import { GENERATIONS, readLock, WORKLOAD_ROLES } from '../../modules/measurements.ts';
import { namer } from '../../modules/naming.ts';
import { azureOf, type Body } from './azure-synth.ts';

const lock = readLock();
interface Init { write_files: { path: string; content: string; permissions: string }[]; runcmd: string[][]; ssh_pwauth: boolean }
const initOf = (set: Body): Init => {
  const text = Buffer.from(set['custom_data'], 'base64').toString('utf8');
  expect(text.startsWith('#cloud-config\n')).toBe(true);
  return JSON.parse(text.slice('#cloud-config\n'.length)) as Init;
};
const setOf = (env: (typeof ENVIRONMENT_NAMES)[number], role: string, generation: string): Body => {
  const found = azureOf(env).resources('azurerm_linux_virtual_machine_scale_set').find(({ body }) => body['name'] === `ccc-${env}-${role}-${generation}`);
  if (found === undefined) throw new Error(`no ${role} ${generation}`);
  return found.body;
};
const contentOf = (init: Init, path: string): string => {
  const found = init.write_files.find((file) => file.path === path);
  if (found === undefined) throw new Error(`no ${path}`);
  return found.content;
};
const fleets = ENVIRONMENT_NAMES.flatMap((env) => WORKLOAD_ROLES.flatMap((role) => GENERATIONS.map((generation) => [env, role, generation] as const)));

test.each(fleets)('%s %s %s: starts its image by digest, with the cell\'s own configuration', (env, role, generation) => {
  const init = initOf(setOf(env, role, generation));
  const unit = contentOf(init, '/etc/systemd/system/ccc-role.service');
  const entry = lock.roles[role][generation] ?? lock.roles[role].blue;
  expect(unit).toContain(` cccXimages.azurecr.io/ccc-${role}@${entry.image} --data /var/lib/ccc`.replace('cccXimages', namer(ENVIRONMENTS[env])('container-registry', 'images')));
  const cell = cellFile(ENVIRONMENTS[env], 'azure');
  expect(createHash('sha256').update(contentOf(init, '/etc/ccc/cell.json')).digest('hex')).toBe(cell.digest);
  expect(contentOf(init, '/etc/ccc/role.env')).toContain(`CCC_CONFIG_DIGEST=${cell.digest}\n`);
  expect(unit).toMatch(/--read-only .*--cap-drop all .*no-new-privileges .*core=0:0/);
  expect(init.ssh_pwauth).toBe(false);
  // What is started is what was written.
  for (const name of init.runcmd.at(-1)?.slice(3) ?? []) contentOf(init, `/etc/systemd/system/${name}`);
  // A TEE has the vTPM and no credentials of the database; a gateway the other way round.
  expect(unit.includes('/dev/tpmrm0')).toBe(role !== 'gateway');
  expect(JSON.stringify(init).includes('DATABASE_URL')).toBe(role === 'gateway');
  expect(JSON.stringify(init)).not.toMatch(/BEGIN [A-Z ]*PRIVATE KEY|password=|AccountKey=/);
});

test('shell scripts of all roles parse', () => {
  for (const role of WORKLOAD_ROLES) {
    const scripts = initOf(setOf('prod', role, 'blue')).write_files.filter(({ path }) => path.endsWith('.sh'));
    expect(scripts.length).toBeGreaterThanOrEqual(2);
    for (const { content } of scripts) execaSync('bash', ['-n'], { input: content });
  }
});

test('the health of a role is that of its unit and its listener', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccc-health-'));
  try {
    const script = contentOf(initOf(setOf('prod', 'counter', 'blue')), '/etc/ccc/health.sh');
    const ask = (active: boolean, text = script): string => {
      writeFileSync(join(folder, 'systemctl'), `#!/bin/sh\nexit ${active ? 0 : 3}\n`);
      chmodSync(join(folder, 'systemctl'), 0o755);
      return execaSync('bash', ['-c', text], { input: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', env: { PATH: `${folder}:${process.env['PATH']}` } }).stdout;
    };
    expect(ask(true)).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*Content-Length: 36\r\n[\s\S]*\{"ApplicationHealthState":"Healthy"\}$/);
    expect(ask(false)).toMatch(/^HTTP\/1\.1 503 /);
    // Nothing listens on the broker's port here.
    expect(ask(true, contentOf(initOf(setOf('prod', 'broker', 'blue')), '/etc/ccc/health.sh').replace('/8445)', '/1)'))).toMatch(/^HTTP\/1\.1 503 /);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each<[string, Partial<Parameters<typeof cloudInit>[0]>, RegExp]>([
  ['a tag instead of a digest', { image: 'x.azurecr.io/ccc-broker:latest' }, /sha256/],
  ['a database for a TEE', { database: { host: 'h', user: 'u', name: 'n' } }, /TEE holds no credentials/],
  ['a certificate for a TEE', { tls: { secretUri: 'https://v' } }, /TEE holds no credentials|neither/],
  ['a gateway without a database', { role: 'gateway', image: `x.azurecr.io/ccc-gateway@sha256:${'a'.repeat(64)}` }, /a certificate and a database/],
  ['more than Azure takes', { environment: { X: 'x'.repeat(70_000) } }, /65535 bytes/],
])('custom data with %s is refused', (what, over, why) => {
  const base = { role: 'broker' as const, cell: cellFile(ENVIRONMENTS.dev, 'azure'), image: `x.azurecr.io/ccc-broker@sha256:${'a'.repeat(64)}`, tenantId: ENVIRONMENTS.dev.azure.tenantId, environment: {} };
  // A certificate alone is as wrong as a database alone.
  if (what.startsWith('a certificate')) over = { ...over, database: { host: 'h', user: 'u', name: 'n' } };
  if (what.startsWith('a database')) over = { ...over, tls: { secretUri: 'https://v' } };
  expect(() => cloudInit({ ...base, ...over })).toThrow(why);
});

interface Rule { name: string; priority: number; direction: string; access: string; source_address_prefix: string; destination_address_prefix: string; destination_port_ranges?: string[] }
const rulesOf = (env: (typeof ENVIRONMENT_NAMES)[number], subnet: string): Rule[] => {
  const found = azureOf(env).resources('azurerm_network_security_group').find(({ body }) => body['name'] === `ccc-${env}-nsg-${subnet}`);
  return (found?.body['security_rule'] ?? []) as Rule[];
};
const cidrOf = (env: (typeof ENVIRONMENT_NAMES)[number], subnet: string): string => azureOf(env).resources('azurerm_subnet').find(({ body }) => body['name'] === subnet)?.body['address_prefixes'][0];

test.each(ENVIRONMENT_NAMES)('%s: each subnet has its own rules, with deny-all both ways at the end', (env) => {
  const subnets = azureOf(env).resources('azurerm_subnet').map(({ body }) => String(body['name']));
  expect(subnets.sort()).toEqual(['broker', 'counter', 'database', 'endpoints', 'gateway', 'link']);
  expect(azureOf(env).resources('azurerm_subnet_network_security_group_association')).toHaveLength(subnets.length);
  for (const subnet of subnets) {
    const rules = rulesOf(env, subnet);
    for (const direction of ['Inbound', 'Outbound']) {
      const of = rules.filter((rule) => rule.direction === direction);
      expect(new Set(of.map(({ priority }) => priority)).size).toBe(of.length);
      expect(of.at(-1)).toMatchObject({ access: 'Deny', priority: 4096, source_address_prefix: '*', destination_address_prefix: '*' });
    }
    for (const rule of rules.filter(({ access }) => access === 'Allow')) expect(rule.destination_port_ranges?.length ?? 0).toBeGreaterThan(0);
  }
});

test('who may talk to whom', () => {
  const names = ['gateway', 'broker', 'counter', 'database', 'link', 'endpoints'];
  const peers = (subnet: string, direction: 'Inbound' | 'Outbound'): string[] => rulesOf('prod', subnet).filter((r) => r.access === 'Allow' && r.direction === direction)
    .map((r) => (direction === 'Inbound' ? r.source_address_prefix : r.destination_address_prefix)).map((cidr) => names.find((n) => cidrOf('prod', n) === cidr) ?? cidr).sort();
  expect(peers('gateway', 'Inbound')).toEqual(['AzureLoadBalancer', 'broker', 'counter', 'link']);
  expect(peers('gateway', 'Outbound')).toEqual(['broker', 'database', 'endpoints']);
  expect(peers('broker', 'Inbound')).toEqual(['AzureLoadBalancer', 'gateway']);
  expect(peers('broker', 'Outbound')).toEqual(['endpoints', 'gateway']);
  expect(peers('counter', 'Inbound')).toEqual(['AzureLoadBalancer']);
  expect(peers('counter', 'Outbound')).toEqual(['endpoints', 'gateway']);
  expect(peers('database', 'Inbound')).toEqual(['database', 'gateway']);
  expect(peers('link', 'Inbound')).toEqual([]);
});

test.each([['dev', 0, 1000, false, [1, 0]], ['staging', 10, 900, true, [2, 1]], ['prod', 10, 900, true, [3, 1]]] as const)('%s: %i percent of the traffic to green', (env, percent, blueWeight, enabled, counts) => {
  const origins = azureOf(env).resources('azurerm_cdn_frontdoor_origin').map(({ body }) => body);
  const of = (name: string): Body => origins.find((origin) => origin['name'] === name) ?? {};
  expect(of('blue')).toMatchObject({ weight: blueWeight, enabled: true, certificate_name_check_enabled: true });
  expect(of('green')).toMatchObject({ weight: Math.max(1, 10 * percent), enabled });
  for (const role of WORKLOAD_ROLES) expect(GENERATIONS.map((generation) => setOf(env, role, generation)['instances'])).toEqual(counts);
});

test.each(ENVIRONMENT_NAMES)('%s: an identity per set, and nobody else\'s', (env) => {
  const ids = azureOf(env).resources('azurerm_linux_virtual_machine_scale_set').flatMap(({ body }) => body['identity'].identity_ids as string[]);
  expect(ids).toHaveLength(6);
  expect(new Set(ids).size).toBe(6);
});

/** What the services' naming documents allow; the namer's own table is checked beside it. */
const PATTERNS: Readonly<Record<string, RegExp>> = {
  azurerm_resource_group: /^[\w.()-]{1,89}[\w()-]$/, azurerm_key_vault: /^(?=.{3,24}$)[a-zA-Z](?:-?[a-zA-Z0-9])+$/, azurerm_storage_account: /^[a-z0-9]{3,24}$/, azurerm_attestation_provider: /^[a-z0-9]{3,24}$/,
  azurerm_container_registry: /^[a-zA-Z0-9]{5,50}$/, azurerm_linux_virtual_machine_scale_set: /^[a-zA-Z0-9][\w.-]{0,62}[a-zA-Z0-9_]$/, azurerm_postgresql_flexible_server: /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/,
  azurerm_cdn_frontdoor_endpoint: /^[a-zA-Z0-9][a-zA-Z0-9-]{0,44}[a-zA-Z0-9]$/, azurerm_cdn_frontdoor_firewall_policy: /^[a-zA-Z][a-zA-Z0-9]{0,127}$/, azurerm_log_analytics_workspace: /^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$/,
  azurerm_data_protection_backup_vault: /^[A-Za-z][-A-Za-z0-9]{1,49}$/, azurerm_disk_encryption_set: /^[\w-]{1,80}$/, azurerm_user_assigned_identity: /^[a-zA-Z0-9][\w-]{2,127}$/, azurerm_private_endpoint: /^[a-zA-Z0-9][\w.-]{0,78}\w$/,
  azurerm_application_insights_workbook: /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, azurerm_storage_container: /^[a-z0-9](?:-?[a-z0-9]){2,62}$/, azapi_resource: /^[a-zA-Z0-9-]{1,127}$/,
  azurerm_cdn_frontdoor_origin: /^[a-zA-Z0-9][a-zA-Z0-9-]{0,88}[a-zA-Z0-9]$/, azurerm_cdn_frontdoor_custom_domain: /^[a-zA-Z0-9][a-zA-Z0-9-]{0,258}[a-zA-Z0-9]$/, azurerm_resource_group_policy_assignment: /^[^<>*%&:?.+/]{1,64}$/,
  azurerm_consumption_budget_resource_group: /^[\w-]{1,63}$/, azurerm_private_dns_zone: /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]+$/, azurerm_lb: /^[a-zA-Z0-9][\w.-]{0,78}\w$/,
};
test.each(ENVIRONMENT_NAMES)('%s: names are ones that the services take, and unique by kind', (env) => {
  for (const [type, pattern] of Object.entries(PATTERNS)) {
    const names = azureOf(env).resources(type).map(({ body }) => String(body['name']));
    expect(names.length, type).toBeGreaterThan(0);
    for (const name of names) expect(name, type).toMatch(pattern);
    expect(new Set(names).size, type).toBe(names.length);
  }
  const [group] = azureOf(env).resources('azurerm_monitor_action_group');
  expect(String(group?.body['short_name']).length).toBeLessThanOrEqual(12);
});

test.each(ENVIRONMENT_NAMES)('%s: everything with tags has all four, keys of azapi too, and nothing of the directory', (env) => {
  const tagged = azureOf(env).resources(/.*/).filter(({ body }) => 'tags' in body);
  expect(tagged.length).toBeGreaterThan(90);
  for (const { body, name } of tagged) expect(body['tags'], name).toMatchObject({ app: 'ccc', env, 'cost-center': expect.any(String), 'data-class': 'restricted' });
  for (const { body } of azureOf(env).resources('azapi_resource')) expect(body['tags']).toMatchObject({ 'rotation-days': '90', app: 'ccc' });
  for (const { body } of azureOf(env).resources(/^azuread_/)) expect(body).not.toHaveProperty('tags');
});

test('copies in the paired region only where that is inside the residency', () => {
  expect(new Set(azureOf('dev').resources('azurerm_storage_account').map(({ body }) => body['account_replication_type']))).toEqual(new Set(['ZRS']));
  expect(new Set(azureOf('prod').resources('azurerm_storage_account').map(({ body }) => body['account_replication_type']))).toEqual(new Set(['GZRS']));
  const geo = (env: 'dev' | 'prod'): unknown => azureOf(env).resources('azurerm_postgresql_flexible_server').find(({ body }) => body['create_mode'] === 'Default')?.body['geo_redundant_backup_enabled'];
  expect([geo('dev'), geo('prod')]).toEqual([false, true]);
});

test('the pipeline deploys and can neither use a key, enter a VM nor give itself more', () => {
  const definitions = azureOf('prod').resources('azurerm_role_definition');
  const body = definitions.find(({ name }) => name.includes('deployer'))?.body ?? {};
  for (const definition of definitions) for (const action of definition.body['permissions'][0].data_actions as string[]) expect(action).not.toMatch(/decrypt|unwrap|sign|release|secrets|purge|delete|\*/i);
  expect(definitions.find(({ name }) => name.includes('key-maker'))?.body['permissions'][0].actions).toEqual([]);
  const makes = azureOf('prod').resources('azurerm_role_assignment').filter((r) => r.name.includes('apply-makes')).map((r) => String(r.body['scope']));
  expect(makes).toHaveLength(2);
  for (const target of makes) expect(target).not.toContain('attested');
  const [permissions] = body['permissions'] as { actions: string[]; not_actions: string[]; data_actions: string[] }[];
  expect(permissions?.actions).not.toContain('*');
  expect(permissions?.actions.some((action) => /^Microsoft\.Authorization\/(?:\*|locks\/(?:\*|delete)|roleDefinitions\/(?:\*|write))/.test(action))).toBe(false);
  expect(permissions?.not_actions).toContain('Microsoft.Compute/virtualMachineScaleSets/virtualMachines/runCommand/action');
  const writes = azureOf('prod').resources('azurerm_role_assignment').filter((r) => r.name.includes('apply-writes'));
  expect(writes).toHaveLength(2);
  for (const { body: given } of writes) {
    expect(given['condition_version']).toBe('2.0');
    expect(given['condition']).toContain("StringEqualsIgnoreCase {'ServicePrincipal'}");
    expect(given['condition'].match(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g)).toHaveLength(16);
  }
  const subjects = azureOf('prod').resources('azurerm_federated_identity_credential').map(({ body: credential }) => credential['subject']);
  expect(subjects.sort()).toEqual(['environment:prod', 'pull_request', 'ref:refs/heads/main'].map((subject) => `repo:example/confidential-cat-counter:${subject}`));
  // Azure refuses two that are written at once; both are of the identity that reads.
  const [second, first] = ['identity_plan-github-main_', 'identity_plan-github_'].map((name) => azureOf('prod').resources('azurerm_federated_identity_credential').find((r) => r.name.startsWith(name)));
  expect(second?.body['depends_on']).toEqual([`azurerm_federated_identity_credential.${String(first?.name)}`]);
});

const azure = (over: Partial<Environment['azure']>): Environment => ({ ...ENVIRONMENTS.prod, azure: { ...ENVIRONMENTS.prod.azure, ...over } });
test.each<[string, Environment, RegExp]>([
  ['azure.pairedReplication', { ...ENVIRONMENTS.dev, azure: { ...ENVIRONMENTS.dev.azure, pairedReplication: true } }, /westus, outside the residency/],
  ['azure.standbyLocation', { ...ENVIRONMENTS.prod, residency: { ...ENVIRONMENTS.prod.residency, azure: ['westeurope', 'northeurope', 'francecentral'] }, azure: { ...ENVIRONMENTS.prod.azure, standbyLocation: 'francecentral' } }, /northeurope/],
  ['azure.vmSize', azure({ vmSize: 'Standard_DC4es_v6' }), /SEV-SNP/],
  ['azure.attestationRegion', azure({ attestationRegion: 'West Europe' }), /short name/],
  ['azure.keyPeriod.number', azure({ keyPeriod: { number: 0, start: '2026-12-01T00:00:00Z' } }), /whole number/],
  ['azure.keyPeriod.start', azure({ keyPeriod: { number: 1, start: 'tomorrow' } }), /a day/],
  ['azure.budgetStart', azure({ budgetStart: '2026-12-02T00:00:00Z' }), /first of a month/],
  ['azure.workbookId', azure({ workbookId: 'x' }), /UUID/],
  ['azure.subscriptionId', azure({ subscriptionId: 'x' }), /UUID/],
  ['azure.database.sku', azure({ database: { ...ENVIRONMENTS.prod.azure.database, sku: 'B_Standard_B1ms' } }), /burstable/],
  ['azure.database.storageMb', azure({ database: { ...ENVIRONMENTS.prod.azure.database, storageMb: 50_000 } }), /sizes/],
  ['azure.images.versions.green', azure({ images: { ...ENVIRONMENTS.prod.azure.images, versions: { blue: '1.0.0', green: 'latest' } } }), /never latest/],
])('%s: refused by name', (field, environment, why) => {
  let thrown: unknown;
  try { checkEnvironment(environment); } catch (error) { thrown = error; }
  expect(thrown).toBeInstanceOf(ConfigurationError);
  expect((thrown as ConfigurationError).field).toBe(`environments.${environment.name}.${field}`);
  expect((thrown as ConfigurationError).message).toMatch(why);
});

test('constructs refuse what cannot be deployed', () => {
  const stack = new TerraformStack(new App({ outdir: tmpdir() }), 'refusals');
  const scope: AzureScope = { named: namer(ENVIRONMENTS.dev), group: { name: 'g', id: 'g' } as never, location: 'eastus', tenantId: 't', subscriptionId: 's', protect: false };
  const fleet = {
    scope, logs: { workspaceId: 'w' }, role: 'broker', generation: 'blue', vmSize: 'Standard_DC4as_v6', zones: ['1', '2', '3'], subnetId: 's', imageId: '/x/versions/1.0.0', diskEncryptionSetId: 'd', attestationUri: 'https://m', adminPublicKey: 'k',
    customData: '#cloud-config\n{}', identity: { id: 'i' } as never, count: { min: 1, max: 2 }, scaling: { on: 'cpu', out: 60, in: 20 },
  } as const;
  expect(() => new Fleet(stack, 'size', { ...fleet, vmSize: 'Standard_D4as_v5' })).toThrow(/confidential size/);
  expect(() => new Fleet(stack, 'tdx', { ...fleet, vmSize: 'Standard_DC4es_v6' })).toThrow(/SEV-SNP/);
  expect(() => new Fleet(stack, 'image', { ...fleet, imageId: '/x/versions/latest' })).toThrow(/one version/);
  expect(() => new Fleet(stack, 'count', { ...fleet, count: { min: 3, max: 2 } })).toThrow(/count\.max/);
  expect(() => new Fleet(stack, 'flaps', { ...fleet, scaling: { on: 'cpu', out: 20, in: 20 } })).toThrow(/flap/);
  expect(() => new Network(stack, 'network', { scope, cidr: '192.168.0.0/24', ddosProtection: false })).toThrow(/vnetCidr/);
});

test('burn-rate alerts: two windows each, the budget of the target', () => {
  for (const window of WINDOWS) {
    const query = burnQuery(window, 0.999);
    expect(query).toContain('let budget = 0.001000;');
    expect(query).toContain(`where short > ${window.factor} and long > ${window.factor}`);
    expect(query.match(/ago\(\w+\)/g)).toHaveLength(2);
  }
  expect(azureOf('prod').resources('azurerm_monitor_scheduled_query_rules_alert_v2').filter(({ body }) => body['display_name'].startsWith('burn-'))).toHaveLength(2);
  expect(JSON.parse(workbook('id', 0.999)).items.length).toBeGreaterThan(5);
  expect(() => burnQuery({ ...(WINDOWS[0] as (typeof WINDOWS)[number]), short: 'P1D' }, 0.999)).toThrow(/window/);
});

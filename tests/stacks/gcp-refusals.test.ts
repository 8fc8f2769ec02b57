/** Values that a cell on Google Cloud cannot have stop the synthesis with the field's name. */
import './light.ts';
import { App, TerraformStack } from 'cdktf';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkEnvironment, type Environment, ENVIRONMENTS } from '../../modules/environments.ts';
import { cut } from '../../modules/gcp/addresses.ts';
import { Audit } from '../../modules/gcp/audit.ts';
import { Edge } from '../../modules/gcp/edge.ts';
import { InfraKey } from '../../modules/gcp/infra-key.ts';
import { ADMINISTRATOR_PERMISSIONS, KeyDuties, PIPELINE_PERMISSIONS } from '../../modules/gcp/key-duties.ts';
import { NodePool } from '../../modules/gcp/node-pool.ts';
import { namer } from '../../modules/naming.ts';
import { tagsOf } from '../../modules/tags.ts';

describe('bad values stop the synthesis', () => {
  const named = namer(ENVIRONMENTS.prod);
  const scope = (): TerraformStack => new TerraformStack(new App({ outdir: mkdtempSync(join(tmpdir(), 'ccc-gcp-bad-')) }), 'stack');
  const pool = { named, role: 'counter', tee: 'SEV_SNP', machineType: 'n2d-standard-4', cluster: 'c', region: 'europe-west4', zones: ['a', 'b'], min: 1, max: 2, keyId: 'k', serviceAccount: 's', podRange: 'p', tags: tagsOf(ENVIRONMENTS.prod), dependsOn: [] } as const;
  const key = { named, part: 'infra', location: 'europe-west4', projectNumber: '1', agents: ['sql'], rotationDays: 90, deletionDays: 30, protect: true } as const;
  const duties = { named, project: 'p', projectNumber: '1', administrators: 'group:a@example.com', attested: [`principalSet://x/attribute.image_digest/sha256:${'a'.repeat(64)}`], pipeline: 'ci@p.iam.gserviceaccount.com', dependsOn: [] };

  test.each<[string, () => unknown, RegExp]>([
    ['TDX on an AMD machine', () => new NodePool(scope(), 'x', { ...pool, tee: 'TDX' }), /machine type that has TDX/],
    ['SNP on an Intel machine', () => new NodePool(scope(), 'x', { ...pool, machineType: 'c3-standard-4' }), /machine type that has SEV_SNP/],
    ['one zone', () => new NodePool(scope(), 'x', { ...pool, zones: ['a'] }), /two zones/],
    ['a maximum under the minimum', () => new NodePool(scope(), 'x', { ...pool, min: 5, max: 2 }), /x\.max/],
    ['slow rotation', () => new InfraKey(scope(), 'x', { ...key, rotationDays: 91 }), /rotationDays/],
    ['quick destruction', () => new InfraKey(scope(), 'x', { ...key, deletionDays: 29 }), /deletionDays/],
    ['a key for no service', () => new InfraKey(scope(), 'x', { ...key, agents: [] }), /agents/],
    ['an account as administrator', () => new KeyDuties(scope(), 'x', { ...duties, administrators: 'serviceAccount:x@y.z' }), /administrators/],
    ['a whole pool that may use keys', () => new KeyDuties(scope(), 'x', { ...duties, attested: ['principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*'] }), /image digest/],
    ['short logs', () => new Audit(scope(), 'x', { named, project: 'p', region: 'r', keyId: 'k', logDays: 364, archiveDays: 400, lock: 'reversible', protect: false, dependsOn: [] }), /logDays/],
    ['a short archive', () => new Audit(scope(), 'x', { named, project: 'p', region: 'r', keyId: 'k', logDays: 365, archiveDays: 30, lock: 'reversible', protect: false, dependsOn: [] }), /archiveDays/],
    ['no throttle', () => new Edge(scope(), 'x', { named, domains: ['a.example.com'], requestsPerMinute: 0, tags: tagsOf(ENVIRONMENTS.prod) }), /requestsPerMinute/],
    ['an address instead of a name', () => new Edge(scope(), 'x', { named, domains: ['https://x'], requestsPerMinute: 60, tags: tagsOf(ENVIRONMENTS.prod) }), /DNS names/],
    ['a small network', () => cut('10.40.0.0/20'), /\/16/],
    ['a public network', () => cut('8.8.0.0/16'), /10\.0\.0\.0/],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(message);
  });

  test.each<[string, Partial<Environment['gcp']>]>([
    ['gatewayMachineType', { gatewayMachineType: 'e2-standard-4' }], ['confidentialSpaceImage', { confidentialSpaceImage: 'projects/confidential-space-images/global/images/family/confidential-space-debug' }], ['confidentialSpaceImage', { confidentialSpaceImage: 'projects/confidential-space-images/global/images/confidential-space-debug-260900' }],
    ['keyAdministrators', { keyAdministrators: 'allUsers' }], ['rbacGroup', { rbacGroup: 'admins@example.com' }], ['networkCidr', { networkCidr: '10.0.0.0/8' }], ['project', { project: 'X' }], ['projectNumber', { projectNumber: 'ccc' }], ['billingAccount', { billingAccount: '1' }],
    ['mirrored.sqlProxy', { mirrored: { ...ENVIRONMENTS.prod.gcp.mirrored, sqlProxy: 'latest' } }], ['mirrored.devicePlugin', { mirrored: { ...ENVIRONMENTS.prod.gcp.mirrored, devicePlugin: `sha256:${'0'.repeat(64)}` } }], ['gateways.max', { gateways: { min: 3, max: 2 } }],
  ])('environments: gcp.%s', (field, gcp) => {
    expect(() => checkEnvironment({ ...ENVIRONMENTS.prod, gcp: { ...ENVIRONMENTS.prod.gcp, ...gcp } })).toThrow(`gcp.${field}`);
  });

  test('permissions are listed once, and the two duties share no destruction and no grant', () => {
    expect(new Set(ADMINISTRATOR_PERMISSIONS).size).toBe(ADMINISTRATOR_PERMISSIONS.length);
    expect(new Set(PIPELINE_PERMISSIONS).size).toBe(PIPELINE_PERMISSIONS.length);
    const both = ADMINISTRATOR_PERMISSIONS.filter((p) => (PIPELINE_PERMISSIONS as readonly string[]).includes(p));
    expect(both.filter((p) => /destroy|setIamPolicy/.test(p))).toEqual([]);
  });
});

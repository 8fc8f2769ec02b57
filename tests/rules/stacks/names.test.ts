/** Names: each way of breaking one is noticed (rules.test.ts has every stack). */
import { describe, expect, test } from 'vitest';
import { findings } from './rule.ts';
import { names } from './rules/names.ts';
import { type Body, blocks, clone, type Template, templates } from './template.ts';

const said = (t: Template): string[] => findings([names], [t]).map((f) => `${f.address}: ${f.why}`);

/** Stack, type, attribute, a name that the service refuses, and what is said. */
const BROKEN: readonly (readonly [stack: string, type: string, attribute: string, value: string, why: RegExp])[] = [
  ['ccc-aws-prod', 'aws_s3_bucket', 'bucket', 'ccc_prod', /lower-case/], ['ccc-aws-prod', 'aws_s3_bucket', 'bucket', 'ccc-prod--ol-s3', /ending/], ['ccc-aws-prod', 'aws_lb', 'name', `ccc-${'x'.repeat(30)}`, /1 to 32/], ['ccc-aws-prod', 'aws_lb', 'name', 'internal-ccc', /beginning/],
  ['ccc-aws-prod', 'aws_lb_target_group', 'name', 'x'.repeat(33), /1 to 32/], ['ccc-aws-prod', 'aws_iam_role', 'name', 'x'.repeat(65), /1 to 64/], ['ccc-aws-prod', 'aws_kms_alias', 'name', 'ccc-prod-data', /alias/], ['ccc-aws-prod', 'aws_kms_alias', 'name', 'alias/aws/x', /alias/],
  ['ccc-aws-prod', 'aws_backup_restore_testing_plan', 'name', 'ccc-prod-restore', /does not match/], ['ccc-aws-prod', 'aws_rds_cluster', 'cluster_identifier', 'ccc-prod-', /lower-case/], ['ccc-aws-prod', 'aws_rds_cluster', 'database_name', 'ccc-ledger', /does not match/], ['ccc-aws-prod', 'aws_security_group', 'name', 'sg-ccc', /beginning/],
  ['ccc-azure-prod', 'azurerm_key_vault', 'name', `ccc-${'x'.repeat(21)}`, /3 to 24/], ['ccc-azure-prod', 'azurerm_storage_account', 'name', 'ccc-prod-store', /letters and digits/], ['ccc-azure-prod', 'azurerm_attestation_provider', 'name', 'ccc-prod', /letters and digits/], ['ccc-azure-prod', 'azurerm_cdn_frontdoor_firewall_policy', 'name', 'ccc-prod-edge', /letters and digits/],
  ['ccc-azure-prod', 'azurerm_linux_virtual_machine_scale_set', 'computer_name_prefix', 'ccc-prod-x', /1 to 9/], ['ccc-azure-prod', 'azurerm_container_registry', 'name', 'ccc-prod', /letters and digits/], ['ccc-azure-prod', 'azurerm_monitor_action_group', 'short_name', 'ccc-prod-alerts', /does not match/], ['ccc-azure-prod', 'azurerm_user_assigned_identity', 'name', 'x', /does not match/],
  ['ccc-gcp-prod', 'google_service_account', 'account_id', 'ccc', /6 to 30/], ['ccc-gcp-prod', 'google_iam_workload_identity_pool', 'workload_identity_pool_id', 'gcp-pool', /beginning/], ['ccc-gcp-prod', 'google_iam_workload_identity_pool_provider', 'workload_identity_pool_provider_id', 'tdx', /4 to 32/],
  ['ccc-gcp-prod', 'google_iam_workload_identity_pool', 'display_name', 'x'.repeat(33), /does not match/], ['ccc-gcp-prod', 'google_container_cluster', 'name', `c${'x'.repeat(40)}`, /1 to 40/], ['ccc-gcp-prod', 'google_compute_region_instance_template', 'name_prefix', 'x'.repeat(38), /does not match/], ['ccc-gcp-prod', 'google_storage_bucket', 'name', 'goog-ccc', /beginning/],
  ['ccc-gcp-prod', 'google_kms_key_ring', 'name', 'ccc.ring', /lower-case/], ['ccc-gcp-prod', 'google_dns_managed_zone', 'dns_name', 'googleapis.com', /does not match/], ['edge-prod', 'aws_route53_zone', 'name', 'ccc_.example..com', /does not match/],
];

describe('broken names', () => {
  test.each(BROKEN)('%s %s.%s = %s', (stack, type, attribute, value, why) => {
    const t = clone(templates().find((x) => x.stack === stack) as Template);
    const block = blocks(t, type)[0];
    expect(block).toBeDefined();
    expect(block?.body[attribute]).toBeTypeOf('string');
    (block?.body as Body)[attribute] = value;
    expect(said(t)).toEqual([expect.stringMatching(why)]);
  });

  test('a type that nobody looked up, a name given twice, a name that Kubernetes refuses', () => {
    const aws = clone(templates().find((x) => x.stack === 'ccc-aws-prod') as Template);
    ((aws.json['resource'] as Body)['aws_sqs_queue'] as unknown) = { x: { name: 'x' } };
    expect(said(aws)).toEqual([expect.stringMatching(/^aws_sqs_queue.x: no known limit/)]);

    const twice = clone(templates().find((x) => x.stack === 'ccc-gcp-prod') as Template);
    const [first, second] = blocks(twice, 'google_service_account');
    (second?.body as Body)['account_id'] = first?.body['account_id'] ?? null;
    expect(said(twice)).toEqual([expect.stringMatching(/has the name of/)]);

    const k8s = clone(templates().find((x) => x.stack === 'ccc-gcp-k8s-prod') as Template);
    const service = blocks(k8s, 'kubernetes_service_v1')[0]?.body as Body;
    const metadata = (Array.isArray(service['metadata']) ? service['metadata'][0] : service['metadata']) as Body;
    metadata['name'] = '1-gateway';
    expect(said(k8s)).toEqual([expect.stringMatching(/no name of Kubernetes/)]);
  });
});

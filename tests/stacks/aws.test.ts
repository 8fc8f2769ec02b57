/** What is particular to the AWS stacks. The rules that hold for every cloud are in tests/rules. */
import './light.ts';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import cdktf from 'cdktf';
import { afterAll, describe, expect, it } from 'vitest';
import { AttestedKey } from '../../modules/aws/attested-key.ts';
import { dataKeyPolicy, infraKeyPolicy, PCRS, ROADS_AROUND } from '../../modules/aws/key-policy.ts';
import { retentionOf } from '../../modules/aws/log-group.ts';
import { when } from '../../modules/aws/policy.ts';
import { ConfigurationError } from '../../modules/configuration-error.ts';
import { type Environment, ENVIRONMENTS, type EnvironmentName } from '../../modules/environments.ts';
import { type MeasurementLock, placeholderLock } from '../../modules/measurements.ts';
import { AwsStack } from '../../stacks/aws.ts';

type Block = Record<string, any>;
const folders: string[] = [];
afterAll(() => { for (const folder of folders) rmSync(folder, { recursive: true, force: true }); });

function synthesize(environment: Environment, lock: MeasurementLock = placeholderLock()): Block {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-aws-'));
  folders.push(outdir);
  const app = new cdktf.App({ outdir });
  new AwsStack(app, `ccc-aws-${environment.name}`, { environment, lock });
  app.synth();
  return JSON.parse(readFileSync(join(outdir, 'stacks', `ccc-aws-${environment.name}`, 'cdk.tf.json'), 'utf8'));
}
const stacks = Object.fromEntries((['dev', 'staging', 'prod'] as const).map((name) => [name, synthesize(ENVIRONMENTS[name])])) as Record<EnvironmentName, Block>;
const of = (stack: Block, type: string): [string, Block][] => Object.entries(stack['resource'][type] ?? {});
const values = (stack: Block, type: string): Block[] => of(stack, type).map(([, block]) => block);
const byId = (stack: Block, type: string, part: string): Block => {
  const found = of(stack, type).filter(([id]) => id.startsWith(part));
  expect(found.map(([id]) => id)).toHaveLength(1);
  return found[0]?.[1] ?? {};
};
/** Statements behind a reference as `${data.aws_iam_policy_document.x.json}`. */
const statements = (stack: Block, reference: string): Block[] => stack['data']['aws_iam_policy_document'][/document\.(.+)\.json/.exec(reference)?.[1] ?? '']['statement'];

describe('keys', () => {
  const principals = { broker: 'arn:broker', keyAdmin: 'arn:key-admin', breakGlass: 'arn:break-glass', apply: 'arn:apply', plan: 'arn:plan' };
  const lock = placeholderLock();

  it.each(['dev', 'staging', 'prod'] as const)('%s: primary and replica of a key have one policy, and rotate', (name) => {
    for (const part of ['data-key', 'infra-key']) {
      const primary = byId(stacks[name], 'aws_kms_key', `${part}_primary`);
      const replica = byId(stacks[name], 'aws_kms_replica_key', `${part}_replica`);
      expect(replica['policy']).toBe(primary['policy']);
      expect(primary).toMatchObject({ multi_region: true, enable_key_rotation: true, rotation_period_in_days: 90, deletion_window_in_days: 30 });
      expect(replica).toMatchObject({ region: ENVIRONMENTS[name].aws.standbyRegion, deletion_window_in_days: 30 });
    }
  });

  it('decrypts for brokers of both generations, and for nobody else', () => {
    const allowed = dataKeyPolicy(lock, principals).filter(({ effect, actions }) => effect !== 'Deny' && actions?.some((action) => action === 'kms:Decrypt' || action.startsWith('kms:GenerateDataKey')));
    expect(allowed).toHaveLength(1);
    expect(allowed[0]?.principals).toEqual([{ type: 'AWS', identifiers: ['arn:broker'] }]);
    const { blue, green } = lock.roles.broker;
    for (const pcr of PCRS) {
      expect(allowed[0]?.condition).toContainEqual(when('StringEqualsIgnoreCase', `kms:RecipientAttestation:${pcr}`, blue.nitro[pcr], green?.nitro[pcr] ?? ''));
      expect(JSON.stringify(allowed)).not.toContain(lock.roles.counter.blue.nitro[pcr]);
    }
  });

  it('takes the old generation out of the list with its entry', () => {
    const text = JSON.stringify(dataKeyPolicy({ ...lock, roles: { ...lock.roles, broker: { blue: lock.roles.broker.blue } } }, principals));
    expect(text).toContain(lock.roles.broker.blue.nitro.PCR0);
    expect(text).not.toContain(lock.roles.broker.green?.nitro.PCR0);
  });

  it('gives administrators neither use nor grants, and policy changes to break-glass alone', () => {
    for (const policy of [dataKeyPolicy(lock, principals), infraKeyPolicy({ ...principals, account: '111111111111', regions: ['us-east-1'], autoscaling: 'arn:autoscaling', trail: 'arn:trail', logPrefix: '/ccc/' })]) {
      const may = (arn: string): string[] => policy.filter(({ effect, principals: of_ }) => effect !== 'Deny' && of_?.some(({ identifiers }) => identifiers.includes(arn))).flatMap(({ actions }) => [...(actions ?? [])]);
      for (const arn of ['arn:key-admin', 'arn:break-glass', 'arn:apply', 'arn:plan']) {
        expect(may(arn).filter((action) => /Decrypt|Encrypt|GenerateData|ReEncrypt|CreateGrant|\*/.test(action))).toEqual([]);
        expect(may(arn).includes('kms:PutKeyPolicy')).toBe(arn === 'arn:break-glass');
      }
      expect(policy.find(({ sid }) => sid === 'DenyPolicyChange')).toMatchObject({ effect: 'Deny', actions: ['kms:PutKeyPolicy'], condition: [when('ArnNotEquals', 'aws:PrincipalArn', 'arn:break-glass')] });
    }
  });

  it('denies unattested calls, and every road around them, to everyone', () => {
    const policy = dataKeyPolicy(lock, principals);
    expect(policy.find(({ sid }) => sid === 'DenyUnattested')).toMatchObject({ effect: 'Deny', actions: ['kms:Decrypt', 'kms:GenerateDataKey'], principals: [{ identifiers: ['*'] }], condition: [when('Null', 'kms:RecipientAttestation:ImageSha384', 'true')] });
    const around = policy.find(({ sid }) => sid === 'DenyRoadsAround');
    expect(around).toMatchObject({ effect: 'Deny', principals: [{ identifiers: ['*'] }], actions: [...ROADS_AROUND] });
    expect(around?.condition).toBeUndefined();
  });

  it.each([
    ['an allowance without attestation', (policy: ReturnType<typeof dataKeyPolicy>) => policy.map((s) => (s.sid === 'AttestedBroker' ? { ...s, condition: [] } : s))],
    ['no denial of unattested calls', (policy: ReturnType<typeof dataKeyPolicy>) => policy.filter(({ sid }) => sid !== 'DenyUnattested')],
    ['all actions at once', (policy: ReturnType<typeof dataKeyPolicy>) => [...policy, { sid: 'All', actions: ['kms:*'], resources: ['*'], principals: [{ type: 'AWS' as const, identifiers: ['arn:x'] }] }]],
  ])('is not made with %s', (_, weaken) => {
    const stack = new cdktf.TerraformStack(new cdktf.App(), 'x');
    const props = { description: 'x', alias: 'x', standbyRegion: 'us-west-2', rotationDays: 90, deletionDays: 30, protect: false };
    expect(() => new AttestedKey(stack, 'good', { ...props, policy: dataKeyPolicy(lock, principals) })).not.toThrow();
    expect(() => new AttestedKey(stack, 'bad', { ...props, policy: weaken(dataKeyPolicy(lock, principals)) })).toThrow(ConfigurationError);
  });
});

describe('fleets', () => {
  it('are parents of enclaves for brokers and counters, plain instances for gateways', () => {
    for (const [id, template] of of(stacks.prod, 'aws_launch_template')) {
      expect(template['enclave_options']).toEqual({ enabled: !id.includes('gateway') });
      expect(template['metadata_options']).toMatchObject({ http_tokens: 'required', http_put_response_hop_limit: 1 });
      expect(template).not.toHaveProperty('key_name');
      expect(template['block_device_mappings'][0].ebs).toMatchObject({ encrypted: 'true' });
    }
    expect(values(stacks.prod, 'aws_launch_template')).toHaveLength(6);
  });

  it('boot the enclave of their role and colour', () => {
    const { roles } = placeholderLock();
    for (const role of ['broker', 'counter'] as const) {
      for (const colour of ['blue', 'green'] as const) {
        const text = byId(stacks.prod, 'aws_launch_template', `fleets_${role}_${colour}-template`)['user_data'];
        expect(text).toMatch(/^\$\{base64encode\("#!\/bin\/bash\\n/);
        const own = roles[role][colour]?.nitro.PCR0 ?? '';
        expect(text).toContain(`eif/${own}.eif`);
        for (const other of [roles.broker.blue, roles.broker.green, roles.counter.blue, roles.counter.green]) if (other?.nitro.PCR0 !== own) expect(text).not.toContain(other?.nitro.PCR0);
      }
    }
    const gateway = byId(stacks.prod, 'aws_launch_template', 'fleets_gateway_green-template')['user_data'];
    expect(gateway).toContain(`ccc-prod-gateway@${roles.gateway.green?.image}`);
    expect(gateway).toMatch(/"LEDGER_WRITER_HOST", aws_rds_cluster\.data_ledger_\w+\.endpoint\)/);
  });

  it('may fetch the enclaves of their own role only', () => {
    const { roles } = placeholderLock();
    const text = JSON.stringify(statements(stacks.prod, byId(stacks.prod, 'aws_iam_role_policy', 'fleets_counter_instance-permissions')['policy']));
    expect(text).toContain(roles.counter.blue.nitro.PCR0);
    expect(text).not.toContain(roles.broker.blue.nitro.PCR0);
    expect(text).not.toContain('kms:GenerateDataKey');
  });

  it.each([['dev', 100, 0], ['staging', 90, 10], ['prod', 90, 10]] as const)('%s: colours share the traffic %i to %i, and the capacity', (name, blue, green) => {
    const forward = byId(stacks[name], 'aws_lb_listener', 'edge_https')['default_action'][0].forward;
    expect(forward.target_group.map(({ weight }: Block) => weight)).toEqual([blue, green]);
    const { min, max } = ENVIRONMENTS[name].aws.fleet;
    expect(byId(stacks[name], 'aws_autoscaling_group', 'fleets_counter_blue')).toMatchObject({ min_size: min, max_size: max });
    expect(byId(stacks[name], 'aws_autoscaling_group', 'fleets_counter_green')).toMatchObject({ min_size: Math.ceil((min * green) / 100), max_size: Math.ceil((max * green) / 100) });
  });

  it('send nothing to a colour that has no images', () => {
    const lock = placeholderLock();
    const stack = synthesize(ENVIRONMENTS.prod, { ...lock, roles: { gateway: { blue: lock.roles.gateway.blue }, broker: { blue: lock.roles.broker.blue }, counter: { blue: lock.roles.counter.blue } } });
    expect(byId(stack, 'aws_lb_listener', 'edge_https')['default_action'][0].forward.target_group[1].weight).toBe(0);
    for (const role of ['gateway', 'broker', 'counter']) expect(byId(stack, 'aws_autoscaling_group', `fleets_${role}_green`)).toMatchObject({ min_size: 0, max_size: 0 });
  });

  it('wait for their boot, and refuse types that cannot host the enclave', () => {
    for (const [id, group] of of(stacks.prod, 'aws_autoscaling_group')) {
      expect(group['vpc_zone_identifier']).toHaveLength(3);
      expect(group['initial_lifecycle_hook']).toEqual([{ default_result: 'ABANDON', heartbeat_timeout: 600, lifecycle_transition: 'autoscaling:EC2_INSTANCE_LAUNCHING', name: 'boot' }]);
      expect(group['lifecycle'].precondition ?? []).toHaveLength(id.includes('gateway') ? 0 : 3);
      expect(group['tag'].map(({ key }: Block) => key)).toEqual(expect.arrayContaining(['app', 'env', 'cost-center', 'data-class']));
    }
  });

  it('follow the age of the oldest due job', () => {
    const age = byId(stacks.prod, 'aws_autoscaling_policy', 'fleets_counter_blue-age')['target_tracking_configuration'];
    expect(age).toMatchObject({ target_value: 30, customized_metric_specification: { namespace: 'ccc', metric_name: 'oldest_due_seconds', statistic: 'Maximum', metric_dimension: [{ name: 'cell', value: 'aws-prod' }] } });
    const backlog = byId(stacks.prod, 'aws_autoscaling_policy', 'fleets_counter_blue-backlog')['target_tracking_configuration'].customized_metric_specification.metrics;
    expect(backlog.filter(({ return_data }: Block) => return_data)).toHaveLength(1);
  });
});

describe('network', () => {
  it('has one address range open, at the edge, and no way out for enclaves', () => {
    for (const stack of Object.values(stacks)) {
      const open = [...of(stack, 'aws_vpc_security_group_ingress_rule'), ...of(stack, 'aws_vpc_security_group_egress_rule')].filter(([, rule]) => 'cidr_ipv4' in rule || 'cidr_ipv6' in rule);
      expect(open.map(([, { from_port, to_port }]) => [from_port, to_port])).toEqual([[443, 443]]);
      expect(of(stack, 'aws_nat_gateway')).toEqual([]);
      expect(values(stack, 'aws_route')).toHaveLength(1);
      const edge = byId(stack, 'aws_route', 'network_edge-default')['route_table_id'];
      for (const [id, { route_table_id: table }] of of(stack, 'aws_route_table_association')) expect(table === edge).toBe(id.startsWith('network_edge'));
      for (const rule of values(stack, 'aws_vpc_security_group_ingress_rule')) expect(rule['from_port'] > 22 || rule['to_port'] < 22).toBe(true);
    }
  });

  it('has a policy on every endpoint', () => {
    const endpoints = values(stacks.prod, 'aws_vpc_endpoint');
    expect(endpoints.map(({ service_name }) => service_name.split('eu-central-1.')[1]).sort()).toEqual(['autoscaling', 'ecr.api', 'ecr.dkr', 'kms', 'logs', 'monitoring', 's3', 'secretsmanager', 'ssm', 'sts']);
    for (const { policy } of endpoints) {
      for (const { condition, actions } of statements(stacks.prod, policy)) {
        expect(condition).toContainEqual({ test: 'StringEquals', variable: 'aws:PrincipalAccount', values: ['333333333333'] });
        expect(actions.filter((action: string) => action.includes('*'))).toEqual([]);
      }
    }
  });

  it('lets counters reach gateways and endpoints, not the database, brokers or each other', () => {
    const to = values(stacks.prod, 'aws_vpc_security_group_egress_rule').filter(({ security_group_id }) => security_group_id.includes('network_counter-group')).map(({ referenced_security_group_id: group, prefix_list_id: list }) => (group === undefined ? list : group).replace(/^\$\{aws_\w+\.network_|_[0-9A-F]{8}\..*$/g, ''));
    expect(to.sort()).toEqual(['endpoints-group', 'internal-group', 's3-endpoint']);
  });
});

describe('what must last', () => {
  it('is protected in prod, and only there', () => {
    for (const type of ['aws_kms_key', 'aws_kms_replica_key', 'aws_rds_cluster', 'aws_s3_bucket', 'aws_backup_vault', 'aws_cloudtrail']) {
      for (const { lifecycle } of values(stacks.prod, type)) expect(lifecycle?.prevent_destroy).toBe(true);
      for (const { lifecycle } of values(stacks.dev, type)) expect(lifecycle?.prevent_destroy).toBe(false);
    }
    expect(byId(stacks.prod, 'aws_rds_cluster', 'data')).toMatchObject({ deletion_protection: true, skip_final_snapshot: false, storage_encrypted: true, iam_database_authentication_enabled: true });
  });

  it('is locked for good in prod, and only there', () => {
    const modes = (stack: Block): string[] => [...new Set(values(stack, 'aws_s3_bucket_object_lock_configuration').map(({ rule }) => rule.default_retention.mode))];
    expect([modes(stacks.dev), modes(stacks.staging), modes(stacks.prod)]).toEqual([['GOVERNANCE'], ['GOVERNANCE'], ['COMPLIANCE']]);
    const grace = (stack: Block): unknown[] => values(stack, 'aws_backup_vault_lock_configuration').map(({ changeable_for_days: days }) => days);
    expect([grace(stacks.dev), grace(stacks.staging), grace(stacks.prod)]).toEqual([[undefined, undefined], [undefined, undefined], [3, 3]]);
  });

  it('is copied to the standby region', () => {
    expect(values(stacks.prod, 'aws_s3_bucket_replication_configuration')).toHaveLength(3);
    expect(byId(stacks.prod, 'aws_backup_plan', 'data')['rule'][0].copy_action).toHaveLength(1);
    expect(values(stacks.prod, 'aws_s3_bucket').filter(({ region }) => region === 'eu-west-1')).toHaveLength(4);
  });

  it('keeps logs at least as long as asked', () => {
    for (const name of ['dev', 'prod'] as const) for (const { retention_in_days: days, kms_key_id: key } of values(stacks[name], 'aws_cloudwatch_log_group')) {
      expect(days).toBeGreaterThanOrEqual(ENVIRONMENTS[name].retention.logs);
      expect(key).toContain('infra-key_primary');
    }
    expect([365, 366, 2_555].map(retentionOf)).toEqual([365, 400, 2_557]);
    expect(() => retentionOf(364)).toThrow(ConfigurationError);
  });
});

describe('alarms', () => {
  it('burn at 14.4 and 6 times the budget of the target', () => {
    const threshold = (stack: Block, part: string): number => byId(stack, 'aws_cloudwatch_metric_alarm', `observability_burn-${part}`)['threshold'];
    expect(['fast-long', 'fast-short', 'slow-long', 'slow-short'].map((part) => threshold(stacks.prod, part))).toEqual([0.0144, 0.0144, 0.006, 0.006]);
    expect(threshold(synthesize({ ...ENVIRONMENTS.dev, sloTarget: 0.99 }), 'fast-long')).toBe(0.144);
    expect(byId(stacks.prod, 'aws_cloudwatch_composite_alarm', 'observability_slo-fast')['alarm_rule']).toMatch(/^ALARM\(".*burn-fast-long.*"\) AND ALARM\(".*burn-fast-short.*"\)$/);
  });

  it('ring when the data key was used without attestation', () => {
    const pattern = byId(stacks.prod, 'aws_cloudwatch_log_metric_filter', 'audit_unattested-key-use-filter')['pattern'];
    expect(pattern).toContain('attestationDocumentEnclaveImageDigest NOT EXISTS');
    expect(pattern).toContain('data-key_primary');
    expect(pattern).toContain('data-key_replica');
    expect(byId(stacks.prod, 'aws_cloudwatch_metric_alarm', 'audit_unattested-key-use-alarm')).toMatchObject({ threshold: 0, comparison_operator: 'GreaterThanThreshold' });
  });

  it('shows what the cell does', () => {
    const body = byId(stacks.prod, 'aws_cloudwatch_dashboard', 'observability')['dashboard_body'];
    for (const metric of ['jobs_total', 'refusals_total', 'release_p99_seconds', 'oldest_due_seconds', 'RequestCount']) expect(body).toContain(metric);
  });
});

describe('identities', () => {
  it('are GitHub workflows of one repository and environment, for an hour', () => {
    for (const name of ['dev', 'prod'] as const) {
      const subjects = (part: string): string[] => statements(stacks[name], byId(stacks[name], 'aws_iam_role', `identity_${part}`)['assume_role_policy']).flatMap(({ condition }) => (condition ?? []).filter(({ variable }: Block) => variable.endsWith(':sub')).flatMap((one: Block) => one['values']));
      expect(subjects('apply')).toEqual([`repo:example/confidential-cat-counter:environment:${name}`]);
      expect(subjects('plan')).toEqual(['repo:example/confidential-cat-counter:pull_request', 'repo:example/confidential-cat-counter:ref:refs/heads/main']);
      for (const role of values(stacks[name], 'aws_iam_role')) {
        expect(role['max_session_duration']).toBe(3_600);
        expect(role['permissions_boundary']).toContain('identity_boundary');
      }
    }
  });

  it('plans read, but not contents', () => {
    const plan = statements(stacks.prod, byId(stacks.prod, 'aws_iam_role_policy', 'identity_plan')['policy']);
    const allowed: string[] = plan.filter(({ effect }) => effect !== 'Deny').flatMap(({ actions }) => actions);
    expect(allowed.filter((action) => !/:(?:Describe|Get|List|View)|^kms:(?:Decrypt|GenerateDataKey)$/.test(action))).toEqual([]);
    expect(plan.find(({ sid }) => sid === 'NotContents')?.['resources']).toContain('arn:aws:s3:::ccc-prod-images-p1x8/*');
    // State is under a key of its own; the actions above are for that one.
    expect(plan.find(({ sid }) => sid === 'StateKey')?.['condition']).toContainEqual({ test: 'ForAnyValue:StringEquals', variable: 'kms:ResourceAliases', values: ['alias/ccc-prod-tfstate'] });
  });

  it('fit into the sizes that IAM and KMS give policies', () => {
    const size = (stack: Block, reference: string): number => JSON.stringify(statements(stack, reference)).replaceAll(/\$\{[^}]+\}/g, 'x'.repeat(80)).length;
    for (const policy of values(stacks.prod, 'aws_iam_policy')) expect(size(stacks.prod, policy['policy'])).toBeLessThan(6_144);
    for (const policy of values(stacks.prod, 'aws_iam_role_policy')) expect(size(stacks.prod, policy['policy'])).toBeLessThan(10_240);
    for (const key of values(stacks.prod, 'aws_kms_key')) expect(size(stacks.prod, key['policy'])).toBeLessThan(32_768);
  });
});

describe('the firewall', () => {
  it('stands before the public load balancer, logs, and blocks what it should', () => {
    const acl = byId(stacks.prod, 'aws_wafv2_web_acl', 'edge');
    const groups = acl['rule'].map((rule: Block) => rule['statement'].managed_rule_group_statement?.name ?? rule['name']);
    expect(groups).toEqual(['AWSManagedRulesAmazonIpReputationList', 'rate', 'AWSManagedRulesKnownBadInputsRuleSet', 'AWSManagedRulesCommonRuleSet', 'AWSManagedRulesAnonymousIpList']);
    expect(new Set(acl['rule'].map(({ priority }: Block) => priority)).size).toBe(groups.length);
    expect(byId(stacks.prod, 'aws_wafv2_web_acl_association', 'edge')['resource_arn']).toContain('aws_lb.edge_public');
    expect(byId(stacks.prod, 'aws_cloudwatch_log_group', 'edge_firewall')['name']).toMatch(/^aws-waf-logs-/);
    expect(byId(stacks.prod, 'aws_lb_listener', 'edge_https')).toMatchObject({ port: 443, protocol: 'HTTPS', ssl_policy: 'ELBSecurityPolicy-TLS13-1-2-2021-06' });
  });

  it('is advanced protection where the environment says so', () => {
    expect([stacks.dev, stacks.staging, stacks.prod].map((stack) => values(stack, 'aws_shield_protection').length)).toEqual([0, 0, 1]);
  });
});

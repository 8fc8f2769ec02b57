/** The synthesized stacks hang together: every reference names something, none goes in a circle, two syntheses are equal, no id has moved. */
import { expect, test } from 'vitest';
import { type Environment, ENVIRONMENTS } from '../../../modules/environments.ts';
import { graph } from './graph.ts';
import { blocks, clone, synthesize, type Template, templates } from './template.ts';

test.each(templates().map((t) => [t.stack, t] as const))('%s: no dangling reference, no circle', (_, t) => {
  const { dangling, cycles, edges } = graph(t);
  expect(dangling).toEqual([]);
  expect(cycles).toEqual([]);
  expect(edges.size).toBeGreaterThan(0);
});

test('a reference to nothing and a circle are found', () => {
  const t = clone(templates()[0] ?? never('at all'));
  t.json['resource'] = {
    aws_kms_key: { a: { policy: '${aws_s3_bucket.b.arn}' } },
    aws_s3_bucket: { b: { bucket: '${aws_sqs_queue.c.arn}-x${data.aws_region.gone.name}' } },
    aws_sqs_queue: { c: { depends_on: ['aws_kms_key.a'] } },
  };
  expect(graph(t).cycles).toEqual(['aws_kms_key.a -> aws_s3_bucket.b -> aws_sqs_queue.c -> aws_kms_key.a']);
  expect(graph(t).dangling).toContain('aws_s3_bucket.b -> data.aws_region.gone');
});

test('two syntheses are equal, byte for byte', () => {
  const [first, second] = [synthesize(), synthesize()];
  expect([...second.keys()]).toEqual([...first.keys()]);
  for (const [stack, text] of first) expect(second.get(stack) === text, stack).toBe(true);
});

test('which stacks there are', () => {
  expect(templates().map((t) => t.stack)).toEqual(['dev', 'prod', 'staging'].flatMap((e) => [`ccc-aws-${e}`, `ccc-azure-${e}`, `ccc-gcp-${e}`, `ccc-gcp-k8s-${e}`, `edge-${e}`]).sort());
});

/** All that an environment may have and another one not, by the setting that asks for it; where it does, it is there. */
const ONLY_WHERE: readonly { readonly cloud: string; readonly address: RegExp; readonly where: (e: Environment) => boolean }[] = [
  { cloud: 'ccc-aws', address: /_green-(?:releases|age|backlog|cpu|requests)$/, where: (e) => e.canaryPercent > 0 },
  { cloud: 'ccc-aws', address: /^aws_guardduty_detector\.audit_threats$/, where: (e) => e.aws.threatDetection },
  { cloud: 'ccc-aws', address: /^aws_shield_protection\.edge_shield$/, where: (e) => e.aws.shield === 'advanced' },
  { cloud: 'ccc-azure', address: /-green-fleet_autoscale(?:-logs)?$/, where: (e) => e.canaryPercent > 0 },
  // Azure chooses the region of the copies: there are some, and a key for them there, only where the residency holds that region.
  { cloud: 'ccc-azure', address: /[._](?:paired-key|links_vault-geo|apply-makes-paired-key)(?:_|$)/, where: (e) => e.azure.pairedReplication },
  { cloud: 'ccc-azure', address: /^azurerm_management_lock\.(?:audit_group-lock|identity_lock-[a-z-]+)$/, where: (e) => e.lock === 'irreversible' },
  { cloud: 'ccc-azure', address: /^azurerm_network_ddos_protection_plan\.network_ddos$/, where: (e) => e.azure.ddosProtection },
  { cloud: 'ccc-gcp', address: /^google_compute_region_instance_template\.brokers_template-green$/, where: (e) => e.canaryPercent > 0 },
  { cloud: 'ccc-gcp', address: /^google_container_node_pool\.fleet_counters-snp_pool$/, where: (e) => e.gcp.counterTees.includes('SEV_SNP') },
  { cloud: 'ccc-gcp-k8s', address: /\.counters-snp-/, where: (e) => e.gcp.counterTees.includes('SEV_SNP') },
  { cloud: 'ccc-gcp-k8s', address: /-green(?:_(?:deployment|autoscaler|disruptions|service)|-armor|-health)$/, where: (e) => e.canaryPercent > 0 },
];
/** Construct paths without what cdktf hashes, and without the names of the environment that some contain. */
const constructs = (t: Template, { name, domain, hosts }: Environment): Set<string> => {
  const dashed = (text: string): string => text.replaceAll('.', '-');
  const own = [dashed(domain), ...Object.values(hosts).map(dashed)].sort((a, b) => b.length - a.length);
  return new Set(blocks(t).map(({ address }) => own.reduce((text, each) => text.replace(each, '<host>'), address.replace(/_[0-9A-F]{8}$/, '')).replace(`-${name}-`, '-<env>-')));
};

test.each(['ccc-aws', 'ccc-azure', 'ccc-gcp', 'ccc-gcp-k8s', 'edge'])('%s: the same constructs in all environments, but for those that a setting of the table asks for', (cloud) => {
  const settings = ONLY_WHERE.filter((one) => one.cloud === cloud);
  const names = ['dev', 'staging', 'prod'] as const;
  const of = names.map((name) => ({ e: ENVIRONMENTS[name], has: constructs(templates().find((t) => t.stack === `${cloud}-${name}`) ?? never(cloud), ENVIRONMENTS[name]) }));
  const all = [...new Set(of.flatMap(({ has }) => [...has]))];
  expect(all.length).toBeGreaterThan(0);
  for (const { e, has } of of) {
    expect(all.filter((one) => has.has(one) !== settings.filter(({ address }) => address.test(one)).every(({ where }) => where(e))), e.name).toEqual([]);
  }
  // A line of the table that fits nothing is out of date.
  expect(settings.filter(({ address }) => !all.some((one) => address.test(one)))).toEqual([]);
});

function never(what: string): never {
  throw new Error(`no stack ${what}`);
}

/** The synthesized stacks hang together: every reference names something, none goes in a circle, two syntheses are equal, no id has moved. */
import { expect, test } from 'vitest';
import { graph } from './graph.ts';
import { blocks, clone, synthesize, templates } from './template.ts';

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

test('addresses of a stack differ between environments only where the table says so', () => {
  // Same constructs everywhere: what differs is values.
  for (const cloud of ['ccc-aws', 'ccc-azure', 'ccc-gcp', 'ccc-gcp-k8s', 'edge']) {
    const types = (['dev', 'staging', 'prod'] as const).map((e) => new Set(blocks(templates().find((t) => t.stack === `${cloud}-${e}`) ?? never(cloud)).map((b) => b.address)));
    const [dev, staging] = types;
    expect([...(dev as Set<string>)].filter((a) => !(staging as Set<string>).has(a)), `${cloud}: in dev, not in staging`).toEqual([]);
  }
});

function never(what: string): never {
  throw new Error(`no stack ${what}`);
}

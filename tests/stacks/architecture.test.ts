/** docs/architecture.md shows what is synthesized. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DOCUMENT, DRAWN, holdingsOf, mermaid, synthesizedStacks, withDiagrams } from '../../scripts/stacks/diagram.ts';
import { topology } from '../../scripts/stacks/topology.ts';

const stacks = synthesizedStacks();
const document = readFileSync(DOCUMENT, 'utf8');
const parts = (name: string) => topology(JSON.parse(stacks.get(name) ?? 'null') as Record<string, unknown>);

test('the committed diagrams are those of the synthesized stacks', () => {
  expect(withDiagrams(document, stacks), 'run: npm run docs:architecture').toBe(document);
});

test('a stack without a place in the document is an error', () => {
  expect(() => withDiagrams(document.replace('<!-- diagram of edge-prod -->', ''), stacks)).toThrow(/edge-prod/);
});

describe.each(DRAWN)('%s', (name) => {
  test('every fleet, key, database, bucket, edge and endpoint is in the document by its name', () => {
    const drawing = new RegExp(`<!-- diagram of ${name} -->([^]*?)<!-- end -->`).exec(document)?.[1] ?? '';
    const named = holdingsOf(parts(name));
    expect(named.length).toBeGreaterThan(3);
    for (const holding of named) expect(drawing).toContain(holding.name);
  });
});

/** What each cloud's production must show, by kind: a type that left the table of kinds would leave the diagram unseen. */
const LEAST = {
  'ccc-aws-prod': { fleet: 6, key: 4, database: 3, bucket: 8, edge: 3, endpoint: 10, registry: 1 },
  'ccc-azure-prod': { fleet: 6, key: 4, vault: 3, database: 2, bucket: 2, edge: 2, endpoint: 10, attestation: 1 },
  'ccc-gcp-prod': { fleet: 3, key: 5, database: 2, bucket: 3, edge: 2, endpoint: 3, cluster: 1 },
  'ccc-gcp-k8s-prod': { fleet: 6, edge: 7 },
} as const;

test.each(Object.entries(LEAST))('%s shows at least what it is made of', (name, least) => {
  const kinds = holdingsOf(parts(name)).map(({ kind }) => kind);
  for (const [kind, count] of Object.entries(least)) expect(kinds.filter((k) => k === kind).length, kind).toBeGreaterThanOrEqual(count);
});

describe('topology', () => {
  const resource = (path: string, more: object = {}) => ({ '//': { metadata: { path } }, ...more });

  test('references become arrows between constructs, not within one, nor to what does not exist', () => {
    const found = topology({
      resource: {
        aws_kms_key: { k: resource('s/keys/main') },
        aws_s3_bucket: { a: resource('s/store/a', { kms: '${aws_kms_key.k.arn}' }), b: resource('s/store/b', { x: '${aws_s3_bucket.a.id} ${aws_s3_bucket.zz.id}', text: 'aws_kms_key.k' }) },
        aws_sns_topic: { t: resource('s/alerts/t', { depends_on: ['aws_s3_bucket.b', 'data.aws_region.r'] }) },
      },
      data: { aws_region: { r: resource('s/where/r') } },
    });
    expect(found.map(({ name, refersTo }) => [name, refersTo])).toEqual([['alerts', ['store', 'where']], ['keys', []], ['store', ['keys']], ['where', []]]);
    expect(mermaid(found)).toContain('store --> keys');
  });

  test('metadata is no reference', () => {
    expect(topology({ resource: { aws_kms_key: { k: resource('s/keys/k') }, aws_s3_bucket: { a: { '//': { metadata: { path: 's/store/a', note: '${aws_kms_key.k.arn}' } } } } } })[1]?.refersTo).toEqual([]);
  });

  test('a resource without a path is refused', () => {
    expect(() => topology({ resource: { aws_kms_key: { k: {} } } })).toThrow(/no construct path/);
  });
});

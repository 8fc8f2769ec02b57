/** `npm run docs:architecture`: the diagrams of docs/architecture.md from the synthesized JSON of production. The prose around them is written by hand and stays. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Holding, type Part, topology } from './topology.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const DOCUMENT = join(ROOT, 'docs', 'architecture.md');
export const DRAWN = ['ccc-aws-prod', 'ccc-azure-prod', 'ccc-gcp-prod', 'ccc-gcp-k8s-prod', 'edge-prod'] as const;

const LANES = {
  public: { title: 'public', parts: /^(?:edge|failover)$/ },
  workloads: { title: 'workloads', parts: /fleet|brokers$|balancer|^gateways?|^counters?|device-plugin/ },
  keys: { title: 'keys and what opens them', parts: /key|disk-encryption|images|registry/ },
  state: { title: 'state', parts: /^(?:data|store|restore-test)$/ },
  watching: { title: 'watches and bounds', parts: /audit|observability|budget|alerts|defender|metrics|measurements|guardrails/ },
  ground: { title: 'ground', parts: /./ },
} as const;
type Lane = keyof typeof LANES;
const laneOf = ({ name }: Part): Lane => (Object.keys(LANES) as Lane[]).find((lane) => LANES[lane].parts.test(name)) ?? 'ground';

/** One node for each construct, one arrow for each pair of which one refers to the other. What watches refers to all that it watches: those arrows, and those to the ground, would hide the rest. */
export function mermaid(parts: readonly Part[]): string {
  const lines = ['flowchart LR'];
  for (const [lane, { title }] of Object.entries(LANES)) {
    const inside = parts.filter((part) => laneOf(part) === lane);
    if (inside.length === 0) continue;
    lines.push(`  subgraph lane-${lane}["${title}"]`, ...inside.map((part) => `    ${part.name}["${label(part)}"]`), '  end');
  }
  const drawn = new Set(parts.filter((part) => !['watching', 'ground'].includes(laneOf(part))).map(({ name }) => name));
  for (const { name, refersTo } of parts) if (drawn.has(name)) lines.push(...refersTo.filter((to) => drawn.has(to)).map((to) => `  ${name} --> ${to}`));
  return lines.join('\n');
}

function label({ name, holdings, resources }: Part): string {
  const kinds = new Map<string, string[]>();
  for (const { kind, name: holding } of holdings) kinds.set(kind, [...(kinds.get(kind) ?? []), holding]);
  return [`<b>${name}</b> (${resources})`, ...[...kinds].map(([kind, names]) => `${kind}: ${wrapped(names.sort())}`)].join('<br/>');
}

/** Four names a line. */
const wrapped = (names: readonly string[]): string => names.map((name, i) => (i === 0 ? name : `${i % 4 === 0 ? ',<br/>' : ', '}${name}`)).join('');

/** Names of everything of a kind that a diagram shows. */
export const holdingsOf = (parts: readonly Part[]): Holding[] => parts.flatMap(({ holdings }) => [...holdings]);

const block = (stack: string): RegExp => new RegExp(`(<!-- diagram of ${stack} -->\n)[^]*?(<!-- end -->)`);

/** The document with its diagrams drawn anew. @param stacks synthesized JSON by stack. @throws Error when the document has no place for one of them */
export function withDiagrams(document: string, stacks: ReadonlyMap<string, string>): string {
  return DRAWN.reduce((text, stack) => {
    const json = stacks.get(stack);
    if (json === undefined || !block(stack).test(text)) throw new Error(`${stack}: not synthesized, or no place for its diagram in docs/architecture.md`);
    const drawing = mermaid(topology(JSON.parse(json) as Record<string, unknown>));
    return text.replace(block(stack), (_, start: string, end: string) => `${start}\`\`\`mermaid\n${drawing}\n\`\`\`\n${end}`);
  }, document);
}

/** All drawn stacks, synthesized in a process of its own. */
export function synthesizedStacks(): Map<string, string> {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-diagram-'));
  try {
    const { status, stderr } = spawnSync(process.execPath, ['stacks/main.ts'], { cwd: ROOT, env: { ...process.env, CDKTF_OUTDIR: outdir }, encoding: 'utf8' });
    if (status !== 0) throw new Error(`the stacks do not synthesize:\n${stderr}`);
    return new Map(DRAWN.map((name) => [name, readFileSync(join(outdir, 'stacks', name, 'cdk.tf.json'), 'utf8')]));
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(DOCUMENT, withDiagrams(readFileSync(DOCUMENT, 'utf8'), synthesizedStacks()));
  process.stderr.write('wrote docs/architecture.md\n');
}

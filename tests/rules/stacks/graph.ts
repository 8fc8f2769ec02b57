/** References of a stack: those to nothing, and circles, which cdktf synthesizes without a word. */
import { blocks, references, type Body, type Json, type Template } from './template.ts';

const PROVIDERS = /^(?:data\.)?(?:aws|azurerm|azuread|azapi|google|kubernetes|terraform)_/;

export function graph(t: Template): { dangling: string[]; cycles: string[]; edges: Map<string, string[]> } {
  const nodes = new Map<string, Json>(blocks(t).map((b) => [b.address, b.body]));
  for (const [name, value] of Object.entries((t.json['locals'] ?? {}) as Body)) nodes.set(`local.${name}`, value);
  for (const [name, value] of Object.entries((t.json['variable'] ?? {}) as Body)) nodes.set(`var.${name}`, value);
  for (const [name, value] of Object.entries((t.json['output'] ?? {}) as Body)) nodes.set(`output.${name}`, value);
  for (const [name, value] of Object.entries((t.json['provider'] ?? {}) as Body)) nodes.set(`provider.${name}`, value);

  const edges = new Map<string, string[]>();
  const dangling: string[] = [];
  for (const [address, body] of nodes) {
    const to = references(body);
    edges.set(address, to.filter((other) => nodes.has(other) && other !== address));
    dangling.push(...to.filter((other) => !nodes.has(other) && (PROVIDERS.test(other) || /^(?:local|var)\./.test(other))).map((other) => `${address} -> ${other}`));
  }
  return { dangling, cycles: cyclesOf(edges), edges };
}

function cyclesOf(edges: Map<string, string[]>): string[] {
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (node: string, path: string[]): void => {
    if (state.get(node) === 'done') return;
    if (state.get(node) === 'open') { cycles.push([...path.slice(path.indexOf(node)), node].join(' -> ')); return; }
    state.set(node, 'open');
    for (const next of edges.get(node) ?? []) visit(next, [...path, node]);
    state.set(node, 'done');
  };
  for (const node of edges.keys()) visit(node, []);
  return cycles;
}

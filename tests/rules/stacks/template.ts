/** The synthesized JSON of the stacks, as rules read it. Synthesis runs once per test process, in memory of a folder of its own. */
import '../../stacks/light.ts';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'cdktf';
import { type Inputs, synthesizeInto } from '../../../stacks/all.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Body = { [key: string]: Json };

export interface Block {
  readonly kind: 'resource' | 'data';
  readonly type: string;
  readonly name: string;
  /** As Terraform writes it: `aws_kms_key.x`, `data.aws_caller_identity.y`. */
  readonly address: string;
  readonly body: Body;
}

export interface Template {
  readonly stack: string;
  readonly cloud: 'aws' | 'azure' | 'gcp' | 'k8s' | 'edge';
  readonly environment: 'dev' | 'staging' | 'prod';
  readonly json: Body;
}

/** All stacks with the bytes that were written. @throws ConfigurationError as the synthesis does */
export function synthesize(inputs?: Inputs): Map<string, string> {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-synth-'));
  try {
    const app = new App({ outdir });
    synthesizeInto(app, inputs);
    app.synth();
    return new Map(readdirSync(join(outdir, 'stacks')).sort().map((stack) => [stack, readFileSync(join(outdir, 'stacks', stack, 'cdk.tf.json'), 'utf8')]));
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

export function template(stack: string, text: string): Template {
  const environment = (['dev', 'staging', 'prod'] as const).find((name) => stack.endsWith(`-${name}`));
  const cloud = stack.startsWith('edge-') ? 'edge' : stack.startsWith('ccc-gcp-k8s-') ? 'k8s' : (['aws', 'azure', 'gcp'] as const).find((name) => stack.startsWith(`ccc-${name}-`));
  if (environment === undefined || cloud === undefined) throw new Error(`no stack of ours: ${stack}`);
  return { stack, cloud, environment, json: JSON.parse(text) as Body };
}

let once: Template[] | undefined;
/** The stacks as they are in the tree; the caller changes none of them. */
export const templates = (): readonly Template[] => (once ??= [...synthesize()].map(([stack, text]) => template(stack, text)));

export const clone = (t: Template): Template => ({ ...t, json: structuredClone(t.json) });

export function blocks(t: Template, type?: string | RegExp): Block[] {
  const found: Block[] = [];
  for (const kind of ['resource', 'data'] as const) {
    for (const [blockType, named] of Object.entries((t.json[kind] ?? {}) as Record<string, Record<string, Body>>)) {
      if (type !== undefined && (typeof type === 'string' ? type !== blockType : !type.test(blockType))) continue;
      for (const [name, body] of Object.entries(named)) found.push({ kind, type: blockType, name, address: `${kind === 'data' ? 'data.' : ''}${blockType}.${name}`, body });
    }
  }
  return found;
}

export const resources = (t: Template, type?: string | RegExp): Block[] => blocks(t, type).filter((b) => b.kind === 'resource');

/** Value at a path of keys and indexes; the first element where a list stands and a key is asked for, as Terraform writes single blocks both ways. */
export function at(value: Json | undefined, ...path: readonly (string | number)[]): Json | undefined {
  let here = value;
  for (const step of path) {
    if (Array.isArray(here)) {
      if (typeof step === 'number') { here = here[step]; continue; }
      here = here[0];
    }
    if (here === null || typeof here !== 'object' || Array.isArray(here)) return undefined;
    here = (here as Body)[String(step)];
  }
  return here;
}

export const list = (value: Json | undefined): Json[] => (value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]);

/** Every string below a value, with its path; cdktf's own notes (`//`) left out. */
export function* strings(value: Json | undefined, path = ''): Generator<{ path: string; text: string }> {
  if (typeof value === 'string') yield { path, text: value };
  else if (Array.isArray(value)) for (const [i, each] of value.entries()) yield* strings(each, `${path}[${i}]`);
  else if (value !== null && typeof value === 'object') for (const [key, each] of Object.entries(value)) if (key !== '//') yield* strings(each, path === '' ? key : `${path}.${key}`);
}

/** The addresses that a value names, by `${...}` and in depends_on. */
export function references(value: Json | undefined): string[] {
  const found = new Set<string>();
  for (const { path, text } of strings(value)) {
    if (!path.includes('depends_on') && !path.includes('replace_triggered_by') && !text.includes('${')) continue;
    for (const m of text.matchAll(/(?<![\w.$-])((?:data\.)?[a-z][a-z0-9]*_[a-z0-9_]+\.[A-Za-z_][\w-]*|local\.[\w-]+|var\.[\w-]+)/g)) found.add(m[1] as string);
  }
  return [...found];
}

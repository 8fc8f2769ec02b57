/**
 * Reads a TensorFlow.js graph model: `model.json` (a GraphDef in JSON and a weights manifest) and its weight shards.
 *
 *   modelTopology.node[]   {name, op, input: ["node" | "node:output"], attr}
 *   weightsManifest[]      {paths: [shard file], weights: [{name, shape, dtype}]}: tensors follow one another in the shards, little-endian
 */
import { z } from 'zod';

const attrSchema = z.looseObject({
  /** Bytes of a string, as numbers. */
  s: z.array(z.number()).optional(),
  f: z.number().optional(),
  b: z.boolean().optional(),
  list: z.looseObject({ i: z.array(z.string()).optional() }).optional(),
});
const modelSchema = z.looseObject({
  modelTopology: z.looseObject({
    node: z.array(z.looseObject({ name: z.string(), op: z.string(), input: z.array(z.string()).default([]), attr: z.record(z.string(), attrSchema).default({}) })),
  }),
  weightsManifest: z.array(z.looseObject({
    paths: z.array(z.string()),
    weights: z.array(z.strictObject({ name: z.string(), shape: z.array(z.number().int().min(0)), dtype: z.enum(['float32', 'int32']) })),
  })),
});

export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** Names of nodes, always their first output. */
  readonly input: readonly string[];
  readonly attr: z.infer<typeof modelSchema>['modelTopology']['node'][number]['attr'];
}
export interface Graph {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly constants: ReadonlyMap<string, Tensor>;
}

/**
 * @param file gives the bytes of a file beside model.json
 * @throws ZodError or Error when the files are not a graph model with plain float32 and int32 weights
 */
export function readGraph(file: (name: string) => Uint8Array): Graph {
  const model = modelSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file('model.json'))));
  const nodes = new Map<string, GraphNode>(model.modelTopology.node.map((node) => [node.name, node]));
  const constants = new Map<string, Tensor>();
  for (const group of model.weightsManifest) {
    const data = Buffer.concat(group.paths.map(file));
    let at = 0;
    for (const { name, shape, dtype } of group.weights) {
      const count = shape.reduce((n, d) => n * d, 1);
      const end = at + 4 * count;
      if (end > data.length) throw new Error(`weights end before ${name}`);
      const view = new DataView(data.buffer, data.byteOffset + at, 4 * count);
      constants.set(name, {
        shape,
        data: dtype === 'float32'
          ? Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true))
          : Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, true)),
      });
      at = end;
    }
    if (at !== data.length) throw new Error(`${data.length - at} bytes of weights belong to no tensor`);
  }
  return { nodes, constants };
}

/** A string attribute, e.g. `padding: "SAME"`. */
export function textAttr(node: GraphNode, name: string): string {
  return String.fromCharCode(...(node.attr[name]?.s ?? []));
}

/** A list of integers, e.g. `strides: [1, 2, 2, 1]`. */
export function intsAttr(node: GraphNode, name: string): number[] {
  return (node.attr[name]?.list?.i ?? []).map(Number);
}

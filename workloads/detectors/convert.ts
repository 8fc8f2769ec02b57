/**
 * Converts the TensorFlow.js graph of COCO-SSD (SSDLite MobileNetV2, 300 x 300) to ONNX, the same bytes on each machine.
 *
 * The graph is read from its twelve heads upwards to `Preprocessor/sub`. Each convolution carries the constants that
 * follow it (Mul, Add, BiasAdd, FusedBatchNorm) folded into its weights and bias: float64, one fixed order, rounded to
 * float32 once; only + - * / and sqrt, which IEEE 754 rounds correctly everywhere. Tensors are NCHW inside.
 *
 *   input   image     [1, 3, 300, 300]  RGB, value / 127.5 - 1
 *   output  encodings [1, 1917, 4]      ty, tx, th, tw against the anchors
 *   output  logits    [1, 1917, 91]     class 0 is background, the others are COCO's ids
 *   output  anchors   [1, 1917, 4]      ymin, xmin, ymax, xmax, normalised; a constant
 */
import { encodeOnnx, type OnnxNode, type OnnxTensor } from './onnx-proto.ts';
import { type Graph, type GraphNode, intsAttr, type Tensor, textAttr } from './tfjs-graph.ts';

const INPUT = 'Preprocessor/sub';
const ANCHORS = 'Postprocessor/ExpandDims';
const SIZE = 300;
const HEADS = 6;

/** A tensor of the new graph: [1, channels, size, size]. */
interface Made { readonly name: string; readonly channels: number; readonly size: number }
/** A convolution not written yet, because constants may still follow; `plus` are tensors added to it (residuals). */
interface Pending {
  readonly from: Made;
  readonly kernel: number;
  readonly stride: number;
  readonly group: number;
  readonly channels: number;
  /** OIHW. */
  readonly weights: Float64Array;
  readonly bias: Float64Array;
  readonly plus: readonly Made[];
}
type Value = Made | Pending;
const isPending = (value: Value): value is Pending => 'weights' in value;

/** y = conv(x) becomes y * scale + shift, per output channel. */
function affine(conv: Pending, scale: (channel: number) => number, shift: (channel: number) => number): Pending {
  const each = conv.weights.length / conv.channels;
  return {
    ...conv,
    weights: conv.weights.map((w, i) => w * scale(Math.floor(i / each))),
    bias: conv.bias.map((b, c) => b * scale(c) + shift(c)),
  };
}

export function convertCocoSsd(graph: Graph): Uint8Array {
  const nodes: OnnxNode[] = [];
  const tensors: OnnxTensor[] = [];
  const known = new Map<string, Value>([[INPUT, { name: 'image', channels: 3, size: SIZE }]]);
  const written = new Map<Value, Made>();

  const fail = (node: GraphNode, why: string): never => { throw new Error(`cannot convert ${node.op} ${node.name}: ${why}`); };
  function emit(op: string, input: string[], output: string, attributes?: OnnxNode['attributes']): string {
    nodes.push({ op, input, output, ...(attributes === undefined ? {} : { attributes }) });
    return output;
  }
  function constant(name: string, shape: readonly number[], data: Float32Array | BigInt64Array): string {
    tensors.push({ name, shape, data });
    return name;
  }
  function weightsOf(name: string | undefined): Tensor {
    const found = graph.constants.get(name ?? '');
    if (found === undefined) throw new Error(`${name} is not a constant`);
    return found;
  }
  /** One value per channel, or one for all. */
  function perChannel(node: GraphNode, name: string | undefined, channels: number): (channel: number) => number {
    const { data } = weightsOf(name);
    if (data.length !== 1 && data.length !== channels) return fail(node, `${data.length} values for ${channels} channels`);
    return (channel) => data[data.length === 1 ? 0 : channel] as number;
  }

  function convolution(node: GraphNode): Pending {
    const depthwise = node.op === 'DepthwiseConv2dNative';
    const from = write(value(node.input[0]), node.input[0] as string);
    const { shape, data } = weightsOf(node.input[1]);
    const [kernel, width, inputs, last] = shape as [number, number, number, number];
    const [, stride, strideX] = intsAttr(node, 'strides') as [number, number, number, number];
    if (textAttr(node, 'data_format') !== 'NHWC' || textAttr(node, 'padding') !== 'SAME') fail(node, 'only NHWC with SAME padding');
    if (kernel !== width || stride !== strideX || inputs !== from.channels || (depthwise && last !== 1)) fail(node, `shape ${shape}`);
    if (intsAttr(node, 'dilations').some((d) => d !== 1)) fail(node, 'dilated');
    const [channels, perGroup] = depthwise ? [inputs, 1] : [last, inputs];
    const weights = new Float64Array(data.length);
    // HWIO, or HWC1 for a depthwise one, to OIHW.
    for (let o = 0, to = 0; o < channels; o++) {
      for (let i = 0; i < perGroup; i++) {
        for (let hw = 0; hw < kernel * kernel; hw++, to++) {
          weights[to] = data[depthwise ? hw * channels + o : (hw * inputs + i) * channels + o] as number;
        }
      }
    }
    return { from, kernel, stride, group: depthwise ? channels : 1, channels, weights, bias: new Float64Array(channels), plus: [] };
  }

  /** Operations on a convolution that was not written yet; `constants` are the other operands. */
  function folded(node: GraphNode, conv: Pending, [second, ...rest]: readonly string[]): Pending {
    const of = (name: string | undefined) => perChannel(node, name, conv.channels);
    if (node.op === 'Add' || node.op === 'BiasAdd') return affine(conv, () => 1, of(second));
    if (conv.plus.length > 0) return fail(node, 'after a residual');
    if (node.op === 'Mul') return affine(conv, of(second), () => 0);
    if (node.op !== 'FusedBatchNorm') return fail(node, 'unknown operation');
    const [gamma, beta, mean, variance] = [of(second), of(rest[0]), of(rest[1]), of(rest[2])];
    const epsilon = node.attr['epsilon']?.f ?? fail(node, 'no epsilon');
    const scale = (c: number) => gamma(c) / Math.sqrt(variance(c) + epsilon);
    return affine(conv, scale, (c) => beta(c) - mean(c) * scale(c));
  }

  function residual(node: GraphNode): Value {
    const parts = node.input.map((name) => ({ name, value: value(name) }));
    const last = parts.findIndex((part) => isPending(part.value) && part.value.plus.length === 0 && !written.has(part.value));
    if (last < 0) return fail(node, 'no convolution to add to');
    const conv = parts[last]?.value as Pending;
    const others = parts.filter((_, i) => i !== last).map((part) => write(part.value, part.name));
    return { ...conv, plus: others };
  }

  function value(name: string | undefined): Value {
    const already = known.get(name ?? '');
    if (already !== undefined) return already;
    const node = graph.nodes.get(name ?? '');
    if (node === undefined) throw new Error(`no node ${name}`);
    const made = ((): Value => {
      if (node.op === 'Conv2D' || node.op === 'DepthwiseConv2dNative') return convolution(node);
      const [first, ...others] = node.input.filter((input) => !graph.constants.has(input));
      if (first === undefined) return fail(node, 'only constants');
      if (others.length > 0) return node.op === 'AddN' || node.op === 'Add' ? residual(node) : fail(node, 'several tensors');
      const input = value(first);
      if (node.op === 'Relu6') {
        const from = write(input, first);
        return { ...from, name: emit('Clip', [from.name, 'zero', 'six'], node.name) };
      }
      return isPending(input) ? folded(node, input, node.input.filter((name) => name !== first)) : fail(node, 'no convolution to fold it into');
    })();
    known.set(node.name, made);
    return made;
  }

  /** The tensor of a value, with its convolution written out under this name. */
  function write(what: Value, name: string): Made {
    if (!isPending(what)) return what;
    const already = written.get(what);
    if (already !== undefined) return already;
    const { from, kernel, stride, group, channels, weights, bias, plus } = what;
    const size = Math.ceil(from.size / stride);
    // TensorFlow's SAME padding: the odd pixel goes to the end.
    const pad = Math.max((size - 1) * stride + kernel - from.size, 0);
    const [begin, end] = [Math.floor(pad / 2), Math.ceil(pad / 2)];
    const w = constant(`${name}/weights`, [channels, weights.length / (channels * kernel * kernel), kernel, kernel], Float32Array.from(weights));
    const b = constant(`${name}/bias`, [channels], Float32Array.from(bias));
    let output = emit('Conv', [from.name, w, b], plus.length === 0 ? name : `${name}/conv`, {
      kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [begin, begin, end, end], group,
    });
    plus.forEach((other, i) => { output = emit('Add', [output, other.name], i === plus.length - 1 ? name : `${name}/sum${i}`); });
    const made = { name: output, channels, size };
    written.set(what, made);
    return made;
  }

  /** A head's Reshape: [1, anchors * depth, size, size] to [1, anchors, depth], anchors in the order of NHWC. */
  function head(name: string, depth: number): { name: string; count: number } {
    const node = graph.nodes.get(name);
    if (node?.op !== 'Reshape') throw new Error(`no head ${name}`);
    const from = write(value(node.input[0]), node.input[0] as string);
    const count = (from.channels * from.size * from.size) / depth;
    const nhwc = emit('Transpose', [from.name], `${name}/nhwc`, { perm: [0, 2, 3, 1] });
    const shape = constant(`${name}/shape`, [3], BigInt64Array.from([1n, BigInt(count), BigInt(depth)]));
    return { name: emit('Reshape', [nhwc, shape], name), count };
  }

  constant('zero', [], Float32Array.of(0));
  constant('six', [], Float32Array.of(6));
  const boxes = Array.from({ length: HEADS }, (_, i) => head(`BoxPredictor_${i}/Reshape`, 4));
  const classes = Array.from({ length: HEADS }, (_, i) => head(`BoxPredictor_${i}/Reshape_1`, 91));
  const anchors = weightsOf(ANCHORS);
  const count = boxes.reduce((n, h) => n + h.count, 0);
  if (!(anchors.data instanceof Float32Array) || anchors.data.length !== 4 * count) throw new Error(`${anchors.data.length / 4} anchors for ${count} boxes`);
  emit('Concat', boxes.map((h) => h.name), 'encodings', { axis: 1 });
  emit('Concat', classes.map((h) => h.name), 'logits', { axis: 1 });
  emit('Identity', [constant('anchors/constant', [1, count, 4], anchors.data)], 'anchors');

  return encodeOnnx({
    name: 'coco-ssd', nodes, tensors,
    inputs: [{ name: 'image', shape: [1, 3, SIZE, SIZE] }],
    outputs: [{ name: 'encodings', shape: [1, count, 4] }, { name: 'logits', shape: [1, count, 91] }, { name: 'anchors', shape: [1, count, 4] }],
  });
}

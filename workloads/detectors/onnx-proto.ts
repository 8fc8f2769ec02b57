/**
 * The few messages of ONNX (onnx.proto3, IR version 8) that a converted detector needs, with the field numbers of the
 * specification. Encoding is deterministic: fields in the order of their numbers, packed numbers, no maps.
 */
import protobuf from 'protobufjs';

const { root } = protobuf.parse(`
  syntax = "proto3";
  package onnx;
  message AttributeProto { string name = 1; float f = 2; int64 i = 3; bytes s = 4; TensorProto t = 5; repeated int64 ints = 8; int32 type = 20; }
  message NodeProto { repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4; repeated AttributeProto attribute = 5; }
  message TensorProto { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; }
  message Dimension { int64 dim_value = 1; }
  message TensorShapeProto { repeated Dimension dim = 1; }
  message TensorTypeProto { int32 elem_type = 1; TensorShapeProto shape = 2; }
  message TypeProto { TensorTypeProto tensor_type = 1; }
  message ValueInfoProto { string name = 1; TypeProto type = 2; }
  message GraphProto { repeated NodeProto node = 1; string name = 2; repeated TensorProto initializer = 5; repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12; }
  message OperatorSetIdProto { string domain = 1; int64 version = 2; }
  message ModelProto { int64 ir_version = 1; string producer_name = 2; GraphProto graph = 7; repeated OperatorSetIdProto opset_import = 8; }
`, { keepCase: true });
const Model = root.lookupType('onnx.ModelProto');

/** AttributeProto.AttributeType */
const INT = 2;
const INTS = 7;
/** TensorProto.DataType */
const FLOAT = 1;
const INT64 = 7;
const IR_VERSION = 8;
const OPSET = 13;

export interface OnnxNode {
  readonly op: string;
  readonly input: readonly string[];
  readonly output: string;
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}
export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** float32, or int64 for shapes. */
  readonly data: Float32Array | BigInt64Array;
}
export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly number[];
}
export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

function rawData(data: Float32Array | BigInt64Array): Uint8Array {
  const out = new Uint8Array(data.byteLength);
  const view = new DataView(out.buffer);
  if (data instanceof Float32Array) data.forEach((v, i) => view.setFloat32(4 * i, v, true));
  else data.forEach((v, i) => view.setBigInt64(8 * i, v, true));
  return out;
}

const valueInfo = ({ name, shape }: OnnxValue) => ({
  name, type: { tensor_type: { elem_type: FLOAT, shape: { dim: shape.map((n) => ({ dim_value: n })) } } },
});

/** The bytes of an `.onnx` file: the same graph gives the same bytes. */
export function encodeOnnx(graph: OnnxGraph): Uint8Array {
  return Model.encode({
    ir_version: IR_VERSION,
    producer_name: 'confidential-cat-counter',
    graph: {
      name: graph.name,
      node: graph.nodes.map((node) => ({
        input: node.input, output: [node.output], name: node.output, op_type: node.op,
        attribute: Object.entries(node.attributes ?? {}).map(([name, value]) => (typeof value === 'number' ? { name, i: value, type: INT } : { name, ints: value, type: INTS })),
      })),
      initializer: graph.tensors.map(({ name, shape, data }) => ({ dims: shape, data_type: data instanceof Float32Array ? FLOAT : INT64, name, raw_data: rawData(data) })),
      input: graph.inputs.map(valueInfo),
      output: graph.outputs.map(valueInfo),
    },
    opset_import: [{ domain: '', version: OPSET }],
  }).finish();
}

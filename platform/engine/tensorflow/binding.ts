/** The part of tfjs-node's native binding that the engine uses: any kernel of TensorFlow by its name, run at once on the tensors that are given. */
export interface Binding {
  readonly TF_Version: string;
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_UINT8: number;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  /** Wraps `data` where it lies at a multiple of 64 bytes, else copies it; either way it must stay as it is until the tensor is deleted. */
  createTensor(shape: readonly number[], type: number, data: Float32Array | Int32Array | Uint8Array): number;
  deleteTensor(id: number): void;
  /** A copy. */
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): readonly TensorInfo[];
  /** Tensors that were created and not deleted. */
  getNumOfTensors(): number;
}

export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

export interface TensorInfo {
  readonly id: number;
  readonly shape: readonly number[];
}

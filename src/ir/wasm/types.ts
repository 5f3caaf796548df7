/** Value types of the intermediate form: those of WebAssembly. */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** Their encodings, core specification 2.0 §5.3.1. */
export const VALUE_TYPE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** How an operation is encoded, and its types. */
export interface OpInfo {
  /** Opcode bytes, prefix first. */
  readonly code: readonly number[];
  readonly result: ValueType;
  readonly params: readonly ValueType[];
  /** Immediate bytes behind the opcode: lane numbers, each below `limit`. */
  readonly lanes?: { readonly count: number; readonly limit: number };
}

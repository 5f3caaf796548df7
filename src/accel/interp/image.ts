/** What `npm run build` makes of helpers, semantics and instruction table, loaded and compiled once per process. */
export interface InterpImage {
  /** helpers.wasm. */
  readonly helpers: WebAssembly.Module;
  /** For any of a machine's CPUs; otherwise for the only one. */
  readonly anyCpu: boolean;
  /** interpreter.wasm, or another of its kind. */
  readonly interpreter: WebAssembly.Module;
  /** Tables that drive the decoder, for LAYOUT.DECODER_TABLES. */
  readonly decoderTables: Uint8Array;
}

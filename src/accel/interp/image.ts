/** What `npm run build` makes of helpers, semantics and instruction table, loaded and compiled once per process. */
export interface InterpImage {
  /** helpers.wasm. */
  readonly helpers: WebAssembly.Module;
  /** interpreter.wasm. */
  readonly interpreter: WebAssembly.Module;
  /** Tables that drive the decoder, for LAYOUT.DECODER_TABLES. */
  readonly decoderTables: Uint8Array;
}

/** The entry of helpers.wasm: everything that interpreter, translator and driver call. */
export * from './aes';
export * from './crypto';
export * from './debug';
export * from './faults';
export * from './mmu';
export * from './mmx-integer';
export * from './mmx-pack';
export * from './paging';
export * from './sha';
export * from './sse-integer';
export * from './sse-moves';
export * from './sse-pack';
export * from './sse-shuffle';
export * from './sse41';
export * from './sse42-strings';
export * from './tlb';
export * from './xsave';

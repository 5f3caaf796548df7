/** The entry of helpers.wasm: everything that interpreter, translator and driver call. */
export * from './debug';
export * from './faults';
export * from './mmu';
export * from './paging';
export * from './tlb';

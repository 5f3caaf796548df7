/**
 * A page that is not isolated has no name for shared memory, but WebAssembly has it all the same (WebAssembly Threads, "Web embedding"): it can
 * only not be posted. So a machine on one worker is built of the same modules.
 */
const { buffer } = new WebAssembly.Memory({ initial: 0, maximum: 0, shared: true });
if (!('SharedArrayBuffer' in globalThis)) Object.assign(globalThis, { SharedArrayBuffer: buffer.constructor });

export {};

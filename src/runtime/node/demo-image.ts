import { readBuilt } from './built-files.js';

/** The demonstration guest, a multiboot kernel. */
export const loadDemo = (): Uint8Array => readBuilt('demo.bin');

/** Writes dist/cpu/x86/demo.bin, the demonstration guest. Run by tools/build.mjs. */
import * as fs from 'node:fs';
import { buildDemo } from '../demo/image.js';

const target = new URL('../demo.bin', import.meta.url);
const temporary = new URL(`../demo.bin.${process.pid}.tmp`, import.meta.url);
fs.writeFileSync(temporary, buildDemo().image);
fs.renameSync(temporary, target);

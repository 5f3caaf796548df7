import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from '../../../arch/x86/instructions/index.js';
import { variants } from '../variants.js';
import { buildHandlers, cpuBases } from './handlers.js';
import { emitInterpreter } from './module.js';

const bases = cpuBases(false);
const helpersFile = new URL('../../../../dist/cpu/x86/helpers.wasm', import.meta.url);
const everyHelper = new Set(
  WebAssembly.Module.exports(new WebAssembly.Module(new Uint8Array(readFileSync(helpersFile)))).map(({ name }) => name),
);

describe('interpreter module', () => {
  it('keeps as many handlers inline as V8 optimises well', () => {
    const hot = buildHandlers(bases).filter((handler) => handler.hot);
    expect(hot.length).toBeGreaterThan(100);
    expect(hot.length).toBeLessThanOrEqual(200);
  });

  it('has the jumps and the stack of 64- and 32-bit code among them', () => {
    const hot = buildHandlers(bases)
      .filter((handler) => handler.hot)
      .flatMap((handler) => handler.variants.map(({ row, osz }) => `${row.name} ${String(osz)}`));
    for (const name of ['jne', 'jmp', 'call', 'ret', 'push'])
      expect(hot).toEqual(expect.arrayContaining([`${name} 64`, `${name} 32`]));
  });

  it('is valid WebAssembly and gives every variant a handler', () => {
    const interpreter = emitInterpreter({ bases, shared: true, regions: false, helpers: everyHelper });
    expect(WebAssembly.validate(new Uint8Array(interpreter.bytes))).toBe(true);
    expect(interpreter.missing).toEqual([]);
    for (const row of INSTRUCTIONS)
      for (const variant of variants(row)) {
        const number = interpreter.handlerOf(variant);
        expect(number).toBeLessThan(16 + interpreter.hotCount + interpreter.coldCount);
      }
  });

  it('makes an instruction without a helper undefined, and names it', () => {
    const helpers = new Set(everyHelper);
    helpers.delete('x_cpuid');
    const interpreter = emitInterpreter({ bases, shared: true, regions: false, helpers });
    expect(interpreter.missing).toEqual(['cpuid']);
  });
});

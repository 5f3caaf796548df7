import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { FormMaker, randomNumbers, rowsIn, type Form } from '../../testing/x86-forms.js';
import { describeWith, requireTool } from '../../testing/tools.js';
import { decodeBytes } from './decode-bytes.js';
import { disassemble } from './disassembler.js';

const MODES = [16, 32, 64] as const;
const ORIGIN = 0x1000;

/** Instructions of every row of a mode, several of each operand size. */
function forms(mode: (typeof MODES)[number], seed: number): Form[] {
  const maker = new FormMaker(mode, randomNumbers(seed));
  return rowsIn(mode).flatMap((row) =>
    ([16, 32, 64] as const).flatMap((osz) =>
      [1, 2, 3].map(() => maker.make(row, osz, ORIGIN)).filter((form) => form !== undefined),
    ),
  );
}

/** The mnemonic as the table has it: strings are written with a letter for their size. */
const mnemonicOf = (row: Instruction, written: string): string =>
  row.operands.some(({ kind }) => kind === 'X' || kind === 'Y') ? row.mnemonic : written;

describe('assembler and decoder', () => {
  it.each(MODES)('agree on instructions of every row in %i-bit code', (mode) => {
    const made = forms(mode, mode);
    const missing = rowsIn(mode).filter(
      (row) => !made.some((form) => form.row === row) && (mode === 64 || row.rexW !== true),
    );
    expect(missing.map(({ mnemonic }) => mnemonic)).toEqual([]);
    for (const { row, mnemonic, bytes } of made) {
      const decoded = decodeBytes(bytes, mode);
      const what = `${mnemonic}: ${Buffer.from(bytes).toString('hex')}`;
      expect(decoded?.length, what).toBe(bytes.length);
      // Reserved no-operations share their space with prefetches.
      if (row.mnemonic !== 'nop') expect(decoded?.row.mnemonic.split('/'), what).toContain(mnemonicOf(row, mnemonic));
    }
  });
});

describe('disassembler', () => {
  const text = (code: readonly number[], mode: (typeof MODES)[number] = 64): string =>
    disassemble(Uint8Array.from(code), mode, 0x1000n).text;

  it('writes addresses, prefixes and targets', () => {
    expect(text([0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0])).toBe('mov rax,QWORD PTR fs:0x28');
    expect(text([0x42, 0x8b, 0x44, 0xa3, 0xf0])).toBe('mov eax,DWORD PTR [rbx+r12*4-0x10]');
    expect(text([0xf0, 0x48, 0x0f, 0xb1, 0x0b])).toBe('lock cmpxchg QWORD PTR [rbx],rcx');
    expect(text([0xf3, 0x48, 0xab])).toBe('rep stos QWORD PTR es:[rdi],rax');
    expect(text([0xeb, 0xfe])).toBe('jmp 0x1000');
    expect(text([0x8b, 0x42, 0xfe], 16)).toBe('mov ax,WORD PTR [bp+si-0x2]');
    expect(text([0xea, 0x34, 0x12, 0, 0xf0], 16)).toBe('jmpf 0xf000:0x1234');
  });

  it('says (bad) of what is no instruction', () => {
    expect(disassemble(Uint8Array.of(0x0f, 0x04), 64)).toEqual({ text: '(bad)', length: 1 });
    expect(disassemble(Uint8Array.of(0x48), 64)).toEqual({ text: '(bad)', length: 1 });
    expect(disassemble(new Uint8Array(0), 64)).toEqual({ text: '(bad)', length: 1 });
  });
});

const objdump = await requireTool('objdump');

/** Both tools' text in one spelling: what GNU's adds to say which encoding it was is left out. */
function normalize(line: string): string {
  return line
    .replace(/\s+#.*$/, '')
    .replace(/<[^>]*>/, '')
    .replace(/\s+/g, ' ')
    .replace(/^(?:(?:rex\.?[WRXB]*|data16|data32) )+/, '')
    .replace(/^(call|jmp|ret)f?[wdq]? /, '$1 ')
    .replace(/^(push|pop|pusha|popa|pushf|popf|iret|ret|leave|enter|[ls][gi]dt|sysret|sysexit)[fwdq]*\b/, '$1')
    .replace(/^(fldenv|fnstenv|frstor|fnsave)[wd] /, '$1 ')
    .replace(/^movabs/, 'mov')
    .replace(/^mov ([c-gs]s),(r\d+|e?)(\w*)$/, (_, to: string, from: string, rest: string) =>
      from.startsWith('r') ? `mov ${to},${from}` : `mov ${to},${rest}`,
    )
    .replace('TBYTE PTR', /^(call|jmp|l[defgs]s)/.test(line) ? 'FWORD PTR' : 'TBYTE PTR')
    .replace(/^jmpf |^callf /, (word) => word.replace('f', ''))
    .replace(/ds:0x([0-9a-f]+)/, '[0x$1]')
    .replace('OWORD', 'XMMWORD')
    .replace(/^(lddqu|invpcid|mov) (.*)\b(?:BYTE|[A-Z]*WORD) PTR /, '$1 $2')
    .replace(/^xlat.*/, 'xlat')
    .replace(/^fnstsw ax/, 'fnstsw')
    .replace(/^(fn(?:eni|disi|setpm)).*/, '$1')
    .trim();
}

/** What objdump does not know, or names the register of otherwise. */
const OTHERWISE = new Set(['salc', 'ud0', 'ud1', 'lar', 'lsl', 'nop', 'cmpps', 'cmppd', 'cmpss', 'cmpsd', 'pclmulqdq']);

describeWith([objdump], 'disassembler against objdump', () => {
  it.each(MODES)('reads the same in %i-bit code', async (mode) => {
    const made = forms(mode, mode + 100);
    // Each at an address of its own, so that one that is read otherwise does not spoil the next.
    const image = new Uint8Array(made.length * 16).fill(0x90);
    made.forEach(({ bytes }, n) => image.set(bytes, n * 16));
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-objdump-'));
    try {
      const file = path.join(folder, 'code');
      await writeFile(file, image);
      const machine = mode === 64 ? 'i386:x86-64' : mode === 32 ? 'i386' : 'i8086';
      const { stdout } = await objdump.run(['-D', '-b', 'binary', '-m', machine, '-M', 'intel', '-w', file]);
      const theirs = new Map<number, string>();
      for (const line of stdout.split('\n')) {
        const found = /^\s*([0-9a-f]+):\t[0-9a-f ]+\t(.*)$/.exec(line);
        if (found?.[1] !== undefined) theirs.set(parseInt(found[1], 16), found[2] ?? '');
      }
      const different = made.flatMap(({ row, bytes }, n) => {
        if (OTHERWISE.has(row.mnemonic)) return [];
        const ours = normalize(disassemble(bytes, mode, BigInt(n * 16)).text);
        const other = normalize(theirs.get(n * 16) ?? '');
        return ours === other ? [] : [`${Buffer.from(bytes).toString('hex')}: ${ours} | ${other}`];
      });
      expect(different).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

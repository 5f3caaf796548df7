import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { FormMaker, randomNumbers, rowsIn } from '../../../testing/x86-forms.js';
import { describeWith, requireTool } from '../../../testing/tools.js';
import { disassemble } from '../disassembler.js';
import {
  Assembler,
  AssemblerError,
  R,
  byte,
  dword,
  far,
  offset,
  ptr,
  qword,
  times,
  word,
  type AsmOperand,
  type Bits,
} from './index.js';

function assemble(bits: Bits, program: (asm: Assembler) => void, origin = 0x1000): string {
  const asm = new Assembler({ bits, origin });
  program(asm);
  return Buffer.from(asm.finish()).toString('hex');
}

const one = (bits: Bits, text: string, ...operands: AsmOperand[]): string =>
  assemble(bits, (asm) => asm.emit(text, ...operands));

describe('assembler', () => {
  it('takes the shortest encoding', () => {
    expect(one(64, 'add', R.eax, 1)).toBe('83c001');
    expect(one(64, 'add', R.eax, 0x1234)).toBe('0534120000');
    expect(one(64, 'add', R.rbx, -0x1234)).toBe('4881c3ccedffff');
    expect(one(64, 'mov', R.rax, 5)).toBe('48c7c005000000');
    expect(one(64, 'mov', R.rax, 0x8000_0000)).toBe('48b80000008000000000');
    expect(one(64, 'mov', R.eax, 0xffff_ffff)).toBe('b8ffffffff');
    expect(one(64, 'shl', R.eax, 1)).toBe('d1e0');
    expect(one(64, 'push', 5)).toBe('6a05');
    expect(one(64, 'xchg', R.r8, R.rax)).toBe('4990');
    expect(one(64, 'xchg', R.eax, R.eax)).toBe('87c0');
  });

  it('writes addresses of all modes', () => {
    expect(one(64, 'mov', R.eax, ptr([R.rsp]))).toBe('8b0424');
    expect(one(64, 'mov', R.eax, ptr([R.r13]))).toBe('418b4500');
    expect(one(64, 'mov', R.eax, ptr([R.rip, 0x10]))).toBe('8b0510000000');
    expect(one(64, 'mov', R.eax, ptr([0x10]))).toBe('8b042510000000');
    expect(one(64, 'mov', R.eax, ptr([R.ebx, times(R.ecx, 8)]))).toBe('678b04cb');
    expect(one(64, 'mov', R.rax, ptr([0x28], R.fs))).toBe('64488b042528000000');
    expect(one(32, 'mov', R.eax, ptr([R.bx, R.si]))).toBe('678b00');
    expect(one(16, 'mov', R.ax, ptr([R.bp]))).toBe('8b4600');
    expect(one(16, 'mov', R.eax, ptr([R.ebx]))).toBe('67668b03');
  });

  it('binds labels, near and far', () => {
    expect(
      assemble(64, (asm) => {
        const start = asm.bind();
        const end = asm.label();
        asm.emit('je', end); // comes later: near
        asm.emit('jmp short', end);
        asm.emit('jmp', start); // known: short
        asm.emit('lea', R.rax, ptr([R.rip, end]));
        asm.bind(end);
        asm.dq(offset(end, 1));
      }),
    ).toBe('0f840b000000' + 'eb09' + 'ebf6' + '488d0500000000' + '1210000000000000');
  });

  it('makes what real-mode start-up code needs', () => {
    expect(one(16, 'o32 lgdt', ptr([0x1234]))).toBe('660f01163412');
    expect(one(16, 'o32 jmpf', far(8, 0x12345))).toBe('66ea452301000800');
    expect(one(16, 'jmpf', far(0xf000, 0xe05b))).toBe('ea5be000f0');
    expect(one(16, 'mov', R.cr0, R.eax)).toBe('0f22c0');
    expect(one(32, 'callf', far(0x2b, 0))).toBe('9a000000002b00');
    expect(one(16, 'mov', R.ds, R.ax)).toBe('8ed8');
  });

  it('knows strings, prefixes and sizes', () => {
    expect(one(64, 'rep stosq')).toBe('f348ab');
    expect(one(16, 'rep movsd')).toBe('f366a5');
    expect(one(64, 'repne scasb')).toBe('f2ae');
    expect(one(64, 'lock add', qword([R.rbx]), R.rax)).toBe('f0480103');
    expect(one(64, 'iretq')).toBe('48cf');
    expect(one(32, 'iret')).toBe('cf');
    expect(one(16, 'o32 pushf')).toBe('669c');
    expect(one(64, 'movsd', R.xmm1, R.xmm2)).toBe('f20f10ca');
    expect(one(64, 'movq', R.xmm1, R.rax)).toBe('66480f6ec8');
  });

  it('refuses what cannot be', () => {
    const fails = (message: RegExp, program: () => unknown): void => {
      expect(program).toThrow(AssemblerError);
      expect(program).toThrow(message);
    };
    fails(/unknown instruction/, () => one(64, 'frobnicate'));
    fails(/no such form/, () => one(64, 'mov', R.eax, R.bx));
    fails(/no such form/, () => one(64, 'mov', R.ah, R.r8b));
    fails(/no such form/, () => one(32, 'mov', R.rax, 1));
    fails(/no such form/, () => one(64, 'push', R.es));
    fails(/no such form/, () => one(64, 'add', R.al, 0x100));
    fails(/size of the memory/, () => one(64, 'inc', ptr([R.rax])));
    fails(/size of the memory/, () => one(64, 'movzx', R.eax, ptr([R.rax])));
    fails(/not bound/, () => one(64, 'jmp', new Assembler({ bits: 64 }).label('nowhere')));
    fails(/out of reach/, () =>
      assemble(64, (asm) => {
        const far_ = asm.label('far');
        asm.emit('jmp short', far_);
        asm.space(200);
        asm.bind(far_);
      }),
    );
  });

  it('lays out data', () => {
    expect(
      assemble(32, (asm) => {
        asm.db(1, 2);
        asm.align(4, 0x90);
        asm.dw(0x1234);
        asm.asciz('hi');
        asm.org(0x100c);
        asm.dd(-1);
      }),
    ).toBe('0102' + '9090' + '3412' + '686900' + '000000' + 'ffffffff');
  });

  it('takes sizes of memory where an instruction needs them', () => {
    expect(one(64, 'inc', byte([R.rax]))).toBe('fe00');
    expect(one(64, 'inc', word([R.rax]))).toBe('66ff00');
    expect(one(64, 'inc', dword([R.rax]))).toBe('ff00');
    expect(one(64, 'fld', qword([R.rax]))).toBe('dd00');
    expect(one(64, 'cvtsi2sd', R.xmm0, qword([R.rax]))).toBe('f2480f2a00');
  });
});

const gas = await requireTool('as', 'binutils');
const objcopy = await requireTool('objcopy', 'binutils');

describeWith([gas, objcopy], 'assembler against GNU as', () => {
  /** What GNU's writes or names otherwise; it is compared through the disassembler's test. */
  const OTHERWISE =
    /^(callf|jmpf|retf|salc|ud[01]|fn(eni|disi|setpm)|ffreep|fstp|fcom|fcomp|fxch|nop|prefetch|test|int1|iret|push|pop|sys|xlat|jecxz|mov|l[ds]s|l[efgs]s|[ls][gi]dt|bound|enter|leave|ret|in|out|lar|lsl|cmps[sd]|cmpp[sd]|pextrw|pclmul|fnstsw|jrcxz|loop|j|call|rex|rcl|rol|ror|rcr|shl|sar|shr)/;

  it.each([32, 64] as const)('encodes what the disassembler reads in %i-bit code alike', async (mode) => {
    const maker = new FormMaker(mode, randomNumbers(7 + mode));
    const lines: string[] = [];
    const expected: Uint8Array[] = [];
    for (const row of rowsIn(mode)) {
      if (OTHERWISE.test(row.mnemonic) || row.operands.some(({ kind }) => 'XY'.includes(kind))) continue;
      const form = maker.make(row, 32, 0x1000);
      if (form === undefined) continue;
      const { text } = disassemble(form.bytes, mode, 0x1000n);
      lines.push(
        `.balign 16, 0xcc\n${text.replace(/\[rip\+0x(f{8}[0-9a-f]+)\]/, (_, digits: string) => `[rip-${String(2n ** 64n - BigInt(`0x${digits}`))}]`)}`,
      );
      expected.push(form.bytes);
    }
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-as-'));
    try {
      const at = (name: string): string => path.join(folder, name);
      await writeFile(at('code.s'), `.intel_syntax noprefix\n.text\n${lines.join('\n')}\n`);
      await gas.run([mode === 64 ? '--64' : '--32', '-O0', '-o', at('code.o'), at('code.s')]);
      await objcopy.run(['-O', 'binary', '-j', '.text', at('code.o'), at('code.bin')]);
      const code = await readFile(at('code.bin'));
      // The same operation may have two encodings of one length (register to register): both must read the same.
      const different = expected.flatMap((bytes, n) => {
        const theirs = code.subarray(n * 16, n * 16 + bytes.length);
        if (theirs.equals(bytes)) return [];
        const texts = [disassemble(bytes, mode).text, disassemble(code.subarray(n * 16, n * 16 + 15), mode).text];
        return texts[0] === texts[1]
          ? []
          : [`${Buffer.from(bytes).toString('hex')} ${theirs.toString('hex')}: ${texts.join(' | ')}`];
      });
      expect(expected.length).toBeGreaterThan(500);
      expect(different).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

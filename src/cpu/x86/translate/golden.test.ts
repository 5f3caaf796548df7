/**
 * What the translator makes of small programs, one for each class of instructions, as text beside the tests: changes of it are
 * reviewed as differences. `npx vitest run src/cpu/x86/translate --update` writes the files anew.
 */
import { describe, expect, it } from 'vitest';
import { writeKernel } from '../../../testing/fuzz/kernel.js';
import { PLACE, type Setting } from '../../../testing/fuzz/place.js';
import { startState } from '../../../testing/fuzz/start.js';
import { random } from '../../../testing/oracle/random.js';
import { GuestBench } from '../../../testing/x86-guest.js';
import { byte, dword, qword, ptr, R, times, xmmword, type Assembler } from '../assembler/index.js';
import { describeRegion } from './describe.js';

interface Golden {
  readonly name: string;
  readonly bits: 32 | 64;
  /** The body of a loop that RDX or EDX counts. */
  readonly body: (asm: Assembler) => void;
  /** Functions behind the loop. */
  readonly behind?: (asm: Assembler) => void;
}

const DATA = PLACE.DATA;

const calls: Golden = (() => {
  let callee: ReturnType<Assembler['label']>;
  return {
    name: 'call-ret',
    bits: 64,
    body: (asm) => {
      callee = asm.label('callee');
      asm.emit('call', callee);
      asm.emit('add', R.rcx, R.rax);
    },
    behind: (asm) => {
      asm.bind(callee);
      asm.emit('lea', R.rax, ptr([R.rax, 3]));
      asm.emit('ret');
    },
  };
})();

const PROGRAMS: readonly Golden[] = [
  {
    name: 'mov',
    bits: 64,
    body: (asm) => {
      asm.emit('mov', R.rax, R.rcx);
      asm.emit('mov', R.eax, R.ecx);
      asm.emit('mov', R.ah, R.cl);
      asm.emit('mov', R.ax, 0x1234);
      asm.emit('movzx', R.r8d, R.al);
      asm.emit('movsx', R.r9, R.ax);
      asm.emit('lea', R.r10, ptr([R.rax, times(R.rcx, 4), 8]));
    },
  },
  {
    name: 'alu',
    bits: 64,
    body: (asm) => {
      asm.emit('add', R.rax, R.rcx);
      asm.emit('adc', R.r8, 5);
      asm.emit('xor', R.r9d, R.r9d);
      asm.emit('sub', R.cl, R.al);
      asm.emit('imul', R.r10, R.r8);
      asm.emit('inc', R.r11d);
    },
  },
  {
    name: 'flags-jcc',
    bits: 64,
    body: (asm) => {
      const [one, two] = [asm.label(), asm.label()];
      asm.emit('cmp', R.eax, R.ecx);
      asm.emit('jb short', one);
      asm.emit('test', R.r8, R.r8);
      asm.bind(one);
      asm.emit('jle short', two);
      asm.emit('setnz', R.r9b);
      asm.bind(two);
      asm.emit('cmovs', R.r10, R.r11);
    },
  },
  {
    name: 'shift',
    bits: 64,
    body: (asm) => {
      asm.emit('shl', R.rax, 3);
      asm.emit('shr', R.r8d, R.cl);
      asm.emit('rol', R.r9w, 5);
      asm.emit('sar', R.r10, 1);
    },
  },
  {
    name: 'load',
    bits: 64,
    body: (asm) => {
      asm.emit('mov', R.rax, qword([R.rbx]));
      asm.emit('mov', R.cl, byte([R.rbx, 9]));
      asm.emit('add', R.r8, qword([R.rbx, times(R.rcx, 8)]));
    },
  },
  {
    name: 'store',
    bits: 64,
    body: (asm) => {
      asm.emit('mov', qword([R.rbx]), R.rax);
      asm.emit('mov', byte([R.rbx, 9]), 7);
      asm.emit('add', dword([R.rbx, 16]), R.ecx);
    },
  },
  {
    name: 'push-pop',
    bits: 64,
    body: (asm) => {
      asm.emit('push', R.rax);
      asm.emit('push', 5);
      asm.emit('pop', R.r8);
      asm.emit('pop', R.r9);
    },
  },
  calls,
  {
    name: 'loop',
    bits: 64,
    body: (asm) => {
      const inner = asm.label();
      asm.emit('mov', R.ecx, 3);
      asm.bind(inner);
      asm.emit('add', R.rax, R.rcx);
      asm.emit('loop', inner);
    },
  },
  {
    name: 'string-helper',
    bits: 64,
    body: (asm) => {
      asm.emit('mov', R.rdi, R.rbx);
      asm.emit('mov', R.ecx, 4);
      asm.emit('rep stosd');
    },
  },
  {
    name: 'sse-scalar',
    bits: 64,
    body: (asm) => {
      asm.emit('movsd', R.xmm0, qword([R.rbx]));
      asm.emit('addsd', R.xmm0, R.xmm1);
      asm.emit('mulsd', R.xmm2, R.xmm0);
      asm.emit('movsd', qword([R.rbx, 8]), R.xmm2);
    },
  },
  {
    name: 'sse-packed',
    bits: 64,
    body: (asm) => {
      asm.emit('movups', R.xmm0, xmmword([R.rbx]));
      asm.emit('paddd', R.xmm0, R.xmm1);
      asm.emit('mulps', R.xmm2, R.xmm0);
      asm.emit('pshufd', R.xmm3, R.xmm2, 0x1b);
    },
  },
  {
    name: 'x87',
    bits: 64,
    body: (asm) => {
      asm.emit('fld', qword([R.rbx]));
      asm.emit('fadd', R.st0, R.st0);
      asm.emit('fstp', qword([R.rbx, 8]));
    },
  },
  {
    name: 'lock',
    bits: 64,
    body: (asm) => {
      asm.emit('lock add', dword([R.rbx]), R.ecx);
      asm.emit('lock cmpxchg', qword([R.rbx, 8]), R.r8);
    },
  },
  {
    name: 'segmented-32',
    bits: 32,
    body: (asm) => {
      asm.emit('mov', R.eax, dword([R.ebx], R.gs));
      asm.emit('add', dword([R.ebx, 4], R.fs), R.eax);
    },
  },
];

function translate({ bits, body, behind }: Golden): string {
  const texts: string[] = [];
  const bench = new GuestBench({
    accelerator: 'wasm',
    observe: (translation) => {
      const { guest, form, wasm } = describeRegion(translation);
      texts.push(['== guest', ...guest, '', '== form', ...form, '', '== wasm', ...wasm, ''].join('\n'));
    },
  });
  const setting: Setting = { bits, ring: 0 };
  writeKernel(bench.vm.backing, setting);
  bench.asm(bits, PLACE.CODE, (asm) => {
    asm.emit('fninit');
    asm.emit('mov', R.edx, 20);
    const again = asm.bind();
    body(asm);
    asm.emit('dec', bits === 64 ? R.rdx : R.edx);
    asm.emit('jnz', again);
    asm.emit('hlt');
    // Decoding ends here.
    asm.emit('jmp', again);
    behind?.(asm);
  });
  const state = startState(setting, PLACE.CODE, bench.view, random(1));
  bench.set({ ...state, rflags: 2n, gpr: { rbx: BigInt(DATA), rsp: BigInt(PLACE.STACK_TOP), rax: 5n, rcx: 1n } });
  expect(bench.run(1000).kind).toBe('halt');
  // A function becomes hot before the loop that calls it.
  return texts.reduce((longest, text) => (text.length > longest.length ? text : longest), 'not translated\n');
}

describe('translated code as text', () => {
  it.each(PROGRAMS)('$name', async (golden) => {
    await expect(translate(golden)).toMatchFileSnapshot(`golden/${golden.name}.txt`);
  });
});

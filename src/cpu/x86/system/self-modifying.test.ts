import { describe, expect, it } from 'vitest';
import type { Gpa } from '../../../base/units.js';
import { GuestBench, SEL, protectedMode, segment, type Changes } from '../../../testing/x86-guest.js';
import { R, byte, dword, far, offset, ptr, times, type Assembler } from '../assembler/index.js';

const PROGRAM = 0x4000;

function start(g: GuestBench, rip = PROGRAM): Changes {
  return { ...protectedMode(g), rip: BigInt(rip) };
}

/** Runs a 32-bit program with flat segments to its HLT. */
function run(program: (a: Assembler) => void, origin = PROGRAM): GuestBench {
  const g = new GuestBench();
  g.asm(32, origin, program);
  g.set(start(g, origin));
  expect(g.run(100_000).kind).toBe('halt');
  return g;
}

// Since the Pentium, a store into the instructions that follow is seen at once (SDM vol. 3 §12.6).
describe('self-modifying code', () => {
  it('executes the new next instruction', () => {
    const g = run((a) => {
      const next = a.label();
      a.emit('xor', R.eax, R.eax);
      a.emit('xor', R.edx, R.edx);
      a.emit('mov', byte([next]), 0x42); // inc edx instead of inc eax
      a.bind(next);
      a.emit('inc', R.eax);
      a.emit('hlt');
    });
    expect([g.reg('rax'), g.reg('rdx')]).toEqual([0n, 1n]);
  });

  it('executes a new immediate in a loop that changes itself each time around', () => {
    const g = run((a) => {
      const again = a.label();
      const patched = a.label();
      a.emit('xor', R.ebx, R.ebx);
      a.emit('mov', R.ecx, 1000);
      a.bind(again);
      a.bind(patched);
      a.emit('mov', R.eax, 0x1234_5678);
      a.emit('add', R.ebx, R.eax);
      a.emit('mov', dword([offset(patched, 1)]), R.ecx);
      a.emit('loop', again);
      a.emit('hlt');
    });
    // The first time around the old immediate, then 1000, 999, … 2.
    expect(g.reg('rbx')).toBe(BigInt(0x1234_5678 + (1000 * 1001) / 2 - 1));
  });

  it.each([0xafff, 0xaffe, 0xaffd])('sees stores into an instruction at %i, the end of a page', (place) => {
    const g = run((a) => {
      const code = a.label();
      const again = a.label();
      a.emit('mov', R.esi, 3);
      a.emit('xor', R.edi, R.edi);
      a.bind(again);
      a.emit('call', code);
      a.emit('add', byte([offset(code, 2)]), 1);
      a.emit('dec', R.esi);
      a.emit('jnz', again);
      a.emit('hlt');
      a.org(place);
      a.bind(code);
      a.emit('add', R.edi, 5);
      a.emit('ret');
    });
    expect(g.reg('rdi')).toBe(5n + 6n + 7n);
  });

  // Instructions of 1 to 7 bytes that add to EDI, as they replace one another in various order.
  it.each([0x4800, 0x4ffa, 0x4ffd, 0x4ffe])(
    'executes what code at %i was replaced with, of whatever length',
    (code) => {
      const snippets = [
        [0x47, 0xc3], // inc edi; ret
        [0x83, 0xc7, 3, 0xc3], // add edi, imm8
        [0x83, 0xc7, 5, 0xc3],
        [0x81, 0xc7, 7, 0, 0, 0, 0xc3], // add edi, imm32
        [0x47, 0x47, 0x47, 0xc3],
        [0x8d, 0x7f, 11, 0xc3], // lea edi, [edi + 11]
        [0x47, 0x83, 0xc7, 13, 0xc3],
        [0xeb, 1, 0xc3, 0x83, 0xc7, 17, 0xc3], // jmp over a ret
      ];
      const worth = [1, 3, 5, 7, 3, 11, 14, 17];
      const table = 0x9000;
      const g = new GuestBench();
      const order: number[] = [];
      // Each of them comes behind each other one.
      for (let n = 0, x = 1; n < 400; n++) {
        x = (x * 1_103_515_245 + 12_345) & 0x7fff_ffff;
        order.push((x >> 16) & 7);
      }
      for (const [n, bytes] of snippets.entries()) g.bytes(table + n * 8, bytes);
      g.bytes(0x1_0000, order);
      g.asm(32, PROGRAM, (a) => {
        const again = a.label();
        a.emit('xor', R.edi, R.edi);
        a.emit('mov', R.ebp, 0x1_0000);
        a.emit('mov', R.edx, code);
        a.bind(again);
        a.emit('movzx', R.esi, byte([R.ebp]));
        a.emit('mov', R.eax, dword([table, times(R.esi, 8)]));
        a.emit('mov', R.ebx, dword([table + 4, times(R.esi, 8)]));
        a.emit('mov', dword([code]), R.eax);
        a.emit('mov', dword([code + 4]), R.ebx);
        // Once by a direct call, which is linked within its page, once by another.
        a.emit('call', code);
        a.emit('call', R.edx);
        a.emit('inc', R.ebp);
        a.emit('cmp', R.ebp, 0x1_0000 + order.length);
        a.emit('jne', again);
        a.emit('hlt');
      });
      g.set(start(g));
      expect(g.run(200_000).kind).toBe('halt');
      expect(g.reg('rdi')).toBe(BigInt(order.reduce((sum, n) => sum + 2 * worth[n], 0)));
    },
  );

  it('sees what a string instruction writes over itself', () => {
    const g = run((a) => {
      const target = a.label();
      const source = a.label();
      a.emit('mov', R.esi, source);
      a.emit('mov', R.edi, target);
      a.emit('mov', R.ecx, 8);
      a.emit('rep movsb');
      a.bind(target);
      a.space(8, 0xcc);
      a.emit('hlt');
      a.bind(source);
      a.emit('mov', R.eax, 0x0bad_cafe);
      a.space(3, 0x90);
    });
    expect(g.reg('rax')).toBe(0x0bad_cafen);
  });

  it('keeps code next to data that changes all the time', () => {
    const g = run((a) => {
      const data = a.label();
      const again = a.label();
      a.emit('mov', R.ecx, 5000);
      a.bind(again);
      a.emit('inc', dword([data]));
      a.emit('loop', again);
      a.emit('hlt');
      a.align(64);
      a.bind(data);
      a.dd(0);
    });
    expect(g.u32(PROGRAM + 64)).toBe(5000);
  });

  it('sees what a device writes, in the same instruction that made it do so', () => {
    const g = new GuestBench();
    g.onPort = (port) => {
      if (port === 0x10) g.vm.dma.write((PROGRAM + 0x100) as Gpa, Uint8Array.of(0xb8, 7, 0, 0, 0)); // mov eax, 7
    };
    g.asm(32, PROGRAM, (a) => {
      const code = a.label();
      a.emit('call', code);
      a.emit('mov', R.ebx, R.eax);
      a.emit('out', 0x10, R.al);
      a.emit('call', code);
      a.emit('hlt');
      a.org(PROGRAM + 0x100);
      a.bind(code);
      a.emit('mov', R.eax, 3);
      a.emit('ret');
    });
    g.set(start(g));
    expect(g.run().kind).toBe('halt');
    expect([g.reg('rbx'), g.reg('rax')]).toEqual([3n, 7n]);
  });

  it('executes the same bytes as 16- and as 32-bit code', () => {
    const g = run((a) => {
      const code = a.label();
      a.emit('callf', far(SEL.CODE0, code));
      a.emit('mov', R.ebx, R.eax);
      a.emit('xor', R.eax, R.eax);
      a.emit('o16 callf', far(SEL.CODE16, code));
      a.emit('mov', R.ecx, R.eax);
      a.emit('callf', far(SEL.CODE0, code));
      a.emit('hlt');
      // mov eax, 0x90400001; retf — or mov ax, 1; inc ax; nop; retf
      a.bind(code);
      a.db(0xb8, 1, 0, 0x40, 0x90, 0xcb);
    });
    expect([g.reg('rbx'), g.reg('rcx'), g.reg('rax')]).toEqual([0x9040_0001n, 2n, 0x9040_0001n]);
  });

  it('faults behind the last byte of a segment, in real mode', () => {
    const g = new GuestBench();
    g.bytes(0x1_ffff, [0x90]);
    g.set({
      rip: 0xffffn,
      gpr: { rsp: 0x800n },
      segments: { cs: segment(0x1000, 0x1_0000n, 0xffff, 0x9b), ss: segment(0, 0n, 0xffff, 0x93) },
    });
    // Vector 13 of the real-mode table leads to 0000:4000.
    g.setU32(13 * 4, PROGRAM);
    g.bytes(PROGRAM, [0xf4]);
    expect(g.run().kind).toBe('halt');
    expect([g.u16(0x800 - 6), g.u16(0x800 - 4)]).toEqual([0, 0x1000]);
  });
});

describe('decoded code and the memory map', () => {
  it('an instruction that straddles two pages, when either page is another now', () => {
    const table = 0x10_1000;
    const g = new GuestBench();
    const changes = start(g);
    g.setU32(0x10_0000, table | 3);
    for (let n = 0; n < 1024; n++) g.setU32(table + n * 4, (n << 12) | 3);
    // mov eax, 0x…01 / …02 in the first page, its last two bytes and RET in the second.
    g.bytes(0xa_0ffd, [0xb8, 1, 0]);
    g.bytes(0xb_0ffd, [0xb8, 2, 0]);
    g.bytes(0xa_1000, [0x30, 0, 0xc3]);
    g.bytes(0xb_1000, [0x40, 0, 0xc3]);
    g.asm(32, PROGRAM, (a) => {
      const go = (first: number, second: number): void => {
        a.emit('mov', dword([table + 6 * 4]), first | 3);
        a.emit('mov', dword([table + 7 * 4]), second | 3);
        a.emit('invlpg', ptr([0x6000]));
        a.emit('invlpg', ptr([0x7000]));
        for (let n = 0; n < 2; n++) {
          a.emit('call', R.esi);
          a.emit('out', 0x80, R.eax);
        }
      };
      a.emit('mov', R.esi, 0x6ffd);
      go(0xa_0000, 0xa_1000);
      go(0xb_0000, 0xa_1000);
      go(0xb_0000, 0xb_1000);
      go(0xa_0000, 0xb_1000);
      a.emit('hlt');
    });
    g.set({ ...changes, cr0: 0x8000_0011n, cr3: 0x10_0000n });
    expect(g.run().kind).toBe('halt');
    const values = g.written.map(([, , value]) => value);
    expect(values).toEqual([0x30_0001, 0x30_0001, 0x30_0002, 0x30_0002, 0x40_0002, 0x40_0002, 0x40_0001, 0x40_0001]);
  });

  it('reads code by its current translation', () => {
    const g = new GuestBench();
    // Page tables at 0x10_0000: identity, but 0x6000 is mapped to 0x7000 and then to 0x8000.
    const directory = 0x10_0000;
    const table = 0x10_1000;
    g.setU32(directory, table | 3);
    for (let n = 0; n < 1024; n++) g.setU32(table + n * 4, (n << 12) | 3);
    g.setU32(table + 6 * 4, 0x7000 | 3);
    g.asm(32, 0x7000, (a) => {
      a.emit('mov', R.eax, 1);
      a.emit('ret');
    });
    g.asm(32, 0xb000, (a) => {
      a.emit('mov', R.eax, 2);
      a.emit('ret');
    });
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.esi, 0x6000);
      a.emit('call', R.esi);
      a.emit('mov', R.ebx, R.eax);
      a.emit('mov', dword([table + 6 * 4]), 0xb000 | 3);
      a.emit('invlpg', ptr([0x6000]));
      a.emit('call', R.esi);
      a.emit('hlt');
    });
    const changes = start(g);
    g.set({ ...changes, cr0: 0x8000_0011n, cr3: BigInt(directory), gpr: { rsp: 0x9000n } });
    expect(g.run().kind).toBe('halt');
    expect([g.reg('rbx'), g.reg('rax')]).toEqual([1n, 2n]);
  });
});

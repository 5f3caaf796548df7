// Small loops in 64-bit mode, each a kind of work. Most fit in few records, so they show the best that the interpreter can do.
import { GuestBench, LAYOUT32, protectedMode, segment, ATTR, SEL } from '../../dist/testing/x86-guest.js';
import { R, byte, dword, qword, tbyte, times, xmmword } from '../../dist/cpu/x86/assembler/index.js';

export const title = 'Loops: millions of guest instructions per second';

const [CODE, DATA, STACK, TABLES] = [0x1_0000, 0x20_0000, 0x7000, 0x10_0000];
const ROUNDS = 100_000_000n;
/** Instructions that each loop is run for, after a tenth to warm up; fewer when they take longer than MOST milliseconds. */
const COUNT = 40_000_000;
const MOST = 2000;

/** 64-bit ring 0 with 4 MiB mapped one to one. */
function longMode(g) {
  const changes = protectedMode(g);
  const { GDT, IDT, TSS, HANDLERS } = LAYOUT32;
  g.descriptor(GDT + SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64);
  g.descriptor(GDT + SEL.TSS, BigInt(TSS), 0x2068, 0x8b);
  g.setU64(GDT + SEL.TSS + 8, 0n);
  g.setU64(TABLES, BigInt((TABLES + 0x1000) | 7));
  g.setU64(TABLES + 0x1000, BigInt((TABLES + 0x2000) | 7));
  g.setU64(TABLES + 0x2000, 0x87n);
  g.setU64(TABLES + 0x2008, 0x20_0087n);
  for (let n = 0; n < 128; n++) g.gate64(IDT + n * 16, SEL.CODE0, HANDLERS + n * 8, 0x8e);
  // Vector 0x50 returns at once.
  g.bytes(HANDLERS + 0x50 * 8, [0x48, 0xcf]);
  return {
    ...changes,
    cr0: 0x8000_0011n,
    cr3: BigInt(TABLES),
    cr4: 0x620n,
    efer: 0xd01n,
    idtr: { base: BigInt(IDT), limit: 0xfff },
    segments: { ...changes.segments, cs: segment(SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64) },
    gpr: { rsp: BigInt(STACK), rcx: ROUNDS, rsi: BigInt(DATA), rdi: BigInt(DATA + 0x8000), rbx: 12345n },
    rip: BigInt(CODE),
  };
}

/** A loop of RCX rounds around a body. */
const around = (body) => (a) => {
  const top = a.bind();
  body(a);
  a.emit('dec', R.rcx);
  a.emit('jne', top);
  a.emit('hlt');
};

const LOOPS = {
  'integer arithmetic': around((a) => {
    a.emit('add', R.rax, R.rcx);
    a.emit('xor', R.rdx, R.rax);
    a.emit('shl', R.rdx, 3);
    a.emit('lea', R.rax, qword([R.rax, times(R.rdx, 4), 7]));
    a.emit('and', R.rdx, 0xffff);
    a.emit('sub', R.rbx, R.rdx);
  }),
  'loads and stores': around((a) => {
    a.emit('movzx', R.edx, byte([R.rsi, 3]));
    a.emit('mov', R.rax, qword([R.rsi, 8]));
    a.emit('add', R.rax, R.rdx);
    a.emit('mov', qword([R.rdi, 16]), R.rax);
    a.emit('add', dword([R.rdi, 64]), R.ecx);
  }),
  'branches that go both ways': around((a) => {
    const [one, two] = [a.label(), a.label()];
    a.emit('imul', R.rbx, R.rbx, 1103515245);
    a.emit('add', R.rbx, 12345);
    a.emit('bt', R.rbx, 29);
    a.emit('jb', one);
    a.emit('inc', R.rax);
    a.bind(one);
    a.emit('test', R.ebx, 0x4000);
    a.emit('je', two);
    a.emit('inc', R.rdx);
    a.bind(two);
  }),
  'calls and returns': (a) => {
    const leaf = a.label();
    around((b) => {
      b.emit('push', R.rax);
      b.emit('call', leaf);
      b.emit('pop', R.rax);
    })(a);
    a.bind(leaf);
    a.emit('lea', R.rax, qword([R.rax, 1]));
    a.emit('ret');
  },
  'multiplication and division': around((a) => {
    a.emit('mov', R.eax, R.ecx);
    a.emit('xor', R.edx, R.edx);
    a.emit('mul', R.rbx);
    a.emit('mov', R.edx, 0);
    a.emit('div', R.rbx);
  }),
  'x87, 80 bits': around((a) => {
    a.emit('fld', tbyte([R.rsi]));
    a.emit('fmul', R.st0, R.st0);
    a.emit('fld1');
    a.emit('faddp', R.st1, R.st0);
    a.emit('fstp', tbyte([R.rdi]));
  }),
  'SSE2, scalar doubles': around((a) => {
    a.emit('movsd', R.xmm0, qword([R.rsi]));
    a.emit('mulsd', R.xmm0, R.xmm0);
    a.emit('addsd', R.xmm1, R.xmm0);
    a.emit('movsd', qword([R.rdi]), R.xmm1);
  }),
  'SSE2, packed integers': around((a) => {
    a.emit('movdqu', R.xmm0, xmmword([R.rsi]));
    a.emit('paddd', R.xmm0, R.xmm1);
    a.emit('pxor', R.xmm1, R.xmm0);
    a.emit('pshufd', R.xmm2, R.xmm0, 0x1b);
    a.emit('movdqu', xmmword([R.rdi]), R.xmm2);
  }),
  'interrupts: INT n and IRETQ': around((a) => a.emit('int', 0x50)),
};

export function run(log) {
  for (const [name, program] of Object.entries(LOOPS)) {
    const g = new GuestBench();
    const state = longMode(g);
    g.asm(64, CODE, program);
    // 1.5 as an 80-bit number, and as a double behind it.
    g.setU64(DATA, 0xc000_0000_0000_0000n);
    g.setU16(DATA + 8, 0x3fff);
    g.set(state);
    const before = performance.now();
    while (g.cpu.retired < COUNT / 10 && performance.now() - before < MOST / 2) g.run(200_000);
    const from = g.cpu.retired;
    const started = performance.now();
    const cpu = process.cpuUsage();
    while (g.cpu.retired - from < COUNT && performance.now() - started < MOST) g.run(200_000);
    const { user } = process.cpuUsage(cpu);
    const millions = Number(g.cpu.retired - from) / 1e6;
    const [wall, own] = [millions / ((performance.now() - started) / 1000), millions / (user / 1e6)];
    log(`${name.padEnd(30)} ${wall.toFixed(0).padStart(5)} (${own.toFixed(0)} by the CPU time)`);
    if (g.written.length > 0) throw new Error(`${name}: exception ${g.written[0][2]}`);
  }
}

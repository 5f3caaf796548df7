/** Ring 3 of long mode: exceptions, system calls, and the heavy work: x87, SSE, loops over memory. */
import { R, byte, dword, far, ptr, qword, word, type Label } from '../assembler/index.js';
import { copyCell, expectFault, repeat, setCell, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { SUPERVISOR_PAGE } from './long-mode.js';
import { emitPicture, pictureSum } from './mandelbrot.js';
import { ABSENT, AT, SEL, StagePlan, VECTOR } from './plan.js';

/** What EAX asks of a SYSCALL. */
const CALL = { COUNT: 0, COUNT_SYSRET: 1 } as const;
const SYSCALLS = 1000;
const MSR = { STAR: 0xc000_0081, LSTAR: 0xc000_0082, FMASK: 0xc000_0084 } as const;
const SYSENTER = { CS: 0x174, ESP: 0x175, EIP: 0x176 } as const;

/** Where the picture is drawn, below the numbers that the sieve crosses out. */
export const PICTURE_AT = AT.USER + 0x8_0000;
const SIEVE = AT.USER + 0x1000;
const SIEVE_LIMIT = 100_000;
const PRIMES_BELOW_100_000 = 9592;

export interface Ring3Parts {
  /** Runs the code at RAX in ring 3 until it leaves by INT3, having said so. */
  readonly run: Label;
  /** Sets what SYSCALL needs. */
  readonly prepare: Label;
}

function writeMsr({ main }: Demo, msr: number, low: number | Label, high = 0): void {
  main.emit('mov', R.ecx, msr);
  main.emit('mov', R.eax, low);
  main.emit('mov', R.edx, high);
  main.emit('wrmsr');
}

export function emitRing3Parts(demo: Demo): Ring3Parts {
  const { main, v } = demo;
  const [syscall, sysret] = ['SYSCALL', 'SYSRET'].map((name) => main.label(name));
  const run = main.bind(main.label('into ring 3 of long mode'));
  main.emit('mov', qword([v.ring0Stack]), R.rsp);
  main.emit('push', SEL.USER_DATA_LONG);
  main.emit('push', AT.RING3_STACK);
  main.emit('push', 0x202);
  main.emit('push', SEL.USER_CODE64);
  main.emit('push', R.rax);
  main.emit('iretq');

  const prepare = main.bind(main.label('prepare SYSCALL'));
  // SYSRET takes CS from 16 above its half, SS from 8 above.
  writeMsr(demo, MSR.STAR, 0, ((SEL.USER_CODE32_LONG << 16) | SEL.CODE64) >>> 0);
  writeMsr(demo, MSR.LSTAR, syscall);
  writeMsr(demo, MSR.FMASK, 0x700);
  main.emit('ret');

  // IRETQ back, which every accelerator can; SYSRET when asked for.
  main.bind(syscall);
  main.emit('mov', qword([v.ring3Stack]), R.rsp);
  main.emit('mov', R.esp, AT.RING0_STACK);
  main.emit('inc', dword([v.calls]));
  main.emit('cmp', R.eax, CALL.COUNT_SYSRET);
  main.emit('je', sysret);
  main.emit('push', SEL.USER_DATA_LONG);
  main.emit('push', qword([v.ring3Stack]));
  main.emit('push', R.r11);
  main.emit('push', SEL.USER_CODE64);
  main.emit('push', R.rcx);
  main.emit('iretq');
  main.bind(sysret);
  main.emit('mov', R.rsp, qword([v.ring3Stack]));
  main.emit('o64 sysret');
  return { run, prepare };
}

function program({ main, v }: Demo, parts: Ring3Parts, body: () => void): void {
  const [start, over] = [main.label('ring 3 program'), main.label()];
  main.emit('jmp', over);
  main.bind(start);
  body();
  // Leaves by an exception: on a /dev/kvm that emulates ring 0, code behind SYSCALL does not have all rights of ring 0.
  main.emit('mov', dword([v.leaving]), 1);
  main.emit('int3');
  main.bind(over);
  main.emit('mov', R.eax, start);
  main.emit('call', parts.run);
}

/** The bits of a double. */
const bitsOf = (value: number): bigint => new BigUint64Array(Float64Array.of(value).buffer)[0];

function exceptions({ main, v }: Demo, stage: StagePlan): void {
  const faults: readonly (readonly [text: string, seen: number, expected: number, body: () => void])[] = [
    [
      'DIV by zero raises #DE, vector',
      v.vector,
      0,
      () => {
        main.emit('xor', R.ecx, R.ecx);
        main.emit('div', R.rcx);
      },
    ],
    ['UD2 raises #UD, vector', v.vector, 6, () => main.emit('ud2')],
    ['HLT raises #GP, vector', v.vector, 13, () => main.emit('hlt')],
    ['INT3 raises #BP, vector', v.vector, 3, () => main.emit('int3')],
    [
      'page of ring 0 raises #PF, error',
      v.error,
      5,
      () => {
        main.emit('mov', R.rdi, SUPERVISOR_PAGE);
        main.emit('mov', R.rax, qword([R.rdi]));
      },
    ],
  ];
  for (const [text, seen, expected, body] of faults) {
    expectFault(main, v, body);
    copyCell(main, seen, stage.equal(text, expected));
  }
}

function floatingPoint({ main }: Demo, stage: StagePlan): void {
  // e as the sum of 1/n!, from the smallest term up, in 80 bits.
  main.emit('fninit');
  main.emit('mov', word([AT.USER]), 20);
  main.emit('fld1');
  const again = main.bind();
  main.emit('fidiv', word([AT.USER]));
  main.emit('fld1');
  main.emit('faddp', R.st1, R.st0);
  main.emit('dec', word([AT.USER]));
  main.emit('jne', again);
  main.emit('fstp', qword([stage.equal('x87: e by its series, 2.718281828459045', bitsOf(Math.E), 'hex')]));

  main.emit('mov', R.eax, 5);
  main.emit('cvtsi2sd', R.xmm0, R.eax);
  main.emit('sqrtsd', R.xmm0, R.xmm0);
  main.emit('mov', R.eax, 1);
  main.emit('cvtsi2sd', R.xmm1, R.eax);
  main.emit('addsd', R.xmm0, R.xmm1);
  main.emit('mov', R.eax, 2);
  main.emit('cvtsi2sd', R.xmm1, R.eax);
  main.emit('divsd', R.xmm0, R.xmm1);
  const golden = (Math.sqrt(5) + 1) / 2;
  main.emit('movsd', qword([stage.equal('SSE2: golden ratio, 1.618033988749895', bitsOf(golden), 'hex')]), R.xmm0);

  // 1 + … + 400 in four lanes.
  const ones = main.label('lanes');
  const over = main.label();
  main.emit('jmp', over);
  main.align(16);
  main.bind(ones);
  main.dd(1, 2, 3, 4, 4, 4, 4, 4);
  main.bind(over);
  main.emit('pxor', R.xmm2, R.xmm2);
  main.emit('movdqa', R.xmm0, { ...ptr([R.rip, ones]), size: 16 });
  main.emit('movdqa', R.xmm1, { ...ptr([R.rip, { kind: 'label-offset', label: ones, offset: 16 }]), size: 16 });
  repeat(main, 100, () => {
    main.emit('paddd', R.xmm2, R.xmm0);
    main.emit('paddd', R.xmm0, R.xmm1);
  });
  main.emit('pshufd', R.xmm3, R.xmm2, 0x4e);
  main.emit('paddd', R.xmm2, R.xmm3);
  main.emit('pshufd', R.xmm3, R.xmm2, 0xb1);
  main.emit('paddd', R.xmm2, R.xmm3);
  main.emit('movd', R.eax, R.xmm2);
  storeCell(main, stage.equal('SSE2: 1 + 2 + .. + 400 in four lanes', 80_200));
}

function sieve({ main }: Demo, stage: StagePlan): void {
  main.emit('mov', R.edi, SIEVE);
  main.emit('mov', R.ecx, SIEVE_LIMIT);
  main.emit('mov', R.eax, 1);
  main.emit('rep stosb');
  main.emit('mov', R.esi, SIEVE);
  main.emit('mov', R.ecx, 2);
  main.emit('xor', R.eax, R.eax);
  const next = main.bind();
  const [composite, inner, done] = [main.label(), main.label(), main.label()];
  main.emit('cmp', byte([R.rsi, R.rcx]), 0);
  main.emit('je', composite);
  main.emit('inc', R.eax);
  main.emit('lea', R.edx, ptr([R.rcx, R.rcx]));
  main.bind(inner);
  main.emit('cmp', R.edx, SIEVE_LIMIT);
  main.emit('jae', composite);
  main.emit('mov', byte([R.rsi, R.rdx]), 0);
  main.emit('add', R.edx, R.ecx);
  main.emit('jmp', inner);
  main.bind(composite);
  main.emit('inc', R.ecx);
  main.emit('cmp', R.ecx, SIEVE_LIMIT);
  main.emit('jb', next);
  main.bind(done);
  storeCell(main, stage.equal('primes below 100000, by a sieve', PRIMES_BELOW_100_000));
}

export function ring3(demo: Demo, parts: Ring3Parts): EmittedStage {
  const { main, v } = demo;
  const stage = new StagePlan('ring3', 'long mode, ring 3', demo.cells);
  const entry = main.bind();
  main.emit('call', parts.prepare);
  program(demo, parts, () => {
    exceptions(demo, stage);
    main.emit('mov', dword([v.calls]), 0);
    main.emit('mov', R.ebx, SYSCALLS);
    const again = main.bind();
    main.emit('xor', R.eax, R.eax);
    main.emit('syscall');
    main.emit('dec', R.ebx);
    main.emit('jne', again);
    copyCell(main, v.calls, stage.equal('SYSCALL, back by IRETQ, calls', SYSCALLS));
    floatingPoint(demo, stage);
    sieve(demo, stage);
    main.emit('mov', R.edi, PICTURE_AT);
    emitPicture(main);
    main.emit('mov', R.eax, R.ebx);
    storeCell(main, stage.equal('SSE2: rounds of the picture below', pictureSum()));
  });
  main.emit('ret');
  return { stage, entry };
}

/** The other ways from ring 3 to ring 0 and back, and 32-bit code under a 64-bit kernel. */
export function systemCalls(demo: Demo, parts: Ring3Parts): EmittedStage {
  const { main, v } = demo;
  const stage = new StagePlan('calls', 'system calls of all kinds', demo.cells);
  const entry = main.bind();
  main.emit('call', parts.prepare);
  const fast = stage.equal('SYSCALL, back by SYSRET, calls', SYSCALLS);
  const interrupts = stage.equal('INT 80h, calls', SYSCALLS);
  const answer = stage.equal('its answer, NOT 123456789ABCDEFh', ~0x0123_4567_89ab_cdefn & (2n ** 64n - 1n), 'hex');
  const entered = stage.equal('SYSENTER and SYSEXIT, calls', SYSCALLS);
  const compatible = stage.equal('compatibility mode: FFFFFFFFh + 2', 1);
  const narrow = stage.equal('INT 80h from 32-bit code, answer', 0xffff_fff0n, 'hex');

  const target = main.label('SYSENTER of long mode');
  writeMsr(demo, SYSENTER.CS, SEL.CODE64);
  writeMsr(demo, SYSENTER.ESP, AT.RING0_STACK);
  writeMsr(demo, SYSENTER.EIP, target);
  setCell(main, entered, 0);
  setCell(main, v.calls, 0);
  program(demo, parts, () => {
    main.emit('mov', R.ebx, SYSCALLS);
    const first = main.bind();
    main.emit('mov', R.eax, CALL.COUNT_SYSRET);
    main.emit('syscall');
    main.emit('dec', R.ebx);
    main.emit('jne', first);
    copyCell(main, v.calls, fast);

    main.emit('mov', dword([v.calls]), 0);
    repeat(main, SYSCALLS, () => {
      main.emit('mov', R.rax, 0x0123_4567_89ab_cdefn);
      main.emit('int', VECTOR.CALL);
    });
    main.emit('mov', qword([answer]), R.rax);
    copyCell(main, v.calls, interrupts);

    // Processors of AMD do not have it in long mode.
    const [missing, done] = [main.label(), main.label()];
    main.emit('mov', qword([v.resume]), missing);
    main.emit('mov', R.ebx, SYSCALLS);
    const back = main.label();
    const second = main.bind();
    main.emit('mov', R.rcx, R.rsp);
    main.emit('mov', R.edx, back);
    main.emit('sysenter');
    main.bind(back);
    main.emit('dec', R.ebx);
    main.emit('jne', second);
    main.emit('jmp', done);
    main.bind(missing);
    main.emit('cmp', dword([v.vector]), 6);
    main.emit('jne', done);
    main.emit('mov', dword([entered]), ABSENT);
    main.bind(done);
    main.emit('mov', dword([v.resume]), 0);

    // ---- 32-bit code ----
    const code32 = main.label('compatibility mode');
    const home = main.label('64-bit code again');
    main.emit('mov', R.eax, SEL.USER_DATA_LONG);
    main.emit('mov', R.ds, R.ax);
    main.emit('push', SEL.USER_CODE32_LONG);
    main.emit('push', code32);
    main.emit('o64 retf');
    main.bind(code32);
    main.bits = 32;
    main.emit('mov', R.eax, -1);
    // In 64-bit code these bytes are a REX prefix and an addition: EAX would be other than 1.
    main.emit('inc', R.eax);
    main.emit('inc', R.eax);
    main.emit('mov', dword([compatible]), R.eax);
    main.emit('mov', R.eax, 15);
    main.emit('int', VECTOR.CALL);
    main.emit('mov', dword([narrow]), R.eax);
    main.emit('jmpf', far(SEL.USER_CODE64, home));
    main.bind(home);
    main.bits = 64;
    for (const cell of [compatible, narrow]) main.emit('mov', dword([cell + 4]), 0);
  });
  main.emit('ret');
  main.bind(target);
  main.emit('inc', dword([entered]));
  main.emit('o64 sysexit');
  return { stage, entry };
}

/**
 * The oracle's native side: a static Linux program, in our own assembler's syntax. It reads cases from its standard
 * input, runs each on the host's processor and writes them back with their results.
 *
 * Everything happens in signal handlers. A case ends with INT3 or an exception; the kernel then has saved all registers
 * in the signal frame, from where the handler takes the results. It puts the next case's registers into the frame, and
 * returning from the handler loads them.
 */
import {
  CASE,
  CASE_IN_GPR,
  CASE_OUT_GPR,
  CASE_SIZE,
  CODE_SIZE,
  FX_USED,
  LEAD_SIZE,
  PLACE,
  WINDOW_SIZE,
} from './case-format.js';
import { clearData } from './guest-program.js';
import { LDT, type CaseSegment } from './segments.js';

/** Where the program puts its data. */
const AT = {
  /** Out of the way: Linux takes a stack pointer that happens to lie in it for a signal on a signal. */
  SIGNAL_STACK: 0x2b1a_97d3_0000,
  SIGNAL_STACK_SIZE: 0x1_0000,
  /** u64: end of the cases, the case that runs (0 before the first). */
  END: 0x3001_0000,
  CURRENT: 0x3001_0008,
  CASES: 0x4000_0000,
  CASES_SIZE: 0x400_0000,
} as const;

/** Cases that fit at once. */
export const NATIVE_CAPACITY = Math.floor(AT.CASES_SIZE / CASE_SIZE);

/** Linux, x86-64: system call numbers. */
const SYS = {
  READ: 0,
  WRITE: 1,
  MMAP: 9,
  RT_SIGACTION: 13,
  RT_SIGRETURN: 15,
  EXIT: 60,
  SIGALTSTACK: 131,
  MODIFY_LDT: 154,
} as const;
const SIGNALS = { SIGILL: 4, SIGTRAP: 5, SIGBUS: 7, SIGFPE: 8, SIGSEGV: 11 } as const;
/** SA_SIGINFO, SA_RESTORER, SA_ONSTACK, SA_NODEFER. */
const SA_FLAGS = 0x4c00_0004;
/** `struct ucontext`: registers from R8 on, and the pointer to the FXSAVE image (asm/sigcontext.h). */
const UC = { GPR: 40, FPSTATE: 224 } as const;
/** MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE; PROT_READ | PROT_WRITE | PROT_EXEC. */
const MAP_FLAGS = 0x32;
const PROT_ALL = 7;

const map = (address: number, size: number): string[] => [`mov rdi, ${address}`, `mov esi, ${size}`, 'call map'];

/** RSI and RDI are set. */
const copy = (bytes: number): string[] => [`mov ecx, ${bytes / 8}`, 'rep movsq'];

/** Makes an entry of the LDT: `struct user_desc` (asm/ldt.h). */
function modifyLdt(segment: CaseSegment, entry: number): string[] {
  const contents = segment.isCode ? 2 : segment.expandDown ? 1 : 0;
  const flags = (segment.big ? 1 : 0) | (contents << 1) | (segment.open ? 0 : 8) | (segment.present ? 0 : 0x20);
  return [
    ...[entry, segment.base, segment.limit, flags].flatMap((value, n) => [
      `mov eax, ${value}`,
      `mov [rsp + ${4 * n}], eax`,
    ]),
    'mov edi, 17',
    'mov rsi, rsp',
    'mov edx, 16',
    `mov eax, ${SYS.MODIFY_LDT}`,
    'syscall',
    'test eax, eax',
    'jnz no-ldt',
  ];
}

/** Exit status when the kernel does not let programs make such segments. */
export const NO_LDT = 3;

/** Its entry is the first instruction. */
export const nativeProgram = (withLdt: boolean): readonly string[] => [
  ...map(PLACE.CODE_PAGE, 0x1000),
  ...map(PLACE.DATA, PLACE.DATA_SIZE),
  ...map(AT.SIGNAL_STACK, AT.SIGNAL_STACK_SIZE),
  ...map(AT.END, 0x1000),
  ...map(AT.CASES, AT.CASES_SIZE),
  `mov edi, ${PLACE.CODE_PAGE}`,
  'mov ecx, 4096',
  'mov al, 204',
  'rep stosb',

  `mov ebx, ${AT.CASES}`,
  'read:',
  'mov rsi, rbx',
  'xor edi, edi',
  `mov edx, ${AT.CASES + AT.CASES_SIZE}`,
  'sub edx, ebx',
  `mov eax, ${SYS.READ}`,
  'syscall',
  'test rax, rax',
  'jle ready',
  'add rbx, rax',
  'jmp read',
  'ready:',
  `mov [${AT.END}], rbx`,

  'sub rsp, 64',
  `mov rax, ${AT.SIGNAL_STACK}`,
  'mov [rsp], rax',
  'xor esi, esi',
  'mov [rsp + 8], rsi',
  `mov eax, ${AT.SIGNAL_STACK_SIZE}`,
  'mov [rsp + 16], rax',
  'mov rdi, rsp',
  `mov eax, ${SYS.SIGALTSTACK}`,
  'syscall',
  ...(withLdt ? LDT.flatMap(modifyLdt) : []),
  ...Object.values(SIGNALS).flatMap((signal) => [`mov edi, ${signal}`, 'call catch']),
  'int3',

  'map:',
  `mov edx, ${PROT_ALL}`,
  `mov r10d, ${MAP_FLAGS}`,
  'mov r8, -1',
  'xor r9d, r9d',
  `mov eax, ${SYS.MMAP}`,
  'syscall',
  'ret',

  'catch:',
  'sub rsp, 64',
  'lea rax, [handler]',
  'mov [rsp], rax',
  `mov eax, ${SA_FLAGS}`,
  'mov [rsp + 8], rax',
  'lea rax, [restorer]',
  'mov [rsp + 16], rax',
  'xor edx, edx',
  'mov [rsp + 24], rdx',
  'mov rsi, rsp',
  'mov r10d, 8',
  `mov eax, ${SYS.RT_SIGACTION}`,
  'syscall',
  'add rsp, 64',
  'ret',

  'restorer:',
  `mov eax, ${SYS.RT_SIGRETURN}`,
  'syscall',

  // rdx: the context. rbx keeps it, rbp the floating-point image in it, r12 the case.
  'handler:',
  'mov rbx, rdx',
  `mov rbp, [rbx + ${UC.FPSTATE}]`,
  `mov r12, [${AT.CURRENT}]`,
  'test r12, r12',
  'jz first',
  `lea rsi, [rbx + ${UC.GPR}]`,
  'mov rdi, r12',
  ...copy(CASE_OUT_GPR),
  ...(['DS', 'ES', 'FS', 'GS'] as const).map((name) => `mov word [r12 + ${CASE[name]}], ${name.toLowerCase()}`),
  'mov rsi, rbp',
  `lea rdi, [r12 + ${CASE.FX}]`,
  ...copy(512),
  `mov esi, ${PLACE.WINDOW}`,
  `lea rdi, [r12 + ${CASE.WINDOW}]`,
  ...copy(WINDOW_SIZE),
  `add r12, ${CASE_SIZE}`,
  'jmp next',
  'first:',
  `mov r12d, ${AT.CASES}`,
  'next:',
  `mov [${AT.CURRENT}], r12`,
  `cmp r12, [${AT.END}]`,
  'jae done',
  'mov rsi, r12',
  `lea rdi, [rbx + ${UC.GPR}]`,
  ...copy(CASE_IN_GPR),
  `mov ax, word [r12 + ${CASE.DS}]`,
  'mov ds, ax',
  `mov ax, word [r12 + ${CASE.ES}]`,
  'mov es, ax',
  'xor eax, eax',
  'mov fs, ax',
  'mov gs, ax',
  `lea rsi, [r12 + ${CASE.LEAD}]`,
  `mov edi, ${PLACE.LEAD}`,
  ...copy(LEAD_SIZE + CODE_SIZE),
  `lea rsi, [r12 + ${CASE.FX}]`,
  'mov rdi, rbp',
  ...copy(FX_USED),
  // XSTATE_BV: x87 and SSE are in the image.
  'mov eax, [rbp + 512]',
  'or eax, 3',
  'mov [rbp + 512], eax',
  ...clearData,
  `lea rsi, [r12 + ${CASE.WINDOW}]`,
  `mov edi, ${PLACE.WINDOW}`,
  ...copy(WINDOW_SIZE),
  'ret',

  'done:',
  `mov ebx, ${AT.CASES}`,
  'write:',
  'mov rsi, rbx',
  'mov edi, 1',
  `mov rdx, [${AT.END}]`,
  'sub rdx, rbx',
  'jz exit',
  `mov eax, ${SYS.WRITE}`,
  'syscall',
  'test rax, rax',
  'jle exit',
  'add rbx, rax',
  'jmp write',
  'no-ldt:',
  `mov edi, ${NO_LDT}`,
  'jmp leave-with',
  'exit:',
  'xor edi, edi',
  'leave-with:',
  `mov eax, ${SYS.EXIT}`,
  'syscall',
];

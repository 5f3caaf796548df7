/**
 * The oracle's guest side: a kernel for one accelerator under test that runs cases from guest memory at CPL 3 and puts
 * their results back, in the format of the native side. It needs nothing but a CPU and memory.
 */
import { CASE, CASE_SIZE, CODE_SIZE, GPR_PLACE, LEAD_SIZE, PLACE, WINDOW_SIZE } from './case-format.js';

/** Guest-physical addresses. All of memory is mapped at KERNEL_BASE, for CPL 0 only. */
export const GUEST = {
  PAGE_TABLES: 0x1_0000,
  GDT: 0x6000,
  LDT: 0x6400,
  IDT: 0x6800,
  TSS: 0x6c00,
  /** u64: end of the cases, the case that runs. */
  END: 0x7000,
  CURRENT: 0x7008,
  STACK_TOP: 0x7ff0,
  KERNEL: 0x8000,
  /** What CODE_PAGE and DATA of PLACE are mapped to. */
  CODE_PAGE: 0x20_0000,
  DATA: 0x20_1000,
  CASES: 0x100_0000,
  CASES_SIZE: 0x200_0000,
  MEMORY_SIZE: 0x400_0000,
} as const;

/** -2 GiB: in the upper half, so that what user code reaches in the lower half is not mapped on either side. */
export const KERNEL_BASE = -0x8000_0000;
/** Linear address of guest-physical memory, as a signed number. */
export const kernelAddress = (physical: number): number => KERNEL_BASE + physical;

/** Cases that fit at once. */
export const GUEST_CAPACITY = Math.floor(GUEST.CASES_SIZE / CASE_SIZE);

/** As under Linux, so that what reads them sees the same. */
export const SELECTOR = { KERNEL_CODE: 0x10, KERNEL_DATA: 0x18, TSS: 0x40 } as const;

const NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
/** RSP and R15 are dealt with apart. */
const PLAIN = NAMES.map((name, n) => ({ name, at: CASE.GPR + 8 * GPR_PLACE[n] })).filter(
  ({ name }) => name !== 'rsp' && name !== 'r15',
);
const RSP_AT = CASE.GPR + 8 * GPR_PLACE[4];
const R15_AT = CASE.GPR + 8 * GPR_PLACE[15];

const popTo = (at: number): string[] => ['pop rax', `mov [r15 + ${at}], rax`];
/** What a case has left outside the window, part of an operand that then faulted perhaps, is no other's business. */
export const clearData: readonly string[] = [
  'xor eax, eax',
  `mov edi, ${PLACE.DATA}`,
  `mov ecx, ${PLACE.DATA_SIZE / 8}`,
  'rep stosq',
];
const copy = (bytes: number): string[] => [`mov ecx, ${bytes / 8}`, 'rep movsq'];

/** Starts at `start` with nothing in registers; exceptions come to `common` with their vector pushed. */
export const GUEST_PROGRAM: readonly string[] = [
  // On the stack: R15 (by the next line), vector, error code, RIP, CS, RFLAGS, RSP, SS.
  'common:',
  'push r15',
  `mov r15, [${kernelAddress(GUEST.CURRENT)}]`,
  ...PLAIN.map(({ name, at }) => `mov [r15 + ${at}], ${name}`),
  ...popTo(R15_AT),
  ...popTo(CASE.TRAP),
  ...popTo(CASE.ERROR),
  ...popTo(CASE.RIP),
  'pop rax',
  `mov word [r15 + ${CASE.CS}], ax`,
  ...popTo(CASE.RFLAGS),
  ...popTo(RSP_AT),
  'pop rax',
  `mov word [r15 + ${CASE.SS}], ax`,
  ...(['DS', 'ES', 'FS', 'GS'] as const).map((name) => `mov word [r15 + ${CASE[name]}], ${name.toLowerCase()}`),
  'mov rax, cr2',
  `mov [r15 + ${CASE.CR2}], rax`,
  `fxsave [r15 + ${CASE.FX}]`,
  'cld',
  `mov esi, ${PLACE.WINDOW}`,
  `lea rdi, [r15 + ${CASE.WINDOW}]`,
  ...copy(WINDOW_SIZE),
  `add r15, ${CASE_SIZE}`,
  'jmp next',

  'start:',
  `mov r15, ${kernelAddress(GUEST.CASES)}`,
  'next:',
  `mov [${kernelAddress(GUEST.CURRENT)}], r15`,
  `cmp r15, [${kernelAddress(GUEST.END)}]`,
  'jae done',
  `lea rsi, [r15 + ${CASE.LEAD}]`,
  `mov rdi, ${kernelAddress(GUEST.CODE_PAGE + (PLACE.LEAD - PLACE.CODE_PAGE))}`,
  ...copy(LEAD_SIZE + CODE_SIZE),
  ...clearData,
  `lea rsi, [r15 + ${CASE.WINDOW}]`,
  `mov edi, ${PLACE.WINDOW}`,
  ...copy(WINDOW_SIZE),
  `fxrstor [r15 + ${CASE.FX}]`,
  `mov rsp, ${kernelAddress(GUEST.STACK_TOP)}`,
  `mov ax, word [r15 + ${CASE.DS}]`,
  'mov ds, ax',
  `mov ax, word [r15 + ${CASE.ES}]`,
  'mov es, ax',
  'xor eax, eax',
  'mov fs, ax',
  'mov gs, ax',
  `movzx eax, word [r15 + ${CASE.SS}]`,
  'push rax',
  `push qword [r15 + ${RSP_AT}]`,
  `push qword [r15 + ${CASE.RFLAGS}]`,
  `movzx eax, word [r15 + ${CASE.CS}]`,
  'push rax',
  `push qword [r15 + ${CASE.RIP}]`,
  ...PLAIN.map(({ name, at }) => `mov ${name}, [r15 + ${at}]`),
  `mov r15, [r15 + ${R15_AT}]`,
  'iretq',

  'done:',
  'hlt',
  'jmp done',
];

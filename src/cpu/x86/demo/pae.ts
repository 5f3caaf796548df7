/** Paging with physical address extensions: 3 levels, 2 MiB pages, pages that cannot be executed. */
import { R, dword, type Label } from '../assembler/index.js';
import { clear, copyCell, expectFault, fillTable, repeat, setCell, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { ABSENT, AT, StagePlan } from './plan.js';

const POINTERS = AT.TABLES + 0x4000;
const DIRECTORY = AT.TABLES + 0x5000;
const ALIAS_DIRECTORY = AT.TABLES + 0x6000;
const ALIAS = 0xc000_0000;
const PAGE = { P: 1, W: 2, PS: 0x80 } as const;
const EFER = 0xc000_0080;
const EFER_NXE = 0x800;
const CR4_PAE = 0x20;
const WORDS = 1024;

/** Jumps to `target` when EDX of CPUID leaf 80000001h lacks a bit. */
export function unlessExtended({ main }: Demo, bit: number, target: Label): void {
  main.emit('mov', R.eax, 0x8000_0000);
  main.emit('cpuid');
  main.emit('cmp', R.eax, 0x8000_0001);
  main.emit('jb', target);
  main.emit('mov', R.eax, 0x8000_0001);
  main.emit('cpuid');
  main.emit('test', R.edx, bit);
  main.emit('je', target);
}
export const EXTENDED = { SYSCALL: 1 << 11, NX: 1 << 20, LM: 1 << 29 } as const;

export function pae(demo: Demo): EmittedStage {
  const { main, v } = demo;
  const stage = new StagePlan('pae', 'physical address extensions', demo.cells);
  const entry = main.bind();
  const all = PAGE.P | PAGE.W | PAGE.PS;
  clear(main, POINTERS, 0x3000);
  main.emit('mov', dword([POINTERS]), DIRECTORY | PAGE.P);
  main.emit('mov', dword([POINTERS + 3 * 8]), ALIAS_DIRECTORY | PAGE.P);
  fillTable(main, { at: DIRECTORY, count: 512, size: 8, first: all, step: 0x20_0000 });
  // 3 GiB is another name of USER's 2 MiB, and so is 3 GiB + 2 MiB, which cannot be executed.
  const physical = AT.USER & ~0x1f_ffff;
  for (const n of [0, 1]) main.emit('mov', dword([ALIAS_DIRECTORY + n * 8]), physical | all);

  const noNx = main.label();
  const sum = stage.equal('a 2 MiB page under two addresses: sum', (WORDS * (WORDS + 1)) / 2);
  const nx = stage.equal('instruction fetch from an NX page: error', 0x11, 'hex');
  setCell(main, nx, ABSENT);
  unlessExtended(demo, EXTENDED.NX, noNx);
  main.emit('mov', R.ecx, EFER);
  main.emit('rdmsr');
  main.emit('or', R.eax, EFER_NXE);
  main.emit('wrmsr');
  main.emit('mov', dword([ALIAS_DIRECTORY + 12]), 0x8000_0000);
  main.bind(noNx);
  main.emit('mov', R.eax, R.cr4);
  main.emit('or', R.eax, CR4_PAE);
  main.emit('mov', R.cr4, R.eax);
  main.emit('mov', R.eax, POINTERS);
  main.emit('mov', R.cr3, R.eax);
  main.emit('mov', R.eax, R.cr0);
  main.emit('or', R.eax, 0x8000_0000);
  main.emit('mov', R.cr0, R.eax);

  main.emit('mov', R.edi, ALIAS + (AT.USER - physical));
  repeat(main, WORDS, () => {
    main.emit('mov', dword([R.edi]), R.ecx);
    main.emit('add', R.edi, 4);
  });
  main.emit('xor', R.eax, R.eax);
  main.emit('mov', R.esi, AT.USER);
  repeat(main, WORDS, () => {
    main.emit('add', R.eax, dword([R.esi]));
    main.emit('add', R.esi, 4);
  });
  storeCell(main, sum);

  // Execute disable, and the address that was fetched from.
  main.emit('test', dword([ALIAS_DIRECTORY + 12]), 0x8000_0000);
  const end = main.label();
  main.emit('je', end);
  expectFault(main, v, () => {
    main.emit('mov', R.eax, ALIAS + 0x20_0000);
    main.emit('jmp', R.eax);
  });
  copyCell(main, v.error, nx);
  main.bind(end);

  main.emit('mov', R.eax, R.cr0);
  main.emit('and', R.eax, 0x7fff_ffff);
  main.emit('mov', R.cr0, R.eax);
  main.emit('mov', R.eax, R.cr4);
  main.emit('and', R.eax, ~CR4_PAE);
  main.emit('mov', R.cr4, R.eax);
  main.emit('ret');
  return { stage, entry };
}

/** Which rows of the table the oracle can run in user mode, and why the others are left out. */
import { INSTRUCTIONS } from '../../arch/x86/instructions/index.js';
import type { Instruction } from '../../arch/x86/instructions/row.js';
import type { EnvironmentKind } from './segments.js';

/** Rows marked `system` that behave the same for user code everywhere: they fault, or touch user state only. */
const USER_SAFE = new RegExp(
  '^(' +
    'fxsave|fxrstor|xsave|xsaveopt|xsavec|xrstor|ldmxcsr|stmxcsr|fldenv|fnstenv|frstor|fnsave|pushf|popf|' +
    'cli|sti|hlt|clts|invd|wbinvd|invlpg|lgdt|lidt|lldt|ltr|lmsw|mov_(from|to)_[cd]r|rdmsr|wrmsr|xsetbv|swapgs|' +
    'sysret|clac|stac|invpcid|xsaves|xrstors|ud|int|rsm|mov_from_sreg|push_sreg|rdfsbase|rdgsbase|into|bound|arpl|' +
    'mov_to_sreg|pop_sreg|les|lds|lss|lfs|lgs|lar|lsl|verr|verw|(call|jmp)_far_(ptr|mem)|ret_far|ret_far_imm|iret|' +
    'insb?|outsb?|(in|out)(_al)?_(imm|dx)' +
    ')$',
);

/** Names that differ between our feature names and /proc/cpuinfo. */
const LINUX_NAMES: Readonly<Record<string, string>> = { sse3: 'pni' };

export interface Selection {
  readonly rows: readonly Instruction[];
  /** What is left out, with the reason. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/** Rows for a host with these features (names of /proc/cpuinfo). */
export function selectRows(host: ReadonlySet<string>): Selection {
  const rows: Instruction[] = [];
  const leftOut: { name: string; reason: string }[] = [];
  for (const row of INSTRUCTIONS) {
    const feature = row.feature === undefined ? undefined : (LINUX_NAMES[row.feature] ?? row.feature);
    if (feature !== undefined && !host.has(feature))
      leftOut.push({ name: row.name, reason: `the host has no ${feature}` });
    else if (row.attributes.has('system') && !USER_SAFE.test(row.name))
      leftOut.push({ name: row.name, reason: 'its result belongs to the system it runs in' });
    else rows.push(row);
  }
  return { rows, leftOut };
}

/** A row to make a case of, and what it runs in. */
export interface Task {
  readonly row: Instruction;
  readonly kind: EnvironmentKind;
}

/** How many kinds of cases a row has, roughly: its share of all cases. */
function weight(row: Instruction): number {
  const forms = row.modrm && row.mod === undefined && row.operands.some(({ kind }) => 'EWQ'.includes(kind)) ? 2 : 1;
  const sizes = row.operands.some(({ size }) => size === 'v' || size === 'z') ? 2 : 1;
  const float = row.feature === 'fpu' || /[ps][sd]$/.test(row.mnemonic) ? 3 : 1;
  if (row.attributes.has('cpl0') || row.name === 'nop') return 0.25;
  return forms * sizes * float;
}

/** Shares of the environments, for rows of all modes and for those that are not in 64-bit mode. */
const MIX: readonly EnvironmentKind[] = ['64', 'flat32', '64', 'segmented32', '64', 'segmented16', '64', '64'];
const MIX_NOT_64: readonly EnvironmentKind[] = ['flat32', 'segmented32', 'segmented16'];

/** `count` tasks in turn, each row as often as its weight says; the same for the same rows and count. */
export function distribute(rows: readonly Instruction[], count: number, kinds?: readonly EnvironmentKind[]): Task[] {
  const total = rows.reduce((sum, row) => sum + weight(row), 0);
  const tasks: Task[] = [];
  let due = 0;
  for (const row of rows) {
    due += (weight(row) / total) * count;
    const only64 = row.mode === 'only64' || row.rexW === true;
    const mix = only64 ? (['64'] as const) : row.mode === 'not64' ? MIX_NOT_64 : MIX;
    const possible = mix.filter((kind) => kinds?.includes(kind) ?? true);
    for (let n = 0; tasks.length < Math.round(due) && possible.length > 0; n++)
      tasks.push({ row, kind: possible[n % possible.length] });
  }
  return tasks;
}

/** The oracle's own programs are written as lines of text, one instruction or label each; our assembler makes code of them. */
import {
  Assembler,
  ptr,
  qword,
  R,
  word,
  type AsmOperand,
  type Label,
  type Register,
} from '../../cpu/x86/assembler/index.js';

export interface Program {
  readonly bytes: Uint8Array;
  readonly labels: ReadonlyMap<string, number>;
}

const REGISTERS: ReadonlyMap<string, Register> = new Map(Object.entries<Register>(R));

/** Assembles 64-bit code. Operands: registers, numbers, labels, `[register + number]`, `[number]`, `[label]`, `word [...]`, `qword [...]`. */
export function assembleProgram(lines: readonly string[], origin: number): Program {
  const assembler = new Assembler({ bits: 64, origin });
  const labels = new Map<string, Label>();
  const label = (name: string): Label => {
    const known = labels.get(name) ?? assembler.label(name);
    labels.set(name, known);
    return known;
  };
  const term = (text: string): Register | Label | number => {
    if (/^-?\d+$/.test(text)) return Number(text);
    return REGISTERS.get(text) ?? label(text);
  };
  const operand = (text: string): AsmOperand => {
    const memory = /^(?:(word|qword) )?\[(.+)\]$/.exec(text);
    if (memory === null) return term(text);
    const terms = memory[2].split(' + ').map(term);
    // Labels are reached relative to RIP.
    const all = terms.some((each) => typeof each === 'object' && each.kind === 'label') ? [R.rip, ...terms] : terms;
    if (memory[1] === 'word') return word(all);
    return memory[1] === 'qword' ? qword(all) : ptr(all);
  };
  for (const line of lines) {
    if (line.endsWith(':')) {
      assembler.bind(label(line.slice(0, -1)));
      continue;
    }
    const [, text, operands] = /^((?:rep )?\S+)(?: (.+))?$/.exec(line) ?? [];
    assembler.emit(text, ...(operands === undefined ? [] : operands.split(', ').map(operand)));
  }
  const bytes = assembler.finish();
  return { bytes, labels: new Map([...labels].map(([name, each]) => [name, Number(assembler.addressOf(each))])) };
}

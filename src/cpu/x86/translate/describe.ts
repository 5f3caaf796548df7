/** A region as text: its guest code, the intermediate form of each block, and the WebAssembly that became of all. */
import { GPR_NAMES } from '../../../arch/x86/state.js';
import type { FunctionRef } from '../../../ir/nodes.js';
import { formText } from '../../../ir/text.js';
import { functionText } from '../../../ir/wasm/text.js';
import type { CpuBases } from '../interpreter/handlers.js';
import { disassemble } from '../disassembler.js';
import { RECORD_SIZE, STATE } from '../state-layout.js';
import type { CodeView } from './code-view.js';
import type { Region } from './region.js';
import type { RegionExit } from './region-builder.js';
import type { RegionBlock, RegionGraph, Target, Unit } from './scan.js';

export interface Translation {
  readonly graph: RegionGraph;
  readonly region: Region;
  readonly view: CodeView;
  readonly bases: CpuBases;
  /** Functions that it calls, by their indices. */
  readonly callees: readonly FunctionRef[];
}

/** Bytes that one instruction can have. */
const MOST_BYTES = 15;
const MODE_64 = 2;

const FIELDS = Object.entries(STATE).sort(([, a], [, b]) => a - b);

/** Names of fields of the state, of registers by their own. */
function stateName(offset: number): string | undefined {
  const gpr = offset - STATE.GPR;
  if (gpr >= 0 && gpr < 128) return `${GPR_NAMES[gpr >> 3]}${gpr & 7 ? `+${String(gpr & 7)}` : ''}`;
  const xmm = offset - STATE.XMM;
  if (xmm >= 0 && xmm < 256) return `xmm${String(xmm >> 4)}${xmm & 15 ? `+${String(xmm & 15)}` : ''}`;
  const found = FIELDS.findLast(([, at]) => at <= offset);
  if (found === undefined) return undefined;
  const [name, at] = found;
  return `${name.toLowerCase()}${offset === at ? '' : `+${String(offset - at)}`}`;
}

class Describer {
  private readonly is64: boolean;
  /** Records by what they are called. */
  private readonly records = new Map<number, string>();

  constructor(private readonly translation: Translation) {
    this.is64 = (translation.view.state32('MODE_KEY') & 3) === MODE_64;
    const { graph, view } = translation;
    for (const { units, page, stop, start } of graph.blocks) {
      const name = (record: number | undefined, suffix = ''): void => {
        if (record === undefined || this.records.has(record)) return;
        const at = graph.pages[page].delta + view.offset(record);
        this.records.set(record, `@${at.toString(16).padStart(4, '0')}${suffix}`);
      };
      for (const unit of units) {
        name(unit.record);
        name(unit.start, '.address');
      }
      name(stop);
      name(start);
    }
    for (const { units } of graph.blocks)
      for (const { record } of units) {
        const behind = this.records.get(record);
        if (behind !== undefined && !this.records.has(record + RECORD_SIZE))
          this.records.set(record + RECORD_SIZE, `behind ${behind}`);
      }
  }

  /** Records, alone or with a number of instructions in their low bits. */
  private readonly constant = (value: number): string | undefined => {
    const name = this.records.get(value & -RECORD_SIZE);
    const done = value & (RECORD_SIZE - 1);
    return name === undefined || done === 0 ? name : `${name} after ${String(done)}`;
  };

  /** Of addresses in the CPU's state. */
  private readonly address = (address: number): string | undefined => {
    const offset = address - this.translation.bases.state;
    if (offset >= 0 && offset < STATE.SCRATCH) return stateName(offset);
    const record = this.records.get(address & -RECORD_SIZE);
    return record === undefined ? undefined : `${record}+${String(address & (RECORD_SIZE - 1))}`;
  };

  /** Variables by number. */
  private get variables(): Map<number, string> {
    const { builder } = this.translation.region.inside;
    const { flagVariables, target, proved } = builder;
    const names = new Map<number, string>([
      [flagVariables.a.id, 'flag_a'],
      [flagVariables.b.id, 'flag_b'],
      [flagVariables.kind.id, 'flag_kind'],
      [target.id, 'target'],
      [proved.id, 'proved'],
    ]);
    for (const { address, variable } of builder.slots) names.set(variable.id, this.address(address) ?? 'state');
    return names;
  }

  guest(): string[] {
    const { graph } = this.translation;
    return graph.blocks.flatMap((block) => [
      this.head(block),
      ...block.units.map((unit) => this.instruction(block, unit)),
    ]);
  }

  private head(block: RegionBlock): string {
    const target = (name: string, to: Target | undefined): string => {
      if (to === undefined) return '';
      return `, ${name} ${to.kind === 'block' ? `block ${String(to.block)}` : `out at ${to.offset.toString(16)}`}`;
    };
    const inlined = block.context === 0 ? '' : ` (inlined ${String(block.context)})`;
    const ways = target('taken', block.taken) + target('next', block.next) + target('returns to', block.expected);
    return `block ${String(block.id)}${inlined}${ways}`;
  }

  private instruction(block: RegionBlock, { record }: Unit): string {
    const { view, graph } = this.translation;
    const page = graph.pages[block.page];
    const offset = view.offset(record);
    const bytes = new Uint8Array(view.memory.buffer, page.code.host + offset, MOST_BYTES).slice();
    const address = BigInt(page.delta + offset);
    return `  ${address.toString(16).padStart(4, '0')}  ${disassemble(bytes, this.is64 ? 64 : 32, address).text}`;
  }

  private static exit(exit: RegionExit): string {
    switch (exit.kind) {
      case 'interpret':
        return `to the interpreter${exit.faulted ? ', not by a TLB miss' : ''}, ${String(exit.done)} done`;
      case 'answer':
        return 'as the helper says';
      default:
        return exit.kind;
    }
  }

  form(): string[] {
    const { pieces, exits } = this.translation.region.inside;
    const { variables } = this;
    return [...pieces].flatMap(([id, piece]) => [
      `block ${String(id)}`,
      ...formText(piece, {
        variable: ({ id: variable }) => variables.get(variable),
        address: this.address,
        constant: this.constant,
        exit: (name) => {
          const exit = exits.get(id)?.[Number(name)];
          return exit ? Describer.exit(exit) : name;
        },
      }).map((line) => `  ${line}`),
    ]);
  }

  wasm(): string[] {
    const { region, callees } = this.translation;
    const { locals, how, where } = region.inside;
    const names = new Map([
      [0, 'entry'],
      [1, 'left'],
      [how, 'how'],
      [where, 'where'],
    ]);
    for (const [variable, name] of this.variables) {
      const local = locals.get(variable);
      if (local !== undefined) names.set(local, name);
    }
    return [
      ...functionText(region.code, {
        local: (index) => names.get(index),
        callee: (index) => callees[index],
        address: this.address,
        constant: this.constant,
      }),
    ];
  }
}

export interface RegionTexts {
  readonly guest: readonly string[];
  readonly form: readonly string[];
  readonly wasm: readonly string[];
}

export function describeRegion(translation: Translation): RegionTexts {
  const describer = new Describer(translation);
  return { guest: describer.guest(), form: describer.form(), wasm: describer.wasm() };
}

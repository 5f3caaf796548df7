import { describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from './index.js';
import type { Instruction } from './row.js';

/** One point of the encoding space that rows choose from. */
interface Encoding {
  readonly map: number;
  readonly opcode: number;
  readonly prefix: 'none' | '66' | 'F3' | 'F2';
  readonly mod: 'reg' | 'mem';
  readonly reg: number;
  readonly rm: number;
  readonly long: boolean;
  readonly rexW: boolean;
  readonly rexB: boolean;
  readonly address64: boolean;
}

const takesEight = (row: Instruction): boolean => row.operands.some((operand) => operand.kind === 'Z');

function matches(row: Instruction, at: Encoding): boolean {
  return (
    row.map === at.map &&
    (row.opcode === at.opcode || (takesEight(row) && at.opcode >> 3 === row.opcode >> 3)) &&
    (row.prefix === 'any' || row.prefix === at.prefix) &&
    (row.mode === 'all' || (row.mode === 'only64') === at.long) &&
    (row.digit === undefined || row.digit === at.reg) &&
    (row.mod === undefined || row.mod === at.mod) &&
    (row.rm === undefined || row.rm === at.rm) &&
    (row.rexW === undefined || row.rexW === at.rexW) &&
    (row.rexB === undefined || row.rexB === at.rexB) &&
    (row.address64 === undefined || row.address64 === at.address64)
  );
}

/** How many conditions a row has; of two that match, the one with more must come first. */
function narrowness(row: Instruction): number {
  const conditions = [row.digit, row.mod, row.rm, row.rexW, row.rexB, row.address64];
  return (
    conditions.filter((condition) => condition !== undefined).length +
    (row.prefix === 'any' ? 0 : 1) +
    (row.mode === 'all' ? 0 : 1) +
    (takesEight(row) ? 0 : 1)
  );
}

function* encodings(map: number, opcode: number): Generator<Encoding> {
  const both = [false, true];
  const eight = [0, 1, 2, 3, 4, 5, 6, 7];
  for (const prefix of ['none', '66', 'F3', 'F2'] as const)
    for (const mod of ['reg', 'mem'] as const)
      for (const reg of eight)
        for (const rm of mod === 'reg' ? eight : [0])
          for (const long of both)
            for (const rexW of long ? both : [false])
              for (const rexB of long ? both : [false])
                for (const address64 of long ? both : [false])
                  yield { map, opcode, prefix, mod, reg, rm, long, rexW, rexB, address64 };
}

const describeRow = (row: Instruction): string =>
  `${row.mnemonic} ${row.operands.map((operand) => operand.kind + operand.size).join(',')} (${row.name})`;

describe('instruction table', () => {
  it('has one row for each encoding, or the narrower one first', () => {
    const problems = new Set<string>();
    for (const map of [0, 1, 2, 3])
      for (let opcode = 0; opcode < 256; opcode++) {
        const rows = INSTRUCTIONS.filter(
          (row) => row.map === map && (row.opcode === opcode || (takesEight(row) && opcode >> 3 === row.opcode >> 3)),
        );
        if (rows.length < 2) continue;
        for (const at of encodings(map, opcode)) {
          const found = rows.filter((row) => matches(row, at));
          for (let n = 1; n < found.length; n++)
            if (narrowness(found[n - 1]) <= narrowness(found[n]))
              problems.add(`${describeRow(found[n - 1])} and ${describeRow(found[n])}`);
        }
      }
    expect([...problems]).toEqual([]);
  });

  it('gives every opcode one answer to whether a ModRM byte follows', () => {
    const problems = INSTRUCTIONS.filter((row) =>
      INSTRUCTIONS.some(
        (other) =>
          other.map === row.map &&
          other.opcode === row.opcode &&
          other.modrm !== row.modrm &&
          (other.mode === row.mode || other.mode === 'all' || row.mode === 'all'),
      ),
    );
    expect(problems.map(describeRow)).toEqual([]);
  });

  it('reaches every row', () => {
    const unreachable = INSTRUCTIONS.filter((row) => {
      const before = INSTRUCTIONS.slice(0, INSTRUCTIONS.indexOf(row)).filter((other) => other.map === row.map);
      for (const at of encodings(row.map, takesEight(row) ? row.opcode + 1 : row.opcode))
        if (matches(row, at) && !before.some((other) => matches(other, at))) return false;
      return true;
    });
    expect(unreachable.map(describeRow)).toEqual([]);
  });

  it('uses only flag letters, and says nothing twice', () => {
    for (const row of INSTRUCTIONS)
      for (const flags of [row.flags.tested, row.flags.modified, row.flags.undefined]) {
        expect(flags, describeRow(row)).toMatch(/^[oszapc]*$/);
        expect(new Set(flags).size, describeRow(row)).toBe(flags.length);
      }
  });

  it('has at most one ModRM.rm, one ModRM.reg and three operands', () => {
    const count = (row: Instruction, kinds: string): number =>
      row.operands.filter((operand) => operand.kind.length === 1 && kinds.includes(operand.kind)).length;
    for (const row of INSTRUCTIONS) {
      expect(count(row, 'EMRUWNQ'), describeRow(row)).toBeLessThanOrEqual(1);
      expect(count(row, 'GSCDVP'), describeRow(row)).toBeLessThanOrEqual(1);
      expect(row.operands.length, describeRow(row)).toBeLessThanOrEqual(3);
    }
  });

  it('lets LOCK only where memory is read and written', () => {
    for (const row of INSTRUCTIONS.filter((each) => each.attributes.has('lock')))
      expect(row.operands[0], describeRow(row)).toMatchObject({ access: 'rw' });
  });

  it('gives rows of one name the same flags', () => {
    const byName = new Map<string, Instruction>();
    for (const row of INSTRUCTIONS) {
      const first = byName.get(row.name);
      byName.set(row.name, first ?? row);
      // Shifts by one leave less undefined than others.
      if (first !== undefined) expect(row.flags.tested, describeRow(row)).toBe(first.flags.tested);
    }
  });
});

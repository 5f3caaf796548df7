import { describe, expect, it } from 'vitest';
import { InterpVm } from '../../accel/interp/vm.js';
import { PAGE_SIZE } from '../../base/units.js';
import { buildDemo } from '../../cpu/x86/demo/image.js';
import type { PageRange } from '../../host/node/memory-runs.js';
import type { BootSource } from '../../machine/common/board.js';
import { SnapshotReader, SnapshotWriter } from '../../snapshot/container.js';
import { SnapshotBuffer } from '../../snapshot/snapshot-buffer.js';
import { accelerate, type TestedAccelerator } from '../../testing/accelerators.js';
import { deflate } from '../../testing/deflate.js';
import { TestHost } from '../../testing/machine-host.js';
import { VirtualMachine } from '../../vmm/machine.js';
import { closeCode, CodeFile, type CodeOfBranch } from './code-file.js';

const demo: BootSource = { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules: [] } };

/** What is hot there soon is, so that records lead to translated code when they are taken. */
const HOT = 20;

function hostOn(accelerator: TestedAccelerator): TestHost {
  const host = new TestHost();
  host.createVm = (request) => new InterpVm({ ...request, ...accelerate(accelerator, HOT) });
  return host;
}

/**
 * A BIOS whose guest changes an instruction 65,536 times, and tells port e9h each time what that one does: 1, 2 and so on. It runs in RAM, since ROM is not forked.
 */
function changingCode(): BootSource {
  const program = [
    // At 0:2000h MOV AL, 0; RETF. MOV CX, 0
    ...[0xc7, 0x06, 0x00, 0x20, 0xb0, 0x00, 0xc6, 0x06, 0x02, 0x20, 0xcb, 0xb9, 0x00, 0x00],
    // INC byte [2001h]; CALL 0:2000h; AND AL, 7fh; OUT e9h, AL; LOOP
    ...[0xfe, 0x06, 0x01, 0x20, 0x9a, 0x00, 0x20, 0x00, 0x00, 0x24, 0x7f, 0xe6, 0xe9, 0xe2, 0xf1],
    // MOV AL, 0; to port f4h; HLT
    ...[0xb0, 0x00, 0xe6, 0xf4, 0xf4],
  ];
  const start = [
    // XOR AX, AX; MOV DS, AX; MOV ES, AX; MOV SS, AX; MOV SP, 4000h
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x40],
    // MOV SI, ff80h; MOV DI, 3000h; MOV CX, …; CLD; REP MOVS from CS; JMP 0:3000h
    ...[0xbe, 0x80, 0xff, 0xbf, 0x00, 0x30, 0xb9, program.length, 0x00, 0xfc, 0xf3, 0x2e, 0xa4, 0xea, 0x00, 0x30, 0, 0],
  ];
  const rom = new Uint8Array(0x1_0000);
  rom.set(start, 0xff00);
  rom.set(program, 0xff80);
  rom.set([0xe9, 0x0d, 0xff], 0xfff0);
  return { bios: { name: 'bios', image: rom } };
}

function runTo(host: TestHost, machine: VirtualMachine, instructions: number): void {
  host.stopAt = instructions;
  expect(machine.run()).toEqual({ kind: 'stopped' });
}

/** Pages that are not the same. */
const changedPages = (before: Uint8Array, after: Uint8Array): PageRange[] =>
  Array.from({ length: after.length / PAGE_SIZE }, (_, page) => ({ page, count: 1 })).filter(({ page }) => {
    const of = (bytes: Uint8Array): Buffer => Buffer.from(bytes.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
    return !of(before).equals(of(after));
  });

/** A machine that is as another one is now. */
function fork(host: TestHost, machine: VirtualMachine, boot: BootSource, adopt: (fork: VirtualMachine['vm']) => void) {
  const state = new SnapshotBuffer('fork');
  machine.save(new SnapshotWriter(state, deflate), 'apart');
  const ram = machine.ram.slice();
  return (host.machine = VirtualMachine.restore(new SnapshotReader(state, deflate), host, {
    name: 'fork',
    apart: {
      readBoot: () => boot,
      fillMemory: (into, vm) => {
        into.set(ram);
        adopt(vm);
      },
    },
  }));
}

function branchOf(file: CodeFile, machine: VirtualMachine, changed: readonly PageRange[]): CodeOfBranch {
  const code = file.branch(machine.vm, changed);
  if (!code) throw new Error('nothing was taken');
  return code;
}

/** Bytes of decoded code that a machine has. */
const decoded = ({ vm }: VirtualMachine): number => vm.takeCode?.(undefined, () => {})?.size ?? 0;

describe.each(['interp', 'wasm'] as const)('decoded code that another machine begins with, on %s', (accelerator) => {
  it('does what code does that is decoded anew', () => {
    const whole = hostOn(accelerator);
    const first = whole.create({ boot: demo });
    expect(first.run()).toEqual({ kind: 'power-off' });
    const all = Number(first.cpus[0].retired ?? 0n);

    // Each begins with what the one before has decoded, and had begun with.
    let host = hostOn(accelerator);
    let machine = host.create({ boot: demo });
    let file = new CodeFile();
    let text = '';
    let before = 0n;
    for (let share = 1; share < 10; share++) {
      runTo(host, machine, Math.floor((all * share) / 10) - Number(before) + 777);
      text += host.serialText;
      before += machine.cpus[0].retired ?? 0n;
      const code = branchOf(file, machine, []);
      const next = hostOn(accelerator);
      const nextFile = new CodeFile();
      const forked = fork(next, machine, demo, (vm) => nextFile.adopt(vm, code));
      expect(decoded(forked)).toBe(code.code.size);
      expect(code.code.size).toBeGreaterThan(10 * PAGE_SIZE);
      file.close();
      machine.vm.dispose();
      [host, machine, file] = [next, forked, nextFile];
    }
    expect(machine.run()).toEqual({ kind: 'power-off' });
    file.close();
    expect(text + host.serialText).toBe(whole.serialText);
    expect(Number(before + (machine.cpus[0].retired ?? 0n))).toBe(all);
    expect(machine.clock.now()).toBe(first.clock.now());
  });

  it('does not hide what was written since it was taken', () => {
    const boot = changingCode();
    const host = hostOn(accelerator);
    const machine = host.create({ boot });
    const file = new CodeFile();
    runTo(host, machine, 100_000);
    const before = machine.ram.slice();
    closeCode(branchOf(file, machine, []));
    runTo(host, machine, 200_000);
    const told = host.debugText.length;
    const code = branchOf(file, machine, changedPages(before, machine.ram));
    expect(code.stale).toContainEqual({ page: 2, count: 1 });

    const other = hostOn(accelerator);
    const forkFile = new CodeFile();
    const forked = fork(other, machine, boot, (vm) => forkFile.adopt(vm, code));
    host.stopAt = Infinity;
    expect(machine.run()).toMatchObject({ kind: 'exit' });
    expect(forked.run()).toMatchObject({ kind: 'exit' });
    forkFile.close();
    file.close();
    expect(host.debugText.length).toBe(0x1_0000);
    expect(told).toBeGreaterThan(0);
    // The difference of long texts is long in coming.
    expect(other.debugText.length).toBe(0x1_0000 - told);
    expect(other.debugText === host.debugText.slice(told)).toBe(true);
  });

  it('is taken once for as long as there is little more', () => {
    const host = hostOn(accelerator);
    const machine = host.create({ boot: demo });
    const file = new CodeFile();
    runTo(host, machine, 100_000);
    const code = branchOf(file, machine, []);
    closeCode(code);
    machine.vm.forget?.();
    const again = branchOf(file, machine, [{ page: 1, count: 2 }]);
    closeCode(again);
    // Nothing has been decoded since, and what there was still is right but for these pages.
    expect(again.code).toBe(code.code);
    expect(again.stale).toEqual([{ page: 1, count: 2 }]);
    file.close();
  });
});

it('code of one accelerator is nothing to another', () => {
  const host = hostOn('interp');
  const machine = host.create({ boot: demo });
  const file = new CodeFile();
  runTo(host, machine, 100_000);
  const code = branchOf(file, machine, []);
  const other = hostOn('wasm');
  const forkFile = new CodeFile();
  const forked = fork(other, machine, demo, (vm) => forkFile.adopt(vm, code));
  const empty = decoded(forked);
  expect(empty).toBeLessThan(code.code.size);
  expect(forked.run()).toEqual({ kind: 'power-off' });
  const own = branchOf(forkFile, forked, []);
  expect(own.code.accelerator).toBe('wasm');
  closeCode(own);
  forkFile.close();
  file.close();
});

import { describe, expect, it } from 'vitest';
import { buildDemo } from '../cpu/x86/demo/image.js';
import type { BlockBackend } from '../iface/block.js';
import type { BootSource } from '../machine/common/board.js';
import { SnapshotReader, SnapshotWriter } from '../snapshot/container.js';
import { SnapshotBuffer } from '../snapshot/snapshot-buffer.js';
import type { Plain } from '../snapshot/schema.js';
import { deflate } from '../testing/deflate.js';
import { saveMachine as save, TestHost } from '../testing/machine-host.js';
import { inspect } from './inspect.js';
import { VirtualMachine, type MachineExit } from './machine.js';

const demo: BootSource = { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules: [] } };

const disk = {
  path: 'a.img',
  format: 'raw',
  readOnly: true,
  temporary: false,
  attach: 'virtio',
  media: 'disk',
  serial: null,
  internal: null,
} as const;

/** A BIOS of 64 KiB: code at F000:FF00, to which the reset vector jumps; at FF80, zeros. */
function bios(...code: readonly number[]): BootSource {
  const rom = new Uint8Array(0x1_0000);
  rom.set(code, 0xff00);
  rom.set([0xe9, 0x0d, 0xff], 0xfff0);
  return { bios: { name: 'bios', image: rom } };
}

/** Counts interrupts of the 8254, a thousand in a second, for 200 ms by the time-stamp counter, and tells port 0xe9 how many. */
function tickCounter(): BootSource {
  const code = [
    // CLI; XOR AX, AX; MOV DS, AX; MOV SP, 1000h; the handler at interrupt 8
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x10, 0xc7, 0x06, 0x20, 0x00, 0, 0, 0xc7, 0x06, 0x22, 0x00, 0, 0xf0],
    // the 8259; the 8254 in mode 2, 1193 periods
    ...[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe],
    ...[0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40],
    // XOR BX, BX; STI; RDTSC; MOV ESI, EAX; RDTSC; SUB EAX, ESI; CMP EAX, 200,000,000; JB
    ...[
      0x31, 0xdb, 0xfb, 0x0f, 0x31, 0x66, 0x89, 0xc6, 0x0f, 0x31, 0x66, 0x29, 0xf0, 0x66, 0x3d, 0x00, 0xc2, 0xeb, 0x0b,
    ],
    // CLI; BL and BH to port e9h; to port f4h; HLT
    ...[0x72, 0xf3, 0xfa, 0x88, 0xd8, 0xe6, 0xe9, 0x88, 0xf8, 0xe6, 0xe9, 0xb0, 0x00, 0xe6, 0xf4, 0xf4],
  ];
  const handler = 0xff00 + code.length;
  code[12] = handler & 0xff;
  code[13] = handler >> 8;
  // INC BX; PUSH AX; EOI; POP AX; IRET
  return bios(...code, 0x43, 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf);
}

/** A host whose time goes on with each look at it, and that is elsewhere for a while now and then. */
class JumpingHost extends TestHost {
  private nanoseconds = 0;
  private looks = 0;
  readonly counted: number[] = [];

  /** By how much it is away, ns, and how often: once in so many looks. */
  constructor(
    private readonly away: number,
    private readonly every: number,
  ) {
    super();
  }

  override readonly time = {
    now: (): number => {
      if (++this.looks % this.every === 0) this.nanoseconds += this.away;
      return (this.nanoseconds += 2000);
    },
    wallClock: () => 0,
  };
  override readonly debugConsole = { write: (bytes: Uint8Array) => void this.counted.push(...bytes) };
}

describe('a machine', () => {
  it.each([
    ['that is always there', 0, 1],
    ['that is away for 50 ms now and then', 50e6, 20_000],
    ['that is away for a second in the middle', 1e9, 30_000],
  ])('counts all interrupts of the 8254 on a host %s', (_name, away, every) => {
    const host = new JumpingHost(away, every);
    expect(host.create({ boot: tickCounter(), clock: 'host' }).run()).toMatchObject({ kind: 'exit' });
    const ticks = host.counted[0] + 256 * host.counted[1];
    // Which of two events at a time comes first is nobody's business.
    expect(ticks).toBeGreaterThanOrEqual(away === 1e9 ? 1000 : 199);
    expect(ticks).toBeLessThanOrEqual(away === 1e9 ? 1201 : 252);
  });

  it('boots a kernel, and ends when its guest powers off', () => {
    const host = new TestHost();
    expect(host.create({ boot: demo }).run()).toEqual({ kind: 'power-off' });
    expect(host.serialText).toMatch(/^\d+ checks passed\r$/m);
  });

  it('closes all of its disks, also behind some that fail, and tells of the first that did', () => {
    const host = new TestHost();
    const closed: string[] = [];
    let opened = 0;
    const open = host.openDisk;
    host.openDisk = () => {
      const name = 'abc'[opened++];
      const close = (): void => {
        closed.push(name);
        if (name !== 'c') throw new Error(`cannot write to ${name}`);
      };
      return Object.assign(open(), { close });
    };
    const machine = host.create({ boot: demo, disks: ['a', 'b', 'c'].map((path) => ({ ...disk, path })) });
    expect(() => machine.close()).toThrow('cannot write to a');
    expect(closed).toEqual(['a', 'b', 'c']);
  });

  it('waits for what its disks have under way, before it is saved or has a new board', () => {
    const host = new TestHost();
    const log: string[] = [];
    const open = host.openDisk;
    host.openDisk = () => {
      const flush: BlockBackend['flush'] = (done) => {
        log.push('flush');
        done('ok');
      };
      return Object.assign(open(), { settle: () => log.push('settle'), flush });
    };
    const machine = host.create({ boot: demo, disks: [{ ...disk, path: 'a' }], noReboot: false });
    machine.pressReset();
    expect(machine.run()).toEqual({ kind: 'power-off' });
    expect(log).toEqual(['settle']);
    save(machine);
    expect(log).toEqual(['settle', 'settle', 'flush']);
  });

  it('does the same in turns, and forgets in between what it can decode again', () => {
    const whole = new TestHost();
    const first = whole.create({ boot: demo });
    expect(first.run()).toEqual({ kind: 'power-off' });
    const host = new TestHost();
    const machine = host.create({ boot: demo });
    let turns = 0;
    let end = machine.turn();
    for (; end.kind === 'slice-over' || end.kind === 'asleep'; end = machine.turn(), turns++)
      // As the host does with memory that it takes back.
      if (turns % 100 === 50) for (const bytes of machine.vm.forget?.() ?? []) bytes.fill(0);
    expect(end).toEqual({ kind: 'power-off' });
    expect(turns).toBeGreaterThan(100);
    expect(host.serialText).toBe(whole.serialText);
    expect(machine.cpus[0].retired).toBe(first.cpus[0].retired);
  });

  it('tells kernels that run without firmware of itself through fw_cfg', () => {
    const { bus } = new TestHost().create({ boot: demo }).board;
    const read = (key: number, bytes: number): number[] => {
      bus.portWrite(0x510, 2, key);
      return Array.from({ length: bytes }, () => bus.portRead(0x511, 1));
    };
    // QEMU's docs/specs/fw_cfg.rst: signature, RAM size, number of CPUs; no kernel, which is loaded already.
    expect(read(0, 4)).toEqual([...Buffer.from('QEMU')]);
    expect(read(3, 8)).toEqual([0, 0, 0x80, 0, 0, 0, 0, 0]);
    expect(read(5, 2)).toEqual([1, 0]);
    expect(read(8, 4)).toEqual([0, 0, 0, 0]);
  });

  it('saved at three moments and restored goes on as if nothing had been', () => {
    const whole = new TestHost();
    const first = whole.create({ boot: demo });
    expect(first.run()).toEqual({ kind: 'power-off' });
    const end = { instructions: first.cpus[0].retired ?? 0n, time: first.clock.now() };

    // In the middle of things, and of a step of the virtual clock.
    let host = new TestHost();
    let machine = host.create({ boot: demo });
    let text = '';
    let before = 0n;
    for (const share of [0.1, 0.5, 0.9]) {
      host.stopAt = Math.floor(Number(end.instructions) * share - Number(before)) + 777;
      expect(machine.run()).toEqual({ kind: 'stopped' });
      text += host.serialText;
      before += machine.cpus[0].retired ?? 0n;
      const file = save(machine);
      host = new TestHost();
      machine = host.restore(file);
      expect(save(machine).toBytes()).toEqual(file.toBytes());
    }
    expect(machine.run()).toEqual({ kind: 'power-off' });
    expect(text + host.serialText).toBe(whole.serialText);
    expect(before + (machine.cpus[0].retired ?? 0n)).toBe(end.instructions);
    expect(machine.clock.now()).toBe(end.time);
  });

  it('keeps its battery-backed memory when the guest resets it', () => {
    // Index 50h of CMOS memory is 0 the first time: it becomes 1, "A", reset by CF9h. Then "B", and exit code 3.
    const boot = bios(
      ...[0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71, 0x3c, 0x01, 0x74, 0x13],
      ...[0xb0, 0x50, 0xe6, 0x70, 0xb0, 0x01, 0xe6, 0x71, 0xb0, 0x41, 0xe6, 0xe9],
      ...[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4],
      ...[0xb0, 0x42, 0xe6, 0xe9, 0xb0, 0x01, 0xe6, 0xf4, 0xf4],
    );
    const host = new TestHost();
    expect(host.create({ boot, noReboot: false }).run()).toEqual({ kind: 'exit', code: 3 });
    expect(host.debugText).toBe('AB');
    expect(new TestHost().create({ boot }).run()).toEqual({ kind: 'reset' });
  });

  it('hands on input that was there before its guest, when that waits for it without interrupts', () => {
    // Polls COM1 and writes what comes to the debug console; 0 ends.
    const boot = bios(
      ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0xe6, 0xe9, 0x3c, 0x00, 0x75, 0xee],
      ...[0xb0, 0x01, 0xe6, 0xf4, 0xf4],
    );
    const host = new TestHost();
    host.holdInput = true;
    const machine = host.create({ boot });
    machine.serialInput.send(new TextEncoder().encode('hello\0'));
    expect(machine.serialInput.length).toBe(6);
    expect(machine.run()).toEqual({ kind: 'exit', code: 3 });
    expect(host.debugText).toBe('hello\0');
  });

  describe('with a triple fault', () => {
    // "A" the first time, as above; LIDT of a table without entries, INT3.
    const boot = bios(
      ...[0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71, 0x3c, 0x01, 0x74, 0x13],
      ...[0xb0, 0x50, 0xe6, 0x70, 0xb0, 0x01, 0xe6, 0x71, 0xb0, 0x41, 0xe6, 0xe9],
      ...[0x2e, 0x0f, 0x01, 0x1e, 0x80, 0xff, 0xcc],
      ...[0xb0, 0x42, 0xe6, 0xe9, 0xb0, 0x01, 0xe6, 0xf4, 0xf4],
    );
    it('is reset', () => {
      const host = new TestHost();
      expect(host.create({ boot, noReboot: false }).run()).toEqual({ kind: 'exit', code: 3 });
      expect(host.debugText).toBe('AB');
      expect(host.reports).toEqual([expect.stringMatching(/^triple fault: the machine is reset/)]);
    });
    it('ends with the state of the CPU, if it must not be reset', () => {
      const exit: MachineExit = new TestHost().create({ boot }).run();
      expect(exit.kind).toBe('triple-fault');
      if (exit.kind !== 'triple-fault') return;
      expect(exit.cpu).toMatch(/^CPU 0, real mode, shutdown$/m);
      expect(exit.cpu).toMatch(/^RIP 000000000000ff1c /m);
      expect(exit.cpu).toMatch(/^CS {3}f000 {2}base 00000000ffff0000/m);
      expect(exit.cpu).toMatch(/^code cc b0 42 /m);
    });
  });
});

describe('a snapshot of a machine', () => {
  /** The machine, with sections replaced as they are written. */
  function tampered(
    change: (name: string, version: number, value: Plain) => [number, Plain] | undefined,
  ): SnapshotBuffer {
    const host = new TestHost();
    const machine = host.create({ boot: demo, disks: [disk] });
    host.stopAt = 1;
    machine.run();
    const file = new SnapshotBuffer('test.snap');
    const writer = new SnapshotWriter(file, deflate);
    const add = writer.add.bind(writer);
    writer.add = (name, version, value) => {
      const changed = change(name, version, value);
      if (changed) add(name, ...changed);
    };
    machine.save(writer);
    return file;
  }
  const same = (version: number, value: Plain): [number, Plain] => [version, value];
  const refusal = (file: SnapshotBuffer, disk: Partial<BlockBackend> = {}): string => {
    const host = new TestHost();
    host.disk = disk;
    try {
      host.restore(file);
    } catch (error) {
      return error instanceof Error ? `${error.name}: ${error.message}` : '';
    }
    return 'accepted';
  };

  it('names its disks so that they are found from any folder', () => {
    const host = new TestHost();
    host.locate = (path) => `/whole/${path}`;
    const file = save(host.create({ boot: demo, disks: [disk] }));
    expect(host.restore(file).config.disks).toMatchObject([{ path: `/whole/${disk.path}` }]);
  });

  it('holds a drive without a medium, and one whose medium was changed', () => {
    const host = new TestHost();
    const machine = host.create({ boot: demo, disks: [{ ...disk, path: '', attach: 'sata', media: 'cdrom' }] });
    const media = (one: VirtualMachine): unknown => inspect(one).disks[0].medium;
    expect(media(host.restore(save(machine)))).toBe(undefined);
    const change = { action: 'change', disk: 0, force: false, path: 'b', format: 'auto', readOnly: 'retain' } as const;
    host.disk = { files: ['b'], close: () => undefined };
    machine.changeMedia(change);
    const after = host.restore(save(machine));
    expect(media(after)).toMatchObject({ path: 'b', readOnly: true });
    after.changeMedia({ action: 'eject', disk: 0, force: false });
    expect(media(host.restore(save(after)))).toBe(undefined);
  });

  it('is accepted as it is', () => {
    expect(refusal(tampered((_name, version, value) => same(version, value)))).toBe('accepted');
  });
  it('of a Vitrine that knew raw images on virtio alone is accepted', () => {
    const file = tampered((name, version, value) => {
      if (name !== 'machine') return same(version, value);
      const saved = value as { readonly config: { readonly [key: string]: Plain } };
      return [1, { ...saved, config: { ...saved.config, disks: [{ path: 'a.img', readOnly: true }] } }];
    });
    expect(refusal(file)).toBe('accepted');
  });
  it('holds what was written to a disk and is thrown away otherwise', () => {
    const written = new Uint8Array(8192).fill(7);
    const host = new TestHost();
    host.disk = { writes: { save: () => written, restore() {} } };
    const machine = host.create({ boot: demo, disks: [disk] });
    host.stopAt = 1;
    machine.run();
    const file = save(machine);
    const found: Uint8Array[] = [];
    const restore = (bytes: Uint8Array): void => void found.push(bytes);
    expect(refusal(file, { writes: { save: () => undefined, restore } })).toBe('accepted');
    expect(found).toEqual([written]);
    // Nobody to take it.
    expect(refusal(file)).toBe('SnapshotError: the snapshot test.snap is damaged: writes0');
  });
  it('of a guest that has seen more of a processor is refused, unless that is wanted', () => {
    const host = new TestHost();
    const { createVm } = host;
    const avx = { leaf: 1, subleaf: 0, eax: 0, ebx: 0, ecx: 1 << 28, edx: 1 };
    host.createVm = (request) => Object.assign(createVm(request), { seenCpuid: [avx] });
    const machine = host.create({ boot: demo, disks: [disk] });
    host.stopAt = 1;
    machine.run();
    const file = save(machine);
    expect(refusal(file)).toBe(
      'HostError: the guest in test.snap has seen a processor with 1h:ECX[28], which it would not find here (--force-cpu lets it go on all the same)',
    );
    const other = new TestHost();
    const forced = VirtualMachine.restore(new SnapshotReader(file, deflate), other, {
      name: file.name,
      forceCpu: true,
    });
    expect(other.reports).toHaveLength(1);
    // Of what is there it is told what it was told of before, HTT apart, which follows the number of CPUs.
    expect((forced.cpuid.find(({ leaf }) => leaf === 1)?.edx ?? 0) & ~(1 << 28)).toBe(1);
    // Where it came from.
    expect(host.restore(file).cpuid).toEqual([avx]);
  });
  it('with a changed disk is refused', () => {
    expect(
      refusal(
        tampered((_name, version, value) => same(version, value)),
        { identity: 'another' },
      ),
    ).toBe('SnapshotError: the disk a.img has changed since the machine was saved to test.snap');
  });
  it('with a device of a newer version is refused', () => {
    const file = tampered((name, version, value) => same(name === 'serial0' ? 99 : version, value));
    expect(refusal(file)).toMatch(
      /^SnapshotError: .* is of a newer version .* \(serial0 has version 99; at most \d+\)$/,
    );
  });
  it.each([
    ['without a device', (name: string) => name === 'rtc', undefined],
    ['with a device in a state it cannot have', (name: string) => name === 'rtc', 5],
    ['without a CPU', (name: string) => name === 'cpu0', undefined],
    ['with a CPU in a state it cannot have', (name: string) => name === 'cpu0', { rip: 1n }],
    ['without a description', (name: string) => name === 'machine', undefined],
    ['without memory', (name: string) => name === 'ram.index', undefined],
    ['without what it boots', (name: string) => name === 'boot', undefined],
  ])('%s is refused', (_name, which, instead: Plain | undefined) => {
    const file = tampered((name, version, value) =>
      which(name) ? (instead === undefined ? undefined : [version, instead]) : [version, value],
    );
    expect(refusal(file)).toMatch(/^SnapshotError: the snapshot test\.snap is damaged: /);
  });
});

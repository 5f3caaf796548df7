import { readFileSync } from 'node:fs';
import { deflateSync, gunzipSync, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { InterpVm } from '../accel/interp/vm.js';
import { buildDemo } from '../cpu/x86/demo/image.js';
import type { BlockBackend } from '../iface/block.js';
import type { BootSource } from '../machine/common/board.js';
import { SnapshotReader, SnapshotWriter, type Codec } from '../snapshot/container.js';
import type { Plain } from '../snapshot/schema.js';
import type { MachineConfig } from './config.js';
import { inspect } from './inspect.js';
import { VirtualMachine, type MachineExit, type MachineHost } from './machine.js';

const built = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`../../dist/cpu/x86/${name}`, import.meta.url)));
const image = {
  helpers: new WebAssembly.Module(built('helpers.wasm')),
  interpreter: new WebAssembly.Module(built('interpreter.wasm')),
  decoderTables: built('decoder-tables.bin'),
};

const codec: Codec = {
  name: 'deflate',
  compress: (data) => deflateSync(data, { level: 1 }),
  decompress: (data) => inflateSync(data),
};

/** A snapshot in a buffer. */
class Buffered {
  readonly name = 'test.snap';
  bytes = new Uint8Array(0);

  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(end);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(bytes, offset);
  }
  get size(): number {
    return this.bytes.length;
  }
  read(offset: number, length: number): Uint8Array {
    return this.bytes.slice(offset, offset + length);
  }
}

/** A host that keeps what the guest says, and stops its machine when a number of instructions has been reached. */
class TestHost implements MachineHost {
  readonly version = '0';
  readonly time = { now: () => 0, wallClock: () => 0 };
  readonly entropy = { fill: (target: Uint8Array) => target.fill(1) };
  serialText = '';
  debugText = '';
  reports: string[] = [];
  machine: VirtualMachine | undefined;
  stopAt = Infinity;
  holdInput = false;
  disk: Partial<BlockBackend> = {};
  readonly serial = [
    { write: (b: Uint8Array) => void (this.serialText += Buffer.from(b).toString()) },
    { write() {} },
  ] as const;
  readonly debugConsole = { write: (b: Uint8Array) => void (this.debugText += Buffer.from(b).toString()) };
  readonly console = { write() {} };
  createVm: MachineHost['createVm'] = (request) => new InterpVm({ ...request, image: { ...image, anyCpu: false } });
  openDisk = (): BlockBackend =>
    ({
      size: 512,
      readOnly: true,
      serial: 'x',
      identity: 'as it was',
      flush: (done: (status: 'ok') => void) => done('ok'),
      ...this.disk,
    }) as BlockBackend;
  locate?: (path: string) => string;
  gunzip = (data: Uint8Array): Uint8Array => gunzipSync(data);
  poll(): void {
    if (Number(this.machine?.cpus[0].retired ?? 0) >= this.stopAt) this.machine?.stop();
  }
  sleep(): void {
    throw new Error('a halted machine without anything to wait for');
  }
  report(text: string): void {
    this.reports.push(text);
  }

  create(config: Partial<MachineConfig> & { readonly boot: BootSource }): VirtualMachine {
    return (this.machine = VirtualMachine.create(
      { cpu: 'x86-64-v2', memory: 8 << 20, disks: [], debugExit: true, noReboot: true, clock: 'virtual', ...config },
      this,
    ));
  }
  restore(file: Buffered): VirtualMachine {
    return (this.machine = VirtualMachine.restore(new SnapshotReader(file, codec), this, { name: file.name }));
  }
}

const demo: BootSource = { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules: [] } };

function save(machine: VirtualMachine): Buffered {
  const file = new Buffered();
  machine.save(new SnapshotWriter(file, codec));
  return file;
}

/** A BIOS of 64 KiB: code at F000:FF00, to which the reset vector jumps; at FF80, zeros. */
function bios(...code: readonly number[]): BootSource {
  const rom = new Uint8Array(0x1_0000);
  rom.set(code, 0xff00);
  rom.set([0xe9, 0x0d, 0xff], 0xfff0);
  return { bios: { name: 'bios', image: rom } };
}

describe('a machine', () => {
  it('boots a kernel, and ends when its guest powers off', () => {
    const host = new TestHost();
    expect(host.create({ boot: demo }).run()).toEqual({ kind: 'power-off' });
    expect(host.serialText).toMatch(/^\d+ checks passed\r$/m);
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

  it('saved at three moments and restored goes on as if nothing had been', { timeout: 60_000 }, () => {
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
      expect(save(machine).bytes).toEqual(file.bytes);
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
  /** The machine, with sections replaced as they are written. */
  function tampered(change: (name: string, version: number, value: Plain) => [number, Plain] | undefined): Buffered {
    const host = new TestHost();
    const machine = host.create({ boot: demo, disks: [disk] });
    host.stopAt = 1;
    machine.run();
    const file = new Buffered();
    const writer = new SnapshotWriter(file, codec);
    const add = writer.add.bind(writer);
    writer.add = (name, version, value) => {
      const changed = change(name, version, value);
      if (changed) add(name, ...changed);
    };
    machine.save(writer);
    return file;
  }
  const same = (version: number, value: Plain): [number, Plain] => [version, value];
  const refusal = (file: Buffered, disk: Partial<BlockBackend> = {}): string => {
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
    host.disk = { close: () => undefined };
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
    VirtualMachine.restore(new SnapshotReader(file, codec), other, { name: file.name, forceCpu: true });
    expect(other.reports).toHaveLength(1);
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

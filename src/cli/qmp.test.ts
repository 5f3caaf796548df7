/** The monitor: a real machine asked over a socket, and what it can do against QEMU's own schema. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Assembler, R } from '../cpu/x86/assembler/index.js';
import { createDisk } from '../runtime/node/disk-tools.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { qmpClient as client } from '../testing/qmp-client.js';
import { describeWith, requireTool } from '../testing/tools.js';

const qemu = await requireTool('qemu-system-x86_64');

let folder = '';
let kernel = '';

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'vitrine-qmp-'));
  kernel = path.join(folder, 'kernel');
  // Multiboot: writes "x" to COM1, and powers off when the power button was pressed.
  const [load, entry] = [0x10_0000, 0x10_0020];
  const header = Uint32Array.of(0x1bad_b002, 1 << 16, -0x1bad_b002 - (1 << 16), load, load, 0, 0, entry);
  const asm = new Assembler({ bits: 32, origin: entry });
  // Words of eight bits.
  asm.emit('mov', R.edx, 0x3fb);
  asm.emit('mov', R.al, 3);
  asm.emit('out', R.dx, R.al);
  asm.emit('mov', R.edx, 0x3f8);
  asm.emit('mov', R.al, 'x'.charCodeAt(0));
  asm.emit('out', R.dx, R.al);
  asm.emit('mov', R.edx, 0x600);
  const wait = asm.bind();
  asm.emit('in', R.eax, R.dx);
  asm.emit('test', R.ah, 1);
  asm.emit('jz', wait);
  asm.emit('mov', R.edx, 0x604);
  // SLP_TYP 7 (S5) and SLP_EN.
  asm.emit('mov', R.eax, (7 << 10) | (1 << 13));
  asm.emit('out', R.dx, R.eax);
  asm.emit('hlt');
  await writeFile(kernel, Buffer.concat([new Uint8Array(header.buffer), asm.finish()]));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (...args: string[]): VitrineProcess =>
  new VitrineProcess(['run', '--accel', 'wasm', '--kernel', kernel, '--memory', '32M', ...args]);

describe('--qmp', () => {
  it('tells of the machine, stops it, goes on and resets it', async () => {
    const socket = path.join(folder, 'a.sock');
    const disk = path.join(folder, 'disk.img');
    await writeFile(disk, new Uint8Array(1 << 20));
    const [base, above] = ['base.qcow2', 'above.qcow2'].map((name) => path.join(folder, name));
    createDisk({ file: base, format: 'qcow2', size: 1 << 20 });
    createDisk({ file: above, format: 'qcow2', size: undefined, backing: { file: base, format: 'qcow2' } });
    const disks = ['--disk', `${disk},format=raw,cache=none`, '--disk', above];
    const vitrine = run('--qmp', `unix:${socket},server=on,wait=off`, ...disks);
    const qmp = await client(socket);
    expect(await qmp.ask('query-status')).toMatchObject({ error: { class: 'CommandNotFound' } });
    expect(await qmp.ask('qmp_capabilities')).toEqual({ return: {} });
    expect(qmp.greeting).toMatchObject({ QMP: { version: { qemu: { major: 7 } }, capabilities: [] } });
    await vitrine.until(/x/);
    expect(await qmp.value('query-status')).toEqual({ running: true, singlestep: false, status: 'running' });
    expect(await qmp.value('query-memory-size-summary')).toMatchObject({ 'base-memory': 32 << 20 });
    expect(await qmp.value('query-cpus-fast')).toHaveLength(1);
    expect(await qmp.value('query-block')).toMatchObject([
      { inserted: { file: disk, drv: 'raw', ro: false, cache: { direct: true }, backing_file_depth: 0 } },
      { inserted: { file: above, drv: 'qcow2', backing_file: base, backing_file_depth: 1 } },
    ]);
    const [{ devices }] = (await qmp.value('query-pci')) as [{ devices: { class_info: { desc: string } }[] }];
    expect(devices.map(({ class_info }) => class_info.desc)).toEqual(
      expect.arrayContaining(['Host bridge', 'SCSI controller', 'ISA bridge']),
    );
    expect(await qmp.ask('stop')).toEqual({ return: {} });
    expect(await qmp.value('query-status')).toMatchObject({ running: false, status: 'paused' });
    expect(await qmp.value('query-uuid')).toMatchObject({ UUID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    expect(await qmp.ask('cont')).toEqual({ return: {} });
    const before = vitrine.output.length;
    expect(await qmp.ask('system_reset')).toEqual({ return: {} });
    await qmp.happened('RESET');
    await vitrine.until(/x/, before);
    expect(qmp.events.map(({ event }) => event)).toEqual(['STOP', 'RESUME', 'RESET']);
    // One that is paused is reset at once, and paused still.
    const paused = vitrine.output.length;
    await qmp.ask('stop');
    await qmp.ask('system_reset');
    // The machine is asked: by then it was reset.
    await qmp.ask('query-uuid');
    expect(qmp.events.slice(3).map(({ event }) => event)).toEqual(['STOP', 'RESET']);
    expect(await qmp.value('query-status')).toMatchObject({ status: 'paused' });
    expect(vitrine.output.length).toBe(paused);
    await qmp.ask('cont');
    await vitrine.until(/x/, paused);
    expect(qmp.events[2]).toMatchObject({ data: { guest: false, reason: 'host-qmp-system-reset' } });
    await qmp.ask('quit');
    await qmp.happened('SHUTDOWN');
    await qmp.closed;
    const { code, errors } = await vitrine.ended;
    expect([code, errors]).toEqual([0, `vitrine: qmp: unix:${socket}\nvitrine: stopped by QMP\n`]);
  });

  it('writes the screen to a file, types, and says what there is not', async () => {
    const socket = path.join(folder, 'd.sock');
    const vitrine = run('--qmp', `unix:${socket}`);
    const qmp = await client(socket);
    await qmp.ask('qmp_capabilities');
    const picture = path.join(folder, 'screen.ppm');
    expect(await qmp.ask('screendump', { filename: picture })).toEqual({ return: {} });
    const [, width, height] = /^P6\n(\d+) (\d+)\n255\n/.exec(await readFile(picture, 'latin1')) ?? [];
    expect([Number(width), Number(height)]).toEqual([720, 400]);
    await qmp.ask('screendump', { filename: picture, format: 'png' });
    expect((await readFile(picture)).subarray(0, 4)).toEqual(Buffer.from('\x89PNG', 'latin1'));
    const refused = await qmp.ask('screendump', { filename: '/nowhere/x' });
    expect(refused).toEqual({
      error: { class: 'GenericError', desc: 'cannot write the picture /nowhere/x: no such file' },
    });
    const keys = [{ type: 'qcode', data: 'a' }];
    expect(await qmp.ask('send-key', { keys, 'hold-time': 1 })).toEqual({ return: {} });
    expect(await qmp.ask('send-key', { keys: [{ type: 'qcode', data: 'no' }] })).toMatchObject({
      error: { desc: "Parameter 'data' does not accept value 'no'" },
    });
    expect(await qmp.ask('screendump', { filename: picture, device: 'x' })).toMatchObject({
      error: { class: 'DeviceNotFound', desc: "Device 'x' not found" },
    });
    // Nobody waits until the key is released.
    expect(await qmp.ask('send-key', { keys, 'hold-time': 60_000 })).toEqual({ return: {} });
    expect(await qmp.ask('send-key', { keys: [{ ...keys[0], x: 1 }] })).toMatchObject({
      error: { desc: "Parameter 'keys[0].x' is unexpected" },
    });
    expect(await qmp.ask('query-balloon')).toMatchObject({ error: { class: 'DeviceNotActive' } });
    expect(await qmp.ask('balloon', { value: 0 })).toMatchObject({ error: { class: 'DeviceNotActive' } });
    expect(await qmp.ask('device_del', { id: 'x' })).toMatchObject({ error: { class: 'DeviceNotFound' } });
    await qmp.ask('quit');
    await vitrine.ended;
  });

  it('has no picture of a screen that there is not', async () => {
    const socket = path.join(folder, 'h.sock');
    const vitrine = run('--qmp', `unix:${socket}`, '--vga', 'none');
    const qmp = await client(socket);
    await qmp.ask('qmp_capabilities');
    expect(await qmp.ask('screendump', { filename: path.join(folder, 'none.ppm') })).toEqual({
      error: { class: 'GenericError', desc: 'the machine has no screen' },
    });
    await qmp.ask('quit');
    await vitrine.ended;
  });

  it('takes events of keyboard and pointer, and tells of pointers and of VNC', async () => {
    const socket = path.join(folder, 'e.sock');
    const vitrine = run('--qmp', `unix:${socket}`, '--vnc', ':auto,password=x', '--input', 'virtio');
    const qmp = await client(socket);
    await qmp.ask('qmp_capabilities');
    expect(await qmp.value('query-mice')).toEqual([
      { name: 'PS/2 mouse', index: 0, current: true, absolute: false },
      { name: 'virtio tablet', index: 1, current: false, absolute: true },
    ]);
    const vnc = await qmp.value('query-vnc');
    expect(vnc).toMatchObject({ enabled: true, host: '127.0.0.1', family: 'ipv4', auth: 'vnc', clients: [] });
    const send = async (...events: readonly object[]): Promise<unknown> => qmp.ask('input-send-event', { events });
    const key = { type: 'qcode', data: 'a' };
    const good = [
      { type: 'key', data: { key, down: true } },
      { type: 'abs', data: { axis: 'x', value: 100 } },
      { type: 'btn', data: { button: 'left', down: true } },
      { type: 'btn', data: { button: 'wheel-up', down: true } },
    ];
    expect(await send(...good)).toEqual({ return: {} });
    expect(await send({ type: 'abs', data: { axis: 'x', value: 0x8000 } })).toMatchObject({
      error: { desc: "Parameter 'value' expects 0 … 32767" },
    });
    expect(await send({ type: 'key', data: { key } })).toMatchObject({
      error: { desc: "Parameter 'events[0].data.down' is missing" },
    });
    expect(await send({ type: 'rel', data: { axis: 'x', value: 1 } })).toHaveProperty('error');
    await qmp.ask('quit');
    await vitrine.ended;
  });

  it('answers in ASCII, with all digits of an id, and what a client has asked before it ended its side', async () => {
    const socket = path.join(folder, 'f.sock');
    const vitrine = run('--qmp', `unix:${socket}`);
    await vitrine.until(/x/);
    const half = connect(socket);
    let text = '';
    half.setEncoding('latin1').on('data', (more: string) => (text += more));
    half.end(`{'execute':'qmp_capabilities','id':'\u00e9'}{"execute":"query-pci","id":18446744073709551615}`);
    await once(half, 'close');
    const [, first, second] = text.split('\r\n');
    expect(first).toBe(String.raw`{"return":{},"id":"\u00e9"}`);
    expect(second).toMatch(/"id":18446744073709551615}$/);
    vitrine.kill('SIGTERM');
    await vitrine.ended;
  });

  it('says which part of a block node is wrong', async () => {
    const socket = path.join(folder, 'g.sock');
    const vitrine = run('--qmp', `unix:${socket}`);
    const qmp = await client(socket);
    await qmp.ask('qmp_capabilities');
    const refusal = async (given: object): Promise<unknown> => {
      const { error } = await qmp.ask('blockdev-add', { driver: 'raw', 'node-name': 'n', ...given });
      return (error as { readonly desc: string } | undefined)?.desc;
    };
    const file = { driver: 'file', filename: '/nowhere' };
    expect(await refusal({ file, discard: 'sometimes' })).toBe("Parameter 'discard' does not accept value 'sometimes'");
    expect(await refusal({ file: { ...file, aio: 'fast' } })).toBe("Parameter 'file.aio' does not accept value 'fast'");
    expect(await refusal({ file: { ...file, locking: 'off', x: 1 } })).toBe("Parameter 'file.x' is unexpected");
    expect(await refusal({ file: { driver: 'file' } })).toBe("Parameter 'file.filename' is missing");
    expect(await refusal({ file: 'other' })).toBe("Cannot find device='other' nor node-name='other'");
    expect(await refusal({ file, 'node-name': '1n' })).toBe("Invalid node-name: '1n'");
    expect(await qmp.value('query-kvm')).toEqual({ enabled: false, present: true });
    await qmp.ask('quit');
    await vitrine.ended;
  });

  it('presses the power button, for more clients than one', async () => {
    const vitrine = run('--qmp', 'tcp:0');
    await vitrine.until(/x/);
    const port = Number(/qmp: tcp:127\.0\.0\.1:(\d+)/.exec(vitrine.errors)?.[1]);
    const [first, second] = [await client(port), await client(port)];
    await Promise.all([first.ask('qmp_capabilities'), second.ask('qmp_capabilities')]);
    first.close();
    await second.ask('system_powerdown');
    await second.happened('SHUTDOWN');
    expect(second.events).toMatchObject([
      { event: 'POWERDOWN' },
      { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } },
    ]);
    expect((await vitrine.ended).code).toBe(0);
  });

  it('says who asked for the reset that ends a machine with --no-reboot', async () => {
    const socket = path.join(folder, 'i.sock');
    const vitrine = run('--qmp', `unix:${socket}`, '--no-reboot');
    const qmp = await client(socket);
    await qmp.ask('qmp_capabilities');
    await vitrine.until(/x/);
    await qmp.ask('system_reset');
    await qmp.happened('SHUTDOWN');
    expect(qmp.events).toMatchObject([{ data: { guest: false, reason: 'host-qmp-system-reset' } }]);
    expect((await vitrine.ended).errors).toMatch(/\nvitrine: the machine was reset \(--no-reboot\)\n$/);
  });

  it('takes over the socket of a process that was killed, but not of one that lives', async () => {
    const socket = path.join(folder, 'b.sock');
    const first = run('--qmp', `unix:${socket}`);
    await first.until(/x/);
    const second = await run('--qmp', `unix:${socket}`).ended;
    expect([second.code, second.errors]).toEqual([
      1,
      `vitrine: cannot listen for QMP on unix:${socket}: it is in use\n`,
    ]);
    first.kill('SIGKILL');
    await first.ended;
    const third = run('--qmp', `unix:${socket}`);
    await third.until(/x/);
    third.kill('SIGTERM');
    await third.ended;
  });

  it.each([
    ['1234', 'vitrine: --qmp 1234 is no address; write it as tcp:1234\n'],
    ['unix:', 'vitrine: --qmp unix: names no socket; write it as unix:PATH\n'],
    ['unix:/x,wait=on', 'vitrine: --qmp does not know "wait=on"; there are server=on and wait=off\n'],
    ['unix:/nowhere/x', 'vitrine: cannot listen for QMP on unix:/nowhere/x: there is no folder /nowhere\n'],
  ])('%s is refused in one line', async (address, line) => {
    const { code, errors } = await run('--qmp', address).ended;
    expect([code, errors]).toEqual([1, line]);
  });
});

interface SchemaEntry {
  readonly name: string;
  readonly 'meta-type': string;
  readonly members?: readonly { readonly name: string; readonly type: string; readonly default?: null }[];
  readonly 'element-type'?: string;
  readonly 'arg-type'?: string;
  readonly 'ret-type'?: string;
  readonly 'json-type'?: string;
  readonly values?: readonly string[];
}

type Schema = ReadonlyMap<string, SchemaEntry>;

/** What of our type does not fit QEMU's: `sent`: we make such values; else clients send them. */
function misfits(ours: Schema, theirs: Schema, names: readonly [string, string], sent: boolean, at: string): string[] {
  const [our, their] = [ours.get(names[0]), theirs.get(names[1])];
  if (our === undefined || their === undefined) return [`${at}: no type`];
  if (their['meta-type'] !== our['meta-type']) {
    // An alternate takes what its builtin member is.
    return their['meta-type'] === 'alternate' ? [] : [`${at}: ${our['meta-type']} for ${their['meta-type']}`];
  }
  switch (our['meta-type']) {
    case 'builtin':
      return our['json-type'] === their['json-type'] ? [] : [`${at}: ${our.name} for ${their.name}`];
    case 'enum':
      return (our.values ?? []).filter((value) => !their.values?.includes(value)).map((value) => `${at}: ${value}`);
    case 'array':
      return misfits(ours, theirs, [our['element-type'] ?? '', their['element-type'] ?? ''], sent, `${at}[]`);
    default: {
      const members = our.members ?? [];
      const found = members.flatMap((member) => {
        const known = their.members?.find(({ name }) => name === member.name);
        if (known === undefined) return [`${at}.${member.name}: unknown`];
        return misfits(ours, theirs, [member.type, known.type], sent, `${at}.${member.name}`);
      });
      const lacking = (their.members ?? []).filter(
        (member) => sent && !('default' in member) && !members.some(({ name }) => name === member.name),
      );
      return [...found, ...lacking.map(({ name }) => `${at}.${name}: missing`)];
    }
  }
}

describeWith([qemu], 'the monitor and QEMU', () => {
  it('have the same commands, arguments and answers, as far as there are any', async () => {
    const schemaAt = async (socket: string): Promise<Schema> => {
      const qmp = await client(socket);
      await qmp.ask('qmp_capabilities');
      const entries = (await qmp.value('query-qmp-schema')) as SchemaEntry[];
      await qmp.ask('quit');
      return new Map(entries.map((entry) => [entry.name, entry]));
    };
    const [one, other] = ['qemu', 'vitrine'].map((name) => path.join(folder, `${name}.sock`));
    const running = qemu.run(['-M', 'none', '-display', 'none', '-qmp', `unix:${one},server=on,wait=off`]);
    const theirs = await schemaAt(one);
    await running;
    const vitrine = run('--qmp', `unix:${other}`);
    const ours = await schemaAt(other);
    await vitrine.ended;
    const named = [...ours.values()].filter(
      // Some are our own.
      ({ name, 'meta-type': kind }) => ['command', 'event'].includes(kind) && !name.startsWith('x-vitrine-'),
    );
    expect(named.length).toBeGreaterThan(20);
    const wrong = named.flatMap((entry) => {
      const known = theirs.get(entry.name);
      if (known === undefined) return [`${entry.name}: unknown`];
      const types = (key: 'arg-type' | 'ret-type'): readonly [string, string] => [entry[key] ?? '', known[key] ?? ''];
      const given = misfits(ours, theirs, types('arg-type'), entry['meta-type'] === 'event', `${entry.name} arguments`);
      if (entry['ret-type'] === undefined) return given;
      return [...given, ...misfits(ours, theirs, types('ret-type'), true, `${entry.name} answer`)];
    });
    expect(wrong).toEqual([]);
  });
});

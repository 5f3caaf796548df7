/** Real gdb against the command line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Assembler, R, dword } from '../cpu/x86/assembler/index.js';
import { TESTED_ACCELERATORS } from '../testing/accelerators.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireTool } from '../testing/tools.js';

const gdb = await requireTool('gdb');

const IMAGE = 0x10_0000;
const STACK = 0x18_0000;
const MULTIBOOT = { MAGIC: 0x1bad_b002, ADDRESSES: 1 << 16 } as const;

/**
 * A multiboot kernel that calls a function ten times, each of which adds to a counter, then turns in a loop until somebody
 * writes to `flag`, and switches the machine off.
 */
function program(): { image: Uint8Array; at: Record<'entry' | 'call' | 'add' | 'spin' | 'counter' | 'flag', number> } {
  const asm = new Assembler({ bits: 32, origin: IMAGE });
  const [entry, call, add, spin, counter, flag] = ['entry', 'call', 'add', 'spin', 'counter', 'flag'].map((name) =>
    asm.label(name),
  );
  asm.dd(MULTIBOOT.MAGIC, MULTIBOOT.ADDRESSES, (-MULTIBOOT.MAGIC - MULTIBOOT.ADDRESSES) >>> 0);
  asm.dd(IMAGE, IMAGE, 0, STACK, entry);
  asm.bind(counter);
  asm.dd(0);
  asm.bind(flag);
  asm.dd(0);
  asm.bind(entry);
  asm.emit('mov', R.esp, STACK);
  asm.emit('mov', R.ecx, 10);
  asm.bind(call);
  asm.emit('call', add);
  asm.emit('dec', R.ecx);
  asm.emit('jne', call);
  asm.bind(spin);
  asm.emit('pause');
  asm.emit('cmp', dword([flag]), 0);
  asm.emit('je', spin);
  asm.emit('mov', R.edx, 0x604);
  asm.emit('mov', R.eax, 0x3c00);
  asm.emit('out', R.dx, R.ax);
  asm.emit('hlt');
  asm.bind(add);
  asm.emit('add', dword([counter]), 3);
  asm.emit('ret');
  const at = (label: typeof entry): number => Number(asm.addressOf(label));
  return {
    image: asm.finish(),
    at: { entry: at(entry), call: at(call), add: at(add), spin: at(spin), counter: at(counter), flag: at(flag) },
  };
}

const { image, at } = program();
/** What `print` showed, in order. */
const values = (said: string): string[] => [...said.matchAll(/^\$\d+ = (.*)$/gm)].map(([, value]) => value);
const hex = (value: number): string => `0x${value.toString(16)}`;

describe.each(TESTED_ACCELERATORS)('on %s', (accelerator) =>
  describeWith([gdb], 'gdb', () => {
    let folder = '';
    let kernel = '';
    beforeAll(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'vitrine-gdb-'));
      kernel = path.join(folder, 'kernel');
      await writeFile(kernel, image);
    });
    afterAll(async () => {
      await rm(folder, { recursive: true });
    });

    /** A machine that waits for gdb, and where. */
    const machine = (...args: readonly string[]): ReturnType<typeof running> => running('-S', ...args);

    /** A machine that gdb can attach to. */
    async function running(...args: readonly string[]): Promise<{ vitrine: VitrineProcess; address: string }> {
      const vitrine = new VitrineProcess(['run', '--accel', accelerator, '--gdb', 'tcp:0', ...args]);
      for (;;) {
        const address = /^vitrine: gdb: target remote (\S+)/m.exec(vitrine.errors)?.[1];
        if (address !== undefined) return { vitrine, address };
        await new Promise((resolve) => setTimeout(resolve, 10));
        expect(vitrine.errors).not.toContain('error');
      }
    }

    /** What gdb has to say to commands, one by one. */
    async function session(address: string, ...commands: readonly string[]): Promise<string> {
      // A machine on a busy host may take longer than the two seconds that gdb waits by itself.
      const patience = 'set remotetimeout 30';
      const all = ['set confirm off', 'set pagination off', patience, `target remote ${address}`, ...commands];
      const { stdout, stderr } = await gdb.run(['-q', '-nx', '-batch', ...all.flatMap((each) => ['-ex', each])]);
      expect(stderr.replace(/^warning: (No executable|Error removing).*\n(determining.*\n)?/gm, '')).toBe('');
      return stdout;
    }

    it('reads registers by our description, and memory', async () => {
      const { vitrine, address } = await machine('--kernel', kernel);
      const said = await session(
        address,
        'info registers',
        'p/x $mxcsr',
        'p $xmm15.uint128',
        'p $st7',
        `x/2xw ${hex(IMAGE)}`,
        'x/2i $pc',
        'x/1xw 0xfffffff0',
        'kill',
      );
      expect(said).toMatch(/^rax +0x2badb002 /m);
      expect(said).toMatch(new RegExp(`^rip +${hex(at.entry)} `, 'm'));
      expect(said).toMatch(/^eflags +0x2 +\[ *\]$/m);
      expect(said).toMatch(/^cs +0x8 /m);
      expect(said).toMatch(/^fs_base +0x0 /m);
      expect(said).toMatch(/^cr0 +0x11 /m);
      expect(said).toMatch(/^efer +0x0 /m);
      expect(said).toContain('$1 = 0x1f80\n');
      expect(said).toContain('$2 = 0\n$3 = 0\n');
      expect(said).toContain(`${hex(IMAGE)}:\t0x1badb002\t0x00010000\n`);
      expect(said).toMatch(new RegExp(`=> ${hex(at.entry)}:\tmov +\\$${hex(STACK)},%esp`));
      expect(said).toContain('0xfffffff0:\t0xffffffff\n');
      expect(await vitrine.ended).toMatchObject({ code: 1 });
      expect(vitrine.errors).toMatch(/^vitrine: ended by the debugger$/m);
    });

    it('steps, stops at breakpoints, goes on', async () => {
      const { vitrine, address } = await machine('--kernel', kernel);
      const said = await session(
        address,
        'stepi',
        'p/x $rsp',
        'stepi',
        'p $rcx',
        'stepi',
        'p/x $pc',
        'x/1xw $rsp',
        `break *${hex(at.add)}`,
        'continue',
        'p $rcx',
        'ignore 1 3',
        'continue',
        'p $rcx',
        'delete 1',
        `hbreak *${hex(at.spin)}`,
        'continue',
        `p *(int *) ${hex(at.counter)}`,
        'delete 2',
        `set {int} ${hex(at.flag)} = 1`,
        'continue',
      );
      expect(values(said)).toEqual([hex(STACK), '10', hex(at.add), '9', '5', '30']);
      expect(said).toContain(`${hex(STACK - 4)}:\t${hex(at.call + 5).replace('0x', '0x00')}\n`);
      expect(said).toContain('exited normally');
      expect(await vitrine.ended).toMatchObject({ code: 0 });
    });

    it('stops at watchpoints, writes registers, lets go', async () => {
      const { vitrine, address } = await machine('--kernel', kernel);
      const said = await session(
        address,
        `break *${hex(at.call)}`,
        'continue',
        'delete 1',
        `watch *(int *) ${hex(at.counter)}`,
        'continue',
        'p/x $pc',
        'set $rcx = 2',
        'continue',
        'delete 2',
        `awatch *(int *) ${hex(at.flag)}`,
        'continue',
        `p *(int *) ${hex(at.counter)}`,
        'delete 3',
        `set {int} ${hex(at.flag)} = 1`,
        'detach',
      );
      expect(said).toMatch(/Hardware watchpoint 2: .*\n\nOld value = 0\nNew value = 3\n/);
      expect(said).toMatch(/Old value = 3\nNew value = 6\n/);
      expect(said).toMatch(/Hardware access \(read\/write\) watchpoint 3: .*\n\nValue = 0\n/);
      // Behind the instruction that wrote.
      expect(values(said)).toEqual([hex(at.add + 7), '6']);
      expect(said).toContain('detached');
      expect(await vitrine.ended).toMatchObject({ code: 0 });
    });

    it('writes registers of all kinds', async () => {
      const { vitrine, address } = await machine('--kernel', kernel);
      const said = await session(
        address,
        'set $r9 = 0x123456789abcdef0',
        'set $xmm3.v4_int32[1] = 7',
        'set $st2 = 1.5',
        'set $eflags = 0x46',
        'set $cr2 = 0x1000',
        'flushregs',
        'p/x $r9',
        'p $xmm3.v2_int64',
        'p $st2',
        'p $eflags',
        'p/x $cr2',
        'kill',
      );
      expect(values(said)).toEqual(['0x123456789abcdef0', '{30064771072, 0}', '1.5', '[ PF ZF ]', '0x1000']);
      await vitrine.ended;
    });

    it('attaches to a machine that runs, more than once', async () => {
      const { vitrine, address } = await running('--kernel', kernel);
      const counter = `p *(int *) ${hex(at.counter)}`;
      // It may not have begun yet.
      await session(address, `hbreak *${hex(at.spin)}`, 'continue', 'delete', 'detach');
      expect(values(await session(address, counter, 'detach'))).toEqual(['30']);
      expect(values(await session(address, counter, 'stepi', `p $pc >= ${hex(at.spin)}`, 'detach'))).toEqual([
        '30',
        '1',
      ]);
      await session(address, `set {int} ${hex(at.flag)} = 1`, 'detach');
      expect(await vitrine.ended).toMatchObject({ code: 0 });
    });

    it('interrupts a machine that runs, and one that waits for an interrupt', async () => {
      const { vitrine, address } = await machine('--kernel', kernel);
      const said = await session(
        address,
        'shell (sleep 0.7; kill -INT $PPID) &',
        'continue',
        `p $pc >= ${hex(at.spin)} && $pc < ${hex(at.add)}`,
        `p *(int *) ${hex(at.counter)}`,
        // HLT at the place of the loop, with interrupts off.
        `set {char} ${hex(at.spin)} = 0xf4`,
        `set $pc = ${hex(at.spin)}`,
        'shell (sleep 0.7; kill -INT $PPID) &',
        'continue',
        'p/x $pc',
        'kill',
      );
      expect(said.match(/Program received signal SIGINT/g)).toHaveLength(2);
      expect(values(said)).toEqual(['1', '30', hex(at.spin + 1)]);
      await vitrine.ended;
    });

    it('works on 64-bit code, and on a guest that powers off', async () => {
      const { vitrine, address } = await machine('demo', '--append', 'stages=long,ring3');
      const said = await session(
        address,
        // The upper half's first page, when it has been mapped and written.
        'watch *(long *) 0xffff800000000ff0',
        'continue',
        'p/x $rdi',
        'p $rcx',
        'p/x $efer',
        'p/x $cs',
        'x/1i $pc',
        'stepi',
        'p/x $rdi',
        'delete 1',
        'continue',
      );
      expect(values(said)).toEqual(['0xffff800000000000', '64', '0x501', '0x38', '0xffff800000001000']);
      expect(said).toMatch(/=> .*:\tadd +\$0x1000,%rdi\n/);
      expect(said).toContain('exited normally');
      const { code, output } = await vitrine.ended;
      expect(output).toContain('19 checks passed');
      expect(code).toBe(0);
    });

    it('sees a triple fault before the machine ends', async () => {
      const { vitrine, address } = await machine('--kernel', kernel, '--no-reboot');
      // INT3 without an IDT.
      const said = await session(address, `set {char} ${hex(at.entry)} = 0xcc`, 'continue', 'p/x $pc', 'continue');
      expect(said).toMatch(/Program received signal SIGSEGV/);
      expect(said).toContain(`$1 = ${hex(at.entry)}\n`);
      expect(said).toContain('exited with code 01');
      expect(await vitrine.ended).toMatchObject({ code: 1 });
      expect(vitrine.errors).toMatch(/^vitrine: triple fault/m);
    });

    it('is of a 32-bit processor when the CPU model is', async () => {
      const { vitrine, address } = await machine('--kernel', kernel, '--cpu', 'pentium4');
      const said = await session(address, 'stepi', 'info registers esp', 'show architecture', 'kill');
      expect(said).toMatch(new RegExp(`^esp +${hex(STACK)} `, 'm'));
      expect(said).toContain('"i386"');
      await vitrine.ended;
    });

    it('breaks into a loop that has run for long, and watches what it reads', async () => {
      const { vitrine, address } = await running('--kernel', kernel);
      await session(address, `hbreak *${hex(at.spin)}`, 'continue', 'delete', 'detach');
      await new Promise((resolve) => setTimeout(resolve, 300));
      const said = await session(
        address,
        `hbreak *${hex(at.spin)}`,
        'continue',
        'stepi',
        'p/x $pc',
        'ignore 1 100',
        'continue',
        'p/x $pc',
        'delete 1',
        `awatch *(int *) ${hex(at.flag)}`,
        'continue',
        'p/x $pc',
        'delete 2',
        `set $pc = ${hex(at.call)}`,
        'set $rcx = 1000000',
        `break *${hex(at.add)}`,
        'ignore 3 300',
        'continue',
        'p $rcx',
        `set {int} ${hex(at.flag)} = 1`,
        'kill',
      );
      expect(values(said)).toEqual([hex(at.spin + 2), hex(at.spin), hex(at.spin + 9), '999700']);
      await vitrine.ended;
    });
  }),
);

describeWith([], '--gdb', () => {
  it.each([
    [['--gdb', 'tcp:99999'], 'vitrine: --gdb tcp:99999 is no address; write it as tcp:1234\n'],
    [['--gdb', '1234'], 'vitrine: --gdb 1234 is no address; write it as tcp:1234\n'],
    [['-S'], 'vitrine: -S waits for a debugger: say where with --gdb tcp:PORT\n'],
    [
      ['--gdb', 'tcp:192.0.2.1:1234'],
      'vitrine: cannot listen for gdb on 192.0.2.1:1234: this host has no such address\n',
    ],
  ])('%j is refused in one line', async (args, line) => {
    const { code, output, errors } = await new VitrineProcess(['run', 'demo', ...args]).ended;
    expect([code, output, errors]).toEqual([1, '', line]);
  });

  it('a port in use is refused in one line', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, errors } = await new VitrineProcess(['run', 'demo', '--gdb', `tcp:${port}`]).ended;
    expect([code, errors]).toEqual([1, `vitrine: cannot listen for gdb on 127.0.0.1:${port}: it is in use\n`]);
    server.close();
  });
});

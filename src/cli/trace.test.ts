import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VitrineProcess, type Ended } from '../testing/machine-process.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'vitrine-trace-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const vitrine = (...args: readonly string[]): Promise<Ended> => new VitrineProcess(['run', ...args]).ended;

async function traced(kinds: string, ...args: readonly string[]): Promise<{ ended: Ended; lines: string[] }> {
  const file = path.join(folder, 'trace');
  const ended = await vitrine('demo', '--trace', kinds, '--trace-file', file, ...args);
  return { ended, lines: (await readFile(file, 'utf8')).split('\n').slice(0, -1) };
}

describe('--trace', () => {
  it('writes down instructions, events and accesses in order', async () => {
    const { ended, lines } = await traced('exec,int,mmio,pio', '--append', 'stages=real,long');
    expect(ended.code).toBe(0);
    expect(lines[0]).toMatch(/^ +0 exec 0008:00\w{6} {2}fa {22} cli$/);
    const after = (pattern: RegExp): string[] => {
      const at = lines.findIndex((line) => pattern.test(line));
      return lines.slice(at, at + 3);
    };
    expect(after(/ int 0x60$/)).toEqual([
      expect.stringMatching(/ exec 0000:0000\w{4} {2}cd 60 .* int 0x60$/),
      expect.stringMatching(/ int {2}INT 60 at 0000:000000000000\w{4}$/),
      expect.stringMatching(/ exec 0000:0000\w{4} {2}55 .* push bp$/),
    ]);
    // The instruction behind HLT comes only after the handler's.
    expect(after(/ hlt$/)).toEqual([
      expect.stringMatching(/ hlt$/),
      expect.stringMatching(/ int {2}interrupt 08 at 0000:/),
      expect.stringMatching(/ push ax$/),
    ]);
    expect(after(/ int .*#PF/)[0]).toMatch(/#PF error 0002 address ffff800000000ff0 at 0038:0000000000\w{6}$/);
    expect(lines).toContainEqual(expect.stringMatching(/ pio {2}out 0020\.1 = 20$/));
    expect(lines).toContainEqual(expect.stringMatching(/ pio {2}in {2}03fd\.1 = 60$/));
    expect(lines).toContainEqual(expect.stringMatching(/ mmio write fee000b0\.4 = 00000000$/));
    expect(lines.at(-1)).toMatch(/ pio {2}out 0604\.2 = 3c00$/);
    // Each instruction counts one.
    const counts = lines.filter((line) => line.includes(' exec ')).map((line) => Number(line.slice(0, 12)));
    for (let n = 1; n < counts.length; n++) expect(counts[n] - counts[n - 1]).toBeGreaterThanOrEqual(1);
  });

  it('writes down what is asked for, and changes nothing', async () => {
    const args = ['--append', 'stages=real', '--clock', 'virtual'];
    const { ended, lines } = await traced('int', ...args);
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.every((line) => /^ *\d+ int {2}\S/.test(line))).toBe(true);
    const plain = await vitrine('demo', ...args);
    expect(ended).toEqual(plain);
    expect((await traced('exec', ...args)).ended).toEqual(plain);
  });

  it('writes down what code is translated to', async () => {
    const { ended, lines } = await traced('translate', '--accel', 'wasm', '--clock', 'virtual');
    expect(ended.code).toBe(0);
    const first = lines.findIndex((line) => /^translate: \d+ instructions, \d+ bytes of WebAssembly$/.test(line));
    expect(first).toBeGreaterThanOrEqual(0);
    for (const title of ['guest code', 'intermediate form', 'WebAssembly'])
      expect(lines.slice(first)).toContain(`  ${title}:`);
    expect(lines).toContainEqual(expect.stringMatching(/^ {6}[0-9a-f]{4} {2}\w+/));
    expect(lines).toContainEqual(expect.stringMatching(/^ {4}i64\.store\[rip\] = target$/));
  });

  it('says at the end how many instructions ran, and how', async () => {
    const args = ['demo', '--clock', 'virtual', '--stats', '--append', 'stages=real,long,ring3'];
    const { code, errors } = await vitrine(...args, '--accel', 'wasm');
    expect(code).toBe(0);
    const [all, translated] = errors.split('\n').map((line) => Number(/ ([\d,]+)/.exec(line)?.[1].replaceAll(',', '')));
    expect(all).toBeGreaterThan(100_000);
    // How much depends on how soon the translator is done.
    expect(translated).toBeGreaterThanOrEqual(0);
    expect(translated).toBeLessThan(all);
    expect(errors).toMatch(/^regions entered +[\d,]+, [\d,]+ instructions each$/m);
    const plain = await vitrine(...args, '--accel', 'interp');
    expect(plain.errors).toBe(`instructions            ${all.toLocaleString('en')}\n`);
  });

  it('refuses what it does not know, and a file that cannot be written, in one line', async () => {
    expect(await vitrine('demo', '--trace', 'exec,all')).toEqual({
      code: 1,
      output: '',
      errors: 'vitrine: --trace does not know "all"; there are exec, int, mmio, pio, translate\n',
    });
    const file = path.join(folder, 'nowhere', 'trace');
    expect(await vitrine('demo', '--trace', 'int', '--trace-file', file)).toEqual({
      code: 1,
      output: '',
      errors: `vitrine: cannot write the trace ${file}: no such file\n`,
    });
  });
});

describe('a triple fault', () => {
  it('shows the state of the CPU, what led there, and the code', async () => {
    const file = path.join(folder, 'kernel');
    // A multiboot kernel: MOV EAX, 12345678h; UD2; with no IDT.
    const [load, entry] = [0x10_0000, 0x10_0020];
    const header = Uint32Array.of(0x1bad_b002, 1 << 16, -0x1bad_b002 - (1 << 16), load, load, 0, 0, entry);
    const code = [0xb8, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x0b, 0xf4, 0xf4];
    await writeFile(file, Buffer.concat([new Uint8Array(header.buffer), Uint8Array.from(code)]));
    const { code: status, errors } = await vitrine('--kernel', file, '--no-reboot', '--accel', 'wasm');
    expect(status).toBe(1);
    const lines = errors.split('\n');
    expect(lines[0]).toBe('CPU 0, 32-bit protected mode, shutdown');
    expect(lines[1]).toMatch(/^RAX 0000000012345678 {2}RCX /);
    expect(lines).toContainEqual(expect.stringMatching(/^RIP 0000000000100025 {2}RFLAGS 00000002/));
    expect(lines).toContain('last events #UD at 0008:0000000000100025');
    expect(lines).toContainEqual(expect.stringMatching(/^ {12}#DF error 0000 at 0008:0000000000100025$/));
    expect(lines).toContainEqual(expect.stringMatching(/^code 0f 0b f4 f4 /));
    expect(lines).toContain('     0000000000100025  ud2');
    expect(lines.at(-2)).toBe('vitrine: triple fault (--no-reboot)');
  });
});

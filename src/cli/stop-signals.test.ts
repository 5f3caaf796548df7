/** Signals that stop a machine from outside. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-stop-'));
const bios = path.join(folder, 'bios');
const saved = path.join(folder, 'saved');
/** Tells on COM1 that it runs, and goes on for ever: MOV DX, 3f8h; MOV AL, '!'; OUT DX, AL; JMP $. */
const CODE = [0xba, 0xf8, 0x03, 0xb0, 0x21, 0xee, 0xeb, 0xfe];

beforeEach(() => {
  const image = new Uint8Array(0x1_0000);
  image.set(CODE, image.length - 16);
  writeFileSync(bios, image);
  rmSync(saved, { force: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Sends signals to a machine that runs, with a time between them in milliseconds. */
async function stop(signals: readonly NodeJS.Signals[], between: number): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [program, 'run', '--accel', 'wasm', '--bios', bios, '--save-on-exit', saved]);
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const exit = once(child, 'exit');
  await once(child.stdout, 'data');
  for (const signal of signals) {
    child.kill(signal);
    await new Promise((resolve) => setTimeout(resolve, between));
  }
  const [code] = (await exit) as [number];
  return { code, stderr };
}

describe('a machine is stopped and saved', () => {
  it.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGQUIT', 131],
    ['SIGTERM', 143],
  ] as const)('by %s', async (signal, expected) => {
    const { code, stderr } = await stop([signal], 0);
    expect(stderr).toBe(`vitrine: stopped by ${signal}, saved to ${saved} (vitrine resume goes on)\n`);
    expect(code).toBe(expected);
    expect(readdirSync(folder).sort()).toEqual(['bios', 'saved']);
  });

  it('by a signal that comes twice, as timeout(1) sends it', async () => {
    const { code, stderr } = await stop(['SIGTERM', 'SIGTERM'], 5);
    expect(stderr).toMatch(/^vitrine: stopped by SIGTERM, saved to .*\n$/);
    expect(code).toBe(143);
    expect(readdirSync(folder).sort()).toEqual(['bios', 'saved']);
  });
});

/** Runs cases on the host's processor: an ELF program made by our own assembler. Linux on x86-64 only. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { CASE_SIZE } from './case-format.js';
import { NATIVE_CAPACITY, nativeProgram, NO_LDT } from './native-program.js';
import { assembleProgram } from './program.js';
import type { EnvironmentKind } from './segments.js';

const ORIGIN = 0x40_0000;
const HEADERS = 64 + 56;

/** A static executable: ELF header, one segment that holds it all (System V ABI, chapter 4; ELF-64 object format 1.5). */
export function elfExecutable(code: Uint8Array, origin: number): Buffer {
  const file = Buffer.alloc(HEADERS + code.length);
  file.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(62, 18); // EM_X86_64
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(origin + HEADERS), 24);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(1, 64); // PT_LOAD
  file.writeUInt32LE(5, 68); // readable, executable
  file.writeBigUInt64LE(BigInt(origin), 80);
  file.writeBigUInt64LE(BigInt(origin), 88);
  file.writeBigUInt64LE(BigInt(file.length), 96);
  file.writeBigUInt64LE(BigInt(file.length), 104);
  file.writeBigUInt64LE(0x1000n, 112);
  file.set(code, HEADERS);
  return file;
}

/** Why cases cannot run here, or undefined. */
export function nativeObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `needs Linux on x86-64, this is ${process.platform} ${process.arch}`;
  return undefined;
}

/** Features of the host's processor, by the names Linux gives them. */
export function hostFlags(): ReadonlySet<string> {
  const line = /^flags\s*:(.*)$/m.exec(fs.readFileSync('/proc/cpuinfo', 'utf8'));
  return new Set(line?.[1].trim().split(' '));
}

export class NativeRunner {
  private readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'vitrine-oracle-'));
  private readonly program = path.join(this.directory, 'native');

  /** Whether the kernel lets programs have segments of their own, 16-bit ones too. */
  readonly hasSegments: boolean;

  constructor() {
    this.write(true);
    this.hasSegments = spawnSync(this.program, { input: '', timeout: 10_000 }).status !== NO_LDT;
    if (!this.hasSegments) this.write(false);
  }

  private write(withLdt: boolean): void {
    const { bytes } = assembleProgram(nativeProgram(withLdt), ORIGIN + HEADERS);
    fs.writeFileSync(this.program, elfExecutable(bytes, ORIGIN), { mode: 0o755 });
  }

  /** Environments that cases can run in here. */
  get kinds(): readonly EnvironmentKind[] {
    return this.hasSegments ? ['64', 'flat32', 'segmented32', 'segmented16'] : ['64', 'flat32'];
  }

  /** Runs the cases in `input` (a multiple of CASE_SIZE) and returns them with their results. */
  run(input: Uint8Array): Uint8Array {
    const results = new Uint8Array(input.length);
    const step = NATIVE_CAPACITY * CASE_SIZE;
    for (let at = 0; at < input.length; at += step) {
      const part = input.subarray(at, at + step);
      const { status, signal, stdout } = spawnSync(this.program, {
        input: part,
        maxBuffer: part.length + 1,
        timeout: 3000 + Math.ceil(part.length / 1000),
      });
      if (status !== 0 || stdout.length !== part.length)
        throw new Error(`the native program failed (status ${String(status)}, signal ${String(signal)})`);
      results.set(stdout, at);
    }
    return results;
  }

  dispose(): void {
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

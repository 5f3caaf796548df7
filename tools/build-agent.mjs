// Builds the guest's agent from guest/agent/*.c: agent-amd64 and agent-i386, which are in the repository so that nobody
// needs a compiler. The same compiler gives the same bytes wherever it runs; a test looks.
//
//   node tools/build-agent.mjs [--out FOLDER] [--gcc PROGRAM]
//
// The compiler is Debian 12's: gcc 12.2.0-14 with binutils 2.40-2.
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const folder = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'guest', 'agent');
const { values } = parseArgs({ options: { out: { type: 'string' }, gcc: { type: 'string', default: 'gcc' } } });
const out = path.resolve(values.out ?? folder);

/** Options of both: no C library, nothing that depends on the place or the time, as small as it gets. */
const COMMON = [
  '-std=gnu17 -Os -Wall -Wextra -Werror -ffreestanding -fno-builtin -nostdlib -nostdinc',
  '-static -fno-pie -no-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -fcf-protection=none',
  '-fno-tree-loop-distribute-patterns -fno-ident -fno-strict-aliasing -ffunction-sections -fdata-sections -s',
  '-Wl,--build-id=none,--gc-sections,-z,noexecstack,-z,norelro,-z,max-page-size=4096,-z,noseparate-code',
].flatMap((line) => line.split(' '));

const TARGETS = {
  amd64: ['-m64', '-march=x86-64', '-mno-red-zone'],
  i386: ['-m32', '-march=i486', '-mtune=generic'],
};

const sources = ['start.S', 'agent.c', 'request.c', 'applets.c', 'boot.c', 'lib.c'];

for (const [name, options] of Object.entries(TARGETS)) {
  // -nostdinc leaves out the compiler's own headers too, of which stddef.h and stdint.h need no library.
  const found = spawnSync(values.gcc, ['-print-file-name=include'], { encoding: 'utf8' });
  const headers = found.stdout?.trim() ?? '';
  const file = path.join(out, `agent-${name}`);
  const args = [...COMMON, ...options, '-isystem', headers, '-o', file, ...sources];
  const run = spawnSync(values.gcc, args, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (run.status !== 0) {
    console.error(`build-agent: ${values.gcc} failed${run.error ? `: ${run.error.message}` : ''}`);
    process.exit(1);
  }
  fs.chmodSync(file, 0o755);
  console.log(`${path.relative(process.cwd(), file)}: ${fs.statSync(file).size} bytes`);
}

// The interpreter against the host's processor: src/testing/oracle.
import { spawnSync } from 'node:child_process';

const CASES = 400_000;

export const title = `CPU oracle: ${CASES} generated cases, native and interpreted`;

export function run(log) {
  const program = ['dist/testing/oracle/main.js', '--cases', String(CASES)];
  const { status, stdout } = spawnSync(process.execPath, program, {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for (const line of stdout.trimEnd().split('\n')) log(line);
  // 77: the host cannot run the native side; the program has said why.
  if (status !== 0 && status !== 77) throw new Error('the interpreter and the processor differ');
}

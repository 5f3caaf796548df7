import { runProgram, expect, withFolder } from './lib.mjs';
import { expectClean, freshClone, must } from './01-fresh-clone.mjs';

export const title = 'npm ci && npm test in a fresh clone passes and leaves nothing behind';

export const run = (log) =>
  withFolder(async (folder) => {
    const fresh = await freshClone(folder, log);
    const { clone, env } = fresh;
    const { seconds, stdout } = await must(runProgram('npm', ['test'], { cwd: clone, env, limit: 1200 }));
    for (const line of stdout.match(/^.*(Test Files|Tests) .*$/gm) ?? []) log(line.trim());
    log(`npm test: ${seconds.toFixed(0)} s`);
    expect(seconds <= 600, 'npm test took more than 10 minutes');
    await expectClean(fresh);
  });

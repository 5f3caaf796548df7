import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Brings dist/ up to date before the tests. Type errors do not stop it: `npm run check` reports those. */
export default function setup(): void {
  const build = fileURLToPath(new URL('build.mjs', import.meta.url));
  const { status } = spawnSync(process.execPath, [build, '--keep-going'], { stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('the build failed, so the tests cannot run (see above)');
}

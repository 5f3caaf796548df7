import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * Brings dist/ up to date before the tests. Errors do not stop the tests, most of which have nothing to do with what is
 * broken; where a change is judged (VITRINE_REQUIRE_ALL=1) they do.
 */
export default function setup(): void {
  const build = fileURLToPath(new URL('build.mjs', import.meta.url));
  const strict = process.env['VITRINE_REQUIRE_ALL'] === '1';
  const { status } = spawnSync(process.execPath, strict ? [build] : [build, '--keep-going'], {
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('the build failed, so the tests cannot run (see above)');
}

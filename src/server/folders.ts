/** Where a server keeps what is to outlive it, and what is to go with it. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { HostError, UsageError } from '../base/errors.js';
import { cacheRoot } from '../host/node/cache.js';
import { withFileLock } from '../host/node/file-lock.js';
import { isAlive } from '../host/node/processes.js';
import { reasonOf } from '../host/node/read-file.js';

/** Milliseconds that another server has to let go. */
const PATIENCE = 500;

/** After the XDG Base Directory Specification 0.8. */
export function stateRoot(): string {
  const xdg = process.env['XDG_STATE_HOME'];
  return path.join(
    xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.local', 'state'),
    'vitrine',
  );
}

export class StateFolder {
  constructor(readonly root: string) {}

  /**
   * Does `work` with the folder to itself; what a killed server left of temporary files is removed before. Throws a one-line error when
   * another server has it.
   */
  async use<T>(work: () => Promise<T>): Promise<T> {
    try {
      mkdirSync(this.root, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new HostError(`cannot make the folder ${this.root}: ${reasonOf(cause)}`, { cause });
    }
    const held = { yet: false };
    try {
      return await withFileLock(path.join(this.root, 'lock'), 'exclusive', AbortSignal.timeout(PATIENCE), async () => {
        held.yet = true;
        this.clean();
        return work();
      });
    } catch (error) {
      if (held.yet || !(error instanceof Error && error.name === 'AbortError')) throw error;
      throw new UsageError(`another server uses ${this.root}`, { cause: error });
    }
  }

  private clean(): void {
    rmSync(this.temporary, { recursive: true, force: true });
    mkdirSync(this.temporary, { recursive: true, mode: 0o700 });
    // Where machines put what they write to temporary disks; the system gives that back with the process, but for a kill between two calls.
    process.env['TMPDIR'] = this.temporary;
    removeForks();
  }

  get temporary(): string {
    return path.join(this.root, 'tmp');
  }

  /** Of a tenant. */
  tenant(name: string): string {
    return path.join(this.root, 'tenants', name);
  }
}

/** Memory of forks that were under way when their process was killed. */
function removeForks(): void {
  const folder = path.join(cacheRoot(), 'templates');
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    // There never was a template.
    return;
  }
  for (const name of names) {
    const pid = /^fork-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(folder, name), { force: true });
  }
}

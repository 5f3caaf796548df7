/** What programs expect in a root file system, and container images often lack: Docker brings it, too. */
import { GuestFileError } from './errors.js';
import type { GuestFiles } from './files.js';

export interface Furniture {
  readonly hostname: string;
  /** Who is asked for names; undefined: nobody that is known of here. */
  readonly nameserver: string | undefined;
  /** The folder that commands run in; empty: the root. */
  readonly workdir: string;
}

/** Puts there what is missing. What an image has in these places stays, whatever it is. */
export async function furnish(files: GuestFiles, { hostname, nameserver, workdir }: Furniture): Promise<void> {
  const unlessThere = async (path: string, text: string): Promise<void> => {
    const there = await files.stat(path).then(
      ({ size }) => size > 0,
      () => false,
    );
    if (!there) await files.write(path, text);
  };
  const resolver = async (): Promise<void> => {
    if (nameserver === undefined) return;
    const text = `nameserver ${nameserver}\n`;
    const there = await files.stat('/etc/resolv.conf', { follow: false }).catch(() => undefined);
    // The agent has written it, unless there was no folder for it, or it is a link to where nothing is.
    if (there && there.type !== 'link') return;
    if (there) await files.remove('/etc/resolv.conf');
    await files.write('/etc/resolv.conf', text);
  };
  const folder = async (path: string): Promise<void> => {
    if (path.startsWith('/') && path !== '/') await files.mkdir(path, { parents: true });
  };
  const results = await Promise.allSettled([
    folder(workdir),
    folder('/etc').then(() =>
      Promise.all([
        unlessThere('/etc/hosts', `127.0.0.1 localhost ${hostname}\n::1 localhost\n`),
        unlessThere('/etc/hostname', `${hostname}\n`),
        resolver(),
      ]),
    ),
  ]);
  for (const result of results)
    if (result.status === 'rejected' && !(result.reason instanceof GuestFileError)) throw result.reason;
}

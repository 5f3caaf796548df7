/** A folder of the host's for what shares one: with links that lead out of it, and something outside that must stay as it is. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { HostFolder } from '../../../host/node/shared-folder/host-folder.js';
import { must } from '../target.js';

/** Files besides. */
const MANY = 200;

export class SharedPlace {
  private readonly parent = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-fuzz-'));
  readonly folder: HostFolder;

  constructor() {
    const place = path.join(this.parent, 'shared');
    const outside = path.join(this.parent, 'outside');
    for (const folder of [place, outside, path.join(place, 'd'), path.join(outside, 'sub')]) fs.mkdirSync(folder);
    fs.writeFileSync(path.join(outside, 'file'), 'untouched', { mode: 0o640 });
    fs.writeFileSync(path.join(place, 'f'), 'contents');
    // A list of them is longer than any other answer.
    for (let i = 0; i < MANY; i++) fs.writeFileSync(path.join(place, `${i}${'x'.repeat(i % 30)}`), '');
    fs.symlinkSync('/', path.join(place, 'l'));
    fs.symlinkSync('../outside', path.join(place, 'm'));
    fs.symlinkSync('../../outside/file', path.join(place, 'd', 'n'));
    this.folder = new HostFolder(place, false);
  }

  /** Gives it all back; throws when the guest has been outside, or holds something still. */
  end(): void {
    const { folder, parent } = this;
    folder.clear();
    const { held } = folder;
    folder.close();
    try {
      const outside = path.join(parent, 'outside');
      must(
        fs.readdirSync(parent).sort().join() === 'outside,shared',
        'something was made outside of the shared folder',
      );
      must(fs.readdirSync(outside).sort().join() === 'file,sub', 'something was made outside of the shared folder');
      must(fs.readdirSync(path.join(outside, 'sub')).length === 0, 'something was made outside of the shared folder');
      must(fs.readFileSync(path.join(outside, 'file'), 'utf8') === 'untouched', 'a file outside was written to');
      must((fs.statSync(path.join(outside, 'file')).mode & 0o7777) === 0o640, 'the mode of a file outside was changed');
      must(JSON.stringify(held) === JSON.stringify({ nodes: 1, handles: 0, files: 0 }), 'handles are left');
    } finally {
      fs.rmSync(parent, { recursive: true, force: true });
    }
  }
}

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Ext4Image } from '../../../block/ext4/write.js';
import { debianTool, type Tool } from '../../../guests/debian-tools.js';
import { cacheRoot } from '../../../host/node/cache.js';
import { randomTree } from '../../random-tree.js';
import { must, type FuzzTarget } from '../target.js';

let e2fsck: Tool = { path: '', env: {} };

/** Random file systems, each written and looked at by e2fsck. */
export const ext4Target: FuzzTarget = {
  name: 'ext4',
  share: 0.1,
  length: 4,
  prepare: async () => {
    e2fsck = await debianTool('e2fsck', 'e2fsprogs', { cache: cacheRoot() });
  },
  start: (random) => ({
    step() {
      const { root, contents } = randomTree(random.next(), 1 + random.below(60));
      const file = path.join(tmpdir(), `vitrine-ext4-${process.pid}-${random.next()}`);
      const fd = fs.openSync(file, 'wx');
      try {
        const sink = {
          write: (offset: number, bytes: Uint8Array) => void fs.writeSync(fd, bytes, 0, bytes.length, offset),
          truncate: (size: number) => fs.ftruncateSync(fd, size),
        };
        const image = new Ext4Image(root, {
          uuid: random.bytes(16),
          made: random.below(1_700_000_000),
          free: random.below(2 ** 28),
        });
        for (const _ of image.writeMetadata(sink));
        for (const [node, bytes] of contents) {
          const put = image.contentWriter(node, sink);
          for (const { offset, length } of node.data) put(offset, bytes.subarray(offset, offset + length));
        }
        const { status, stdout } = spawnSync(e2fsck.path, ['-fn', file], {
          encoding: 'utf8',
          env: { ...process.env, ...e2fsck.env },
        });
        must(status === 0 && !stdout.includes('? no'), `e2fsck: ${stdout}`);
      } finally {
        fs.closeSync(fd);
        fs.rmSync(file);
      }
    },
  }),
};

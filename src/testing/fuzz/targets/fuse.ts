import { FuseServer } from '../../../devices/virtio/fs/fuse-server.js';
import { OPCODE } from '../../../devices/virtio/fs/fuse-protocol.js';
import { fields, fuseInit, fuseRequest } from '../../fuse-messages.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';
import { SharedPlace } from './shared-folder.js';

const NAMES = [
  'd',
  'l',
  'f',
  'g',
  'h',
  'm',
  'n',
  '..',
  '.',
  'd/x',
  '',
  'x'.repeat(255),
  'x'.repeat(256),
  '\u00e9',
  'a\nb',
];
const OPCODES = [...Object.values(OPCODE), 0, 31, 52, 4096];
const ATTRIBUTES = [
  'user.a',
  'user.b',
  'user.',
  'security.capability',
  'trusted.x',
  '',
  'user.\u00e9',
  'user.'.padEnd(256, 'x'),
];
/** Modes and flags: of files, folders and odd things. */
const MODES = [0o644, 0o755, 0, 0o100644, 0o040755, 0o120777, 0o020666, 0o010644, 0o140755, 0o6755, 0o7777];
const FLAGS = [0, 1, 2, 0o100, 0o200, 0o300, 0o1000, 0o1002, 0o2001, 0o200000, 0o400000, 0o40000];

class Session implements FuzzSession {
  private readonly place = new SharedPlace();
  private readonly server = new FuseServer(this.place.folder);

  constructor(private readonly random: RandomSource) {
    this.server.handle(fuseInit, 4096);
  }

  private body(opcode: number): Uint8Array {
    const { random } = this;
    const name = (): string => random.pick(NAMES);
    const handle = (): bigint => random.u64(8);
    const node = (): bigint => random.u64(10);
    const offset = (): bigint => random.u64(10_000);
    const size = (): number => random.u32(9000);
    const mode = (): number => random.pick(MODES);
    const flags = (): number => (random.once(6) ? random.next() : random.pick(FLAGS));
    switch (opcode) {
      case OPCODE.LOOKUP:
      case OPCODE.UNLINK:
      case OPCODE.RMDIR:
        return fields(name());
      case OPCODE.FORGET:
        return fields(random.u64(4));
      case OPCODE.BATCH_FORGET: {
        const count = random.below(4);
        const list = Array.from({ length: 2 * count }, node);
        return fields(random.once(8) ? random.next() : count, 0, ...list);
      }
      case OPCODE.SETXATTR: {
        const data = random.bytes(random.below(200));
        return fields(random.once(8) ? size() : data.length, random.below(4), random.pick(ATTRIBUTES), data);
      }
      case OPCODE.GETXATTR:
        return fields(random.below(300), 0, random.pick(ATTRIBUTES));
      case OPCODE.LISTXATTR:
        return fields(random.below(300), 0);
      case OPCODE.REMOVEXATTR:
        return fields(random.pick(ATTRIBUTES));
      case OPCODE.GETATTR:
        return fields(random.below(2), 0, handle());
      case OPCODE.SETATTR: {
        const times = [random.u64(1e6), random.u64(1e6), 0n, random.u32(1e9), random.u32(1e9), 0];
        return fields(
          random.below(512),
          0,
          handle(),
          offset(),
          0n,
          ...times,
          mode(),
          0,
          random.u32(3),
          random.u32(3),
          0,
        );
      }
      case OPCODE.SYMLINK:
        return fields(name(), random.once(2) ? '/etc/passwd' : name());
      case OPCODE.MKNOD:
        return fields(mode(), random.u32(3), 0o22, 0, name());
      case OPCODE.MKDIR:
        return fields(mode(), 0o22, name());
      case OPCODE.RENAME:
        return fields(node(), name(), name());
      case OPCODE.RENAME2:
        return fields(node(), random.u32(5), 0, name(), name());
      case OPCODE.LINK:
        return fields(node(), name());
      case OPCODE.OPEN:
      case OPCODE.OPENDIR:
        return fields(flags(), 0);
      case OPCODE.CREATE:
        return fields(flags(), mode(), 0o22, 0, name());
      case OPCODE.READ:
      case OPCODE.READDIR:
      case OPCODE.READDIRPLUS:
        return fields(handle(), offset(), size(), 0, 0n, 0, 0);
      case OPCODE.WRITE: {
        const data = random.bytes(random.below(200));
        return fields(handle(), offset(), random.once(8) ? size() : data.length, random.below(2), 0n, 0, 0, data);
      }
      case OPCODE.RELEASE:
      case OPCODE.RELEASEDIR:
        return fields(handle(), flags(), 0, 0n);
      case OPCODE.FSYNC:
      case OPCODE.FSYNCDIR:
        return fields(handle(), random.below(2), 0);
      case OPCODE.FALLOCATE:
        return fields(handle(), offset(), offset(), random.u32(4), 0);
      case OPCODE.LSEEK:
        return fields(handle(), offset(), random.below(6), 0);
      case OPCODE.INIT:
        return fields(random.once(4) ? random.u32(9) : 7, random.u32(50), random.next(), random.next());
      default:
        return random.bytes(random.below(100));
    }
  }

  step(): void {
    const { random, server } = this;
    let opcode = random.pick(OPCODES);
    // These end everything: seldom.
    if ((opcode === OPCODE.DESTROY || opcode === OPCODE.INIT) && !random.once(20)) opcode = OPCODE.LOOKUP;
    // Disks are asked to be quick; the answer does not depend on it.
    if ((opcode === OPCODE.FSYNC || opcode === OPCODE.FSYNCDIR) && !random.once(20)) opcode = OPCODE.CREATE;
    const node = random.once(2) ? 1n : random.u64(10);
    const message = random.damage(fuseRequest(opcode, node, this.body(opcode)), 12);
    const room = random.once(5) ? random.below(300) : 1 << 16;
    const answer = server.handle(message, room);
    if (answer) must(answer.length <= Math.max(room, 16), 'an answer is longer than its room');
    if (random.once(1000)) {
      server.restore(structuredClone(server.save()));
      server.handle(fuseInit, 4096);
    }
    if (opcode === OPCODE.DESTROY) server.handle(fuseInit, 4096);
    must(this.place.folder.held.handles <= 512, 'too many handles are held');
  }

  end(): void {
    this.server.clear();
    this.place.end();
  }
}

/** A guest's messages to virtio-fs: each opcode with its own fields, some of them wrong, over a real folder. */
export const fuseTarget: FuzzTarget = { name: 'fuse', share: 14, length: 2000, start: (random) => new Session(random) };

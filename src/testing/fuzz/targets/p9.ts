import { T } from '../../../devices/virtio/p9/p9-protocol.js';
import { P9Server } from '../../../devices/virtio/p9/virtio-9p.js';
import { p9Message, p9Text, u16le } from '../../p9-messages.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';
import { SharedPlace } from './shared-folder.js';

const NAMES = ['d', 'l', 'f', 'g', 'h', 'm', 'n', '..', '.', 'd/x', '', 'x'.repeat(255), 'x'.repeat(300), '9P2000.L'];
const TYPES = [...Object.values(T), 0, 7, 255];
const ATTRIBUTES = ['', 'user.a', 'user.b', 'user.', 'security.capability', 'trusted.x', 'user.'.padEnd(300, 'x')];
const MODES = [0o644, 0o755, 0, 0o100644, 0o040755, 0o120777, 0o020666, 0o010644, 0o6755];
const FLAGS = [0, 1, 2, 0o100, 0o200, 0o300, 0o1000, 0o1002, 0o2001, 0o200000];

const VERSION = p9Message(T.VERSION, 65536, p9Text('9P2000.L'));
const ATTACH = p9Message(T.ATTACH, 0, 0xffff_ffff, p9Text('root'), p9Text(''), 0);

type Values = Parameters<typeof p9Message> extends [number, ...infer Rest] ? Rest : never;

class Session implements FuzzSession {
  private readonly place = new SharedPlace();
  private readonly server = new P9Server(this.place.folder);

  constructor(private readonly random: RandomSource) {
    this.begin();
  }

  private begin(): void {
    this.server.handle(VERSION, 4096);
    this.server.handle(ATTACH, 4096);
  }

  private fields(type: number): Values {
    const { random } = this;
    const fid = (): number => random.u32(7);
    const name = (): Uint8Array => p9Text(random.pick(NAMES));
    const mode = (): number => random.pick(MODES);
    const flags = (): number => (random.once(6) ? random.next() : random.pick(FLAGS));
    const offset = (): bigint => random.u64(10_000);
    const size = (): number => random.u32(9000);
    switch (type) {
      case T.VERSION:
        return [random.u32(70_000), name()];
      case T.ATTACH:
        return [fid(), 0xffff_ffff, name(), name(), random.u32(3)];
      case T.WALK: {
        const names = Array.from({ length: random.below(4) }, name);
        return [fid(), fid(), u16le(random.once(15) ? random.below(40) : names.length), ...names];
      }
      case T.XATTRWALK:
        return [fid(), fid(), p9Text(random.pick(ATTRIBUTES))];
      case T.XATTRCREATE:
        return [fid(), p9Text(random.pick(ATTRIBUTES)), random.u64(300), random.below(4)];
      case T.LOPEN:
        return [fid(), flags()];
      case T.LCREATE:
        return [fid(), name(), flags(), mode(), random.u32(3)];
      case T.SYMLINK:
        return [fid(), name(), random.once(2) ? p9Text('/etc/passwd') : name(), random.u32(3)];
      case T.MKNOD:
        return [fid(), name(), mode(), random.u32(3), random.u32(3), 0];
      case T.MKDIR:
        return [fid(), name(), mode(), 0];
      case T.RENAME:
      case T.LINK:
        return [fid(), fid(), name()];
      case T.RENAMEAT:
        return [fid(), name(), fid(), name()];
      case T.UNLINKAT:
        return [fid(), name(), random.once(2) ? 0x200 : random.u32(3)];
      case T.GETATTR:
        return [fid(), random.u64(0x3fff)];
      case T.SETATTR:
        return [fid(), random.below(512), mode(), random.u32(3), random.u32(3), offset(), ...[1, 2, 3, 4].map(offset)];
      case T.READDIR:
      case T.READ:
        return [fid(), offset(), size()];
      case T.WRITE: {
        const data = random.bytes(random.below(200));
        return [fid(), offset(), random.once(8) ? size() : data.length, data];
      }
      case T.FSYNC:
        return [fid(), random.below(2)];
      case T.LOCK:
      case T.GETLOCK:
        return [fid(), random.bytes(1), offset(), offset(), random.u32(9), name()];
      case T.STATFS:
      case T.READLINK:
      case T.CLUNK:
      case T.REMOVE:
        return [fid()];
      case T.FLUSH:
        return [u16le(random.below(12))];
      default:
        return [random.bytes(random.below(60))];
    }
  }

  step(): void {
    const { random, server } = this;
    let type = random.pick(TYPES);
    if ((type === T.VERSION || type === T.ATTACH) && !random.once(10)) type = T.WALK;
    if (type === T.FSYNC && !random.once(20)) type = T.LCREATE;
    if (random.once(40)) this.begin();
    const message = random.damage(p9Message(type, ...this.fields(type)), 12);
    const room = random.once(5) ? random.below(300) : 1 << 16;
    const answer = server.handle(message, room);
    if (answer) must(answer.length <= room, 'an answer is longer than its room');
    if (random.once(1000)) server.restore(structuredClone(server.save()));
    must(this.place.folder.held.handles <= 512, 'too many handles are held');
  }

  end(): void {
    this.server.clear();
    this.place.end();
  }
}

/** A guest's 9P2000.L messages, each with its own fields, some of them wrong, over a real folder. */
export const p9Target: FuzzTarget = { name: '9p', share: 10, length: 2000, start: (random) => new Session(random) };

import { ERRNO, FileError } from '../../../iface/errno.js';
import type { SharedFolder } from '../../../iface/shared-folder.js';
import { get } from '../../../bus/pci/config-space.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { MessageQueue } from '../message-queue.js';
import { DEVICE_TYPE } from '../registers.js';
import { OPERATIONS } from './p9-operations.js';
import { ERROR_SIZE, HEADER, P9Reader, P9Reply, T } from './p9-protocol.js';
import { MAX_MESSAGE, p9Schema, P9Session, type P9State } from './p9-session.js';

/** The device's only feature, as Linux's virtio_9p.h has it: a tag in configuration space. */
const MOUNT_TAG = 1n << 0n;

/** A 9P2000.L server: one request in, one answer out, at once. */
export class P9Server {
  private readonly session: P9Session;
  private readonly reply = new P9Reply();
  /** Requests that were no requests. */
  malformed = 0;

  /** What another guest, or this one before a reset, held of the folder is given up. */
  constructor(folder: SharedFolder) {
    folder.clear();
    this.session = new P9Session(folder);
  }

  /** Returns the answer, valid until the next request, or undefined when there is none. `room`: bytes for it. */
  handle(message: Uint8Array, room: number): Uint8Array | undefined {
    if (message.length < HEADER || room < ERROR_SIZE) {
      this.malformed++;
      return undefined;
    }
    const { reply, session } = this;
    const reader = new P9Reader(message);
    reply.begin(room);
    try {
      if (reader.size !== message.length) throw new FileError('EINVAL');
      if (session.messageSize === 0 && reader.type !== T.VERSION) throw new FileError('EPROTO');
      const operation = OPERATIONS[reader.type];
      if (!operation) throw new FileError('EOPNOTSUPP');
      operation({ session, reader, reply });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      return reply.error(reader.tag, error.errno);
    }
    return reply.finish(reader.type + 1, reader.tag);
  }

  /** An answer to a request that was too long to look at. */
  refuse(header: Uint8Array): Uint8Array {
    this.malformed++;
    return this.reply.error(new P9Reader(header).tag, ERRNO.EINVAL);
  }

  clear(): void {
    this.session.clear();
  }

  save(): P9State {
    return this.session.save();
  }

  restore(state: P9State): void {
    this.session.restore(state);
  }
}

export interface Virtio9pParts {
  readonly id: string;
  /** What the guest mounts it by, in UTF-8. */
  readonly tag: string;
  readonly folder: SharedFolder;
}

/**
 * 9P transport device: device type 9 of VIRTIO 1.2 §5, which leaves its form to Linux's virtio_9p.h. Each chain is a request
 * and room for its answer; none is ever under way.
 */
export class Virtio9p implements VirtioDevice {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = p9Schema;
  readonly deviceType = DEVICE_TYPE.P9;
  /** Mass storage controller, other. */
  readonly classCode = 0x01_8000;
  readonly features = MOUNT_TAG;
  readonly queueSizes = [128];
  readonly configSize: number;
  private readonly config: Uint8Array;
  private readonly server: P9Server;
  private port: VirtioPort | undefined;
  private readonly messages: MessageQueue;

  constructor({ id, tag, folder }: Virtio9pParts) {
    this.id = id;
    this.server = new P9Server(folder);
    this.messages = new MessageQueue(this.server, { longest: MAX_MESSAGE, header: HEADER, refusal: ERROR_SIZE });
    // tag_len (16 bits), then the tag.
    const bytes = new TextEncoder().encode(tag);
    this.configSize = 2 + bytes.length;
    this.config = new Uint8Array(this.configSize + 4);
    new DataView(this.config.buffer).setUint16(0, bytes.length, true);
    this.config.set(bytes, 2);
  }

  connect(port: VirtioPort): void {
    this.port = port;
  }

  readConfig(offset: number, size: number): number {
    return get(this.config, offset, size);
  }

  writeConfig(): void {}

  notified(index: number): void {
    this.messages.serve(this.port, index);
  }

  reset(): void {
    this.server.clear();
  }

  /** What the driver made available before the save and nobody took. */
  resume(): void {
    if (this.port?.live) this.notified(0);
  }

  save(): P9State {
    return this.server.save();
  }

  restore(state: P9State): void {
    this.server.restore(state);
  }
}

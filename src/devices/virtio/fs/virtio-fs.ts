import type { SharedFolder } from '../../../iface/shared-folder.js';
import { get } from '../../../bus/pci/config-space.js';
import type { VirtioDevice, VirtioPort } from '../device.js';
import { MessageQueue } from '../message-queue.js';
import { DEVICE_TYPE } from '../registers.js';
import { IN_HEADER, OUT_HEADER } from './fuse-protocol.js';
import { FuseServer, MAX_REQUEST } from './fuse-server.js';
import { sessionSchema, type SessionState } from './fuse-session.js';

/** struct virtio_fs_config, VIRTIO 1.2 §5.11.4: the tag, padded with NUL, and the number of request queues. */
const CONFIG = { TAG: 0, TAG_SIZE: 36, REQUEST_QUEUES: 36, SIZE: 40 } as const;

/** hiprio, then one request queue. Without the notification queue, which has a feature of its own (§5.11.2). */
const QUEUES = [128, 512];

export interface VirtioFsParts {
  readonly id: string;
  /** What the guest mounts it by: 1 … 36 bytes of UTF-8. */
  readonly tag: string;
  readonly folder: SharedFolder;
}

/** File system device, VIRTIO 1.2 §5.11, without DAX. Requests are carried out as they are taken; none is ever under way. */
export class VirtioFs implements VirtioDevice {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = sessionSchema;
  readonly deviceType = DEVICE_TYPE.FILE_SYSTEM;
  /** Mass storage controller, other. */
  readonly classCode = 0x01_8000;
  readonly features = 0n;
  readonly queueSizes = QUEUES;
  readonly configSize = CONFIG.SIZE;
  private readonly config = new Uint8Array(CONFIG.SIZE + 4);
  private readonly server: FuseServer;
  private port: VirtioPort | undefined;
  private readonly messages: MessageQueue;

  constructor({ id, tag, folder }: VirtioFsParts) {
    this.id = id;
    this.server = new FuseServer(folder);
    this.messages = new MessageQueue(this.server, { longest: MAX_REQUEST, header: IN_HEADER, refusal: OUT_HEADER });
    this.config.set(new TextEncoder().encode(tag).subarray(0, CONFIG.TAG_SIZE), CONFIG.TAG);
    new DataView(this.config.buffer).setUint32(CONFIG.REQUEST_QUEUES, QUEUES.length - 1, true);
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
    if (this.port?.live) for (let queue = 0; queue < QUEUES.length; queue++) this.notified(queue);
  }

  save(): SessionState {
    return this.server.save();
  }

  restore(state: SessionState): void {
    this.server.restore(state);
  }
}

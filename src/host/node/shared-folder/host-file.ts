import * as fs from 'node:fs';
import type { FileStatus, SharedFile } from '../../../iface/shared-folder.js';
import type { HostNode } from './host-node.js';
import { hostCall } from './host-call.js';

/** An open regular file of a shared folder. */
export class HostFile implements SharedFile {
  private closed = false;

  constructor(
    readonly node: HostNode,
    readonly descriptor: number,
    private readonly statusOf: (descriptor: number) => FileStatus,
    private readonly whenClosed: (file: HostFile) => void,
  ) {
    node.open.add(descriptor);
  }

  read(into: Uint8Array, offset: number): number {
    return hostCall(() => {
      let done = 0;
      while (done < into.length) {
        const count = fs.readSync(this.descriptor, into, done, into.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  write(bytes: Uint8Array, offset: number): number {
    return hostCall(() => {
      let done = 0;
      while (done < bytes.length) {
        try {
          done += fs.writeSync(this.descriptor, bytes, done, bytes.length - done, offset + done);
        } catch (error) {
          // What was written is told; the next write meets the same end.
          if (done > 0) break;
          throw error;
        }
      }
      return done;
    });
  }

  status(): FileStatus {
    return hostCall(() => this.statusOf(this.descriptor));
  }

  sync(dataOnly: boolean): void {
    hostCall(() => {
      if (dataOnly) fs.fdatasyncSync(this.descriptor);
      else fs.fsyncSync(this.descriptor);
    });
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.node.open.delete(this.descriptor);
    fs.closeSync(this.descriptor);
    this.whenClosed(this);
  }
}

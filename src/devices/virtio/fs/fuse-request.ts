import type { SharedFolder, SharedNode } from '../../../iface/shared-folder.js';
import type { Reply, RequestReader } from './fuse-protocol.js';
import type { FuseSession } from './fuse-session.js';

/** A request while it is carried out. */
export class Request {
  constructor(
    readonly session: FuseSession,
    readonly reader: RequestReader,
    readonly reply: Reply,
  ) {}

  get folder(): SharedFolder {
    return this.session.folder;
  }

  /** The node that the header names. */
  node(): SharedNode {
    return this.session.node(this.reader.header.node);
  }
}

/** Reads its arguments, does its work, writes its answer; what fails throws a `FileError`. */
export type Operation = (request: Request) => void;

/** Packets of the socket device, VIRTIO 1.2 §5.10.6: struct virtio_vsock_hdr, little-endian. */

export const HOST_CID = 2n;
export const HEADER_SIZE = 44;

export const TYPE_STREAM = 1;

export const OP = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;

/** Flags of SHUTDOWN: what the sender does no longer. */
export const SHUTDOWN = { RECEIVE: 1, SEND: 2 } as const;

export interface PacketHeader {
  readonly sourceCid: bigint;
  readonly destinationCid: bigint;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes of payload. */
  readonly length: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  /** Size of the sender's receive buffer, bytes. */
  readonly bufAlloc: number;
  /** Bytes that the sender's user has taken out of it, modulo 2**32. */
  readonly fwdCnt: number;
}

export function parseHeader(bytes: Uint8Array): PacketHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE);
  return {
    sourceCid: view.getBigUint64(0, true),
    destinationCid: view.getBigUint64(8, true),
    sourcePort: view.getUint32(16, true),
    destinationPort: view.getUint32(20, true),
    length: view.getUint32(24, true),
    type: view.getUint16(28, true),
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufAlloc: view.getUint32(36, true),
    fwdCnt: view.getUint32(40, true),
  };
}

export function writeHeader(header: PacketHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, header.sourceCid, true);
  view.setBigUint64(8, header.destinationCid, true);
  view.setUint32(16, header.sourcePort, true);
  view.setUint32(20, header.destinationPort, true);
  view.setUint32(24, header.length, true);
  view.setUint16(28, header.type, true);
  view.setUint16(30, header.op, true);
  view.setUint32(32, header.flags, true);
  view.setUint32(36, header.bufAlloc, true);
  view.setUint32(40, header.fwdCnt, true);
  return bytes;
}

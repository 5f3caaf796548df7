/** Capture files of libpcap's classic format: a header, then frames, each with its time. */
const MAGIC = 0xa1b2_c3d4;
const ETHERNET = 1;
/** Longest frame that a file says it holds. */
const SNAP_LENGTH = 262_144;

export function pcapHeader(): Uint8Array {
  const header = new Uint8Array(24);
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, ETHERNET, true);
  return header;
}

/** `time` in milliseconds since 1970-01-01 UTC. */
export function pcapRecord(frame: Uint8Array, time: number): Uint8Array {
  const record = new Uint8Array(16 + frame.length);
  const view = new DataView(record.buffer);
  view.setUint32(0, Math.floor(time / 1000), true);
  view.setUint32(4, Math.floor((time % 1000) * 1000), true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, frame.length, true);
  record.set(frame, 16);
  return record;
}

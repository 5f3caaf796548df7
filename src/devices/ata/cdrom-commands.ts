/** Command packets of CD-ROM drives: MMC-6 (T10/1836-D r2g) and SPC-4; what drives answer that is made of nothing but constants. */
import { MODEL } from './identify.js';

/** Operation codes. */
export const SCSI = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  INQUIRY: 0x12,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  PREVENT_ALLOW: 0x1e,
  READ_FORMAT_CAPACITIES: 0x23,
  READ_CAPACITY: 0x25,
  READ_10: 0x28,
  SEEK_10: 0x2b,
  VERIFY_10: 0x2f,
  SYNCHRONIZE_CACHE: 0x35,
  READ_SUBCHANNEL: 0x42,
  READ_TOC: 0x43,
  GET_CONFIGURATION: 0x46,
  GET_EVENT_STATUS: 0x4a,
  READ_DISC_INFORMATION: 0x51,
  READ_TRACK_INFORMATION: 0x52,
  MODE_SELECT_10: 0x55,
  MODE_SENSE_10: 0x5a,
  READ_12: 0xa8,
  READ_DVD_STRUCTURE: 0xad,
  SET_CD_SPEED: 0xbb,
  MECHANISM_STATUS: 0xbd,
  READ_CD: 0xbe,
} as const;

/** Sense keys and additional codes, SPC-4 §4.5.6. */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
}
export const SENSE = {
  NONE: { key: 0, asc: 0, ascq: 0 },
  NO_MEDIUM: { key: 2, asc: 0x3a, ascq: 0 },
  TRAY_OPEN: { key: 2, asc: 0x3a, ascq: 2 },
  READ_ERROR: { key: 3, asc: 0x11, ascq: 0 },
  TRANSFER_FAILED: { key: 0xb, asc: 0x4b, ascq: 0 },
  INVALID_COMMAND: { key: 5, asc: 0x20, ascq: 0 },
  OUT_OF_RANGE: { key: 5, asc: 0x21, ascq: 0 },
  INVALID_FIELD: { key: 5, asc: 0x24, ascq: 0 },
  INVALID_PARAMETER: { key: 5, asc: 0x26, ascq: 0 },
  SAVING_NOT_SUPPORTED: { key: 5, asc: 0x39, ascq: 0 },
  REMOVAL_PREVENTED: { key: 5, asc: 0x53, ascq: 2 },
  WRONG_TRACK_MODE: { key: 5, asc: 0x64, ascq: 0 },
  MEDIUM_CHANGED: { key: 6, asc: 0x28, ascq: 0 },
  RESET: { key: 6, asc: 0x29, ascq: 0 },
} as const satisfies Readonly<Record<string, Sense>>;

export const CD_BLOCK = 2048;
/** Frames before logical block 0 in addresses of minutes, seconds and frames: 2 s of 75. */
const PREGAP = 150;
/** A CD ends here (80 minutes); what is larger is a DVD. */
const CD_BLOCKS = 80 * 60 * 75;

const PROFILE = { CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const;

export const profileOf = (blocks: number | undefined): number =>
  blocks === undefined ? 0 : blocks > CD_BLOCKS ? PROFILE.DVD_ROM : PROFILE.CD_ROM;

/** Big-endian fields in a buffer. */
export class Reply {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(size: number, start: readonly number[] = []) {
    this.bytes = new Uint8Array(size);
    this.bytes.set(start);
    this.view = new DataView(this.bytes.buffer);
  }

  u16(at: number, value: number): this {
    this.view.setUint16(at, value);
    return this;
  }

  u32(at: number, value: number): this {
    this.view.setUint32(at, value);
    return this;
  }

  text(at: number, size: number, text: string): this {
    for (let i = 0; i < size; i++) this.bytes[at + i] = i < text.length ? text.charCodeAt(i) & 0x7f : 0x20;
    return this;
  }
}

/** Standard INQUIRY data, SPC-4 §6.4.2; vital product data pages 00h, 80h and 83h (§7.8). */
export function inquiry(page: number | undefined, serial: string): Uint8Array | undefined {
  if (page === undefined) {
    // CD-ROM, removable, MMC's version 0 as ATAPI has it, response format 2, 31 bytes more.
    const reply = new Reply(36, [0x05, 0x80, 0x00, 0x32, 31]);
    return reply.text(8, 8, 'VITRINE').text(16, 16, 'CD-ROM').text(32, 4, MODEL.FIRMWARE).bytes;
  }
  switch (page) {
    case 0x00:
      return new Reply(7, [0x05, 0x00, 0, 3, 0x00, 0x80, 0x83]).bytes;
    case 0x80:
      return new Reply(24, [0x05, 0x80, 0, 20]).text(4, 20, serial).bytes;
    case 0x83:
      // One designator: ASCII, vendor specific.
      return new Reply(28, [0x05, 0x83, 0, 24, 0x02, 0x00, 0, 20]).text(8, 20, serial).bytes;
    default:
      return undefined;
  }
}

/** Fixed format, current error. */
export const senseData = ({ key, asc, ascq }: Sense): Uint8Array =>
  new Reply(18, [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq]).bytes;

/** READ TOC, formats 0 (TOC) and 1 (sessions), MMC-6 §6.26: one data track and the lead-out. Undefined: no such track or format. */
export function toc(format: number, msf: boolean, from: number, blocks: number): Uint8Array | undefined {
  const address = (reply: Reply, at: number, block: number): void => {
    if (!msf) reply.u32(at, block);
    else {
      const frames = block + PREGAP;
      reply.bytes.set([Math.min(255, Math.floor(frames / 4500)), Math.floor(frames / 75) % 60, frames % 75], at + 1);
    }
  };
  if (format === 1) {
    const reply = new Reply(12, [0, 10, 1, 1, 0, 0x14, 1, 0]);
    address(reply, 8, 0);
    return reply.bytes;
  }
  if (format === 2) return fullToc(blocks);
  if (format !== 0 || (from > 1 && from !== 0xaa)) return undefined;
  const tracks = from <= 1 ? [1, 0xaa] : [0xaa];
  const reply = new Reply(4 + 8 * tracks.length, [0, 2 + 8 * tracks.length, 1, 1]);
  tracks.forEach((track, i) => {
    reply.bytes.set([0, 0x14, track, 0], 4 + 8 * i);
    address(reply, 8 + 8 * i, track === 1 ? 0 : blocks);
  });
  return reply.bytes;
}

/** Format 2, the raw table: first and last track, lead-out, track 1; addresses always in minutes, seconds, frames. */
function fullToc(blocks: number): Uint8Array {
  const entries: number[] = [];
  const frames = blocks + PREGAP;
  const end = [Math.min(255, Math.floor(frames / 4500)), Math.floor(frames / 75) % 60, frames % 75];
  for (const [point, place] of [
    [0xa0, [1, 0, 0]],
    [0xa1, [1, 0, 0]],
    [0xa2, end],
    [0x01, [0, 2, 0]],
  ] as const)
    entries.push(1, 0x14, 0, point, 0, 0, 0, 0, ...place);
  return Uint8Array.of(0, entries.length + 2, 1, 1, ...entries);
}

/** GET CONFIGURATION, MMC-6 §6.5: features a drive that reads CDs and DVDs has. `kind` 0: all; 1: current ones; 2: one. */
export function configuration(kind: number, from: number, blocks: number | undefined): Uint8Array {
  const profile = profileOf(blocks);
  const [cd, dvd] = [profile === PROFILE.CD_ROM, profile === PROFILE.DVD_ROM];
  const persistent = 0x03;
  const feature = (code: number, flags: number, data: readonly number[]): readonly number[] => [
    code >> 8,
    code & 0xff,
    flags,
    data.length,
    ...data,
  ];
  const features = [
    // Profile list, core (ATAPI), morphing, removable medium with a tray that opens, random readable, CD read, DVD read.
    feature(0x0000, persistent, [0, PROFILE.DVD_ROM, dvd ? 1 : 0, 0, 0, PROFILE.CD_ROM, cd ? 1 : 0, 0]),
    feature(0x0001, persistent | (2 << 2), [0, 0, 0, 2, 1, 0, 0, 0]),
    feature(0x0002, persistent | (1 << 2), [2, 0, 0, 0]),
    feature(0x0003, persistent, [0x29, 0, 0, 0]),
    feature(0x0010, cd || dvd ? 1 : 0, [0, 0, CD_BLOCK >> 8, CD_BLOCK & 0xff, 0, 1, 0, 0]),
    feature(0x001e, (2 << 2) | (cd ? 1 : 0), [0, 0, 0, 0]),
    feature(0x001f, dvd ? 1 : 0, []),
  ];
  const chosen = features.filter((one) => {
    const code = one[0] * 256 + one[1];
    if (kind === 2) return code === from;
    return code >= from && (kind === 0 || (one[2] & 1) !== 0);
  });
  const body = chosen.flat();
  return new Reply(8 + body.length, [0, 0, 0, 0, 0, 0, profile >> 8, profile & 0xff, ...body]).u32(0, 4 + body.length)
    .bytes;
}

/** Mode pages, MMC-6 §7: error recovery, capabilities and mechanical status. */
export function modePages(page: number, control: number, locked: boolean): Uint8Array | undefined {
  // Of changeable values there are none: a mask of zeros.
  const values = (bytes: readonly number[]): readonly number[] =>
    control === 1 ? bytes.map((byte, i) => (i < 2 ? byte : 0)) : bytes;
  const recovery = values([0x01, 0x06, 0, 5, 0, 0, 0, 0]);
  const power = values([0x1a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const capabilities = values([
    // Reads CD-R, CD-RW, DVD-ROM; mode 2, multi-session; locks, ejects, a tray; 706 KB/s four times.
    ...[0x2a, 0x12, 0x0b, 0, 0x70, 0, 0x29 | (locked ? 0x02 : 0), 0],
    ...[0x02, 0xc2, 0, 2, 2, 0, 0x02, 0xc2, 0, 0, 0, 0],
  ]);
  switch (page) {
    case 0x01:
      return Uint8Array.from(recovery);
    case 0x1a:
      return Uint8Array.from(power);
    case 0x2a:
      return Uint8Array.from(capabilities);
    case 0x3f:
      return Uint8Array.from([...recovery, ...power, ...capabilities]);
    default:
      return undefined;
  }
}

/** READ DISC INFORMATION, MMC-6 §6.21: a finished disc of one session and one track that nothing can be written to. */
export const discInformation = (): Uint8Array => new Reply(34, [0, 32, 0x0e, 1, 1, 1, 1, 0x20]).bytes;

/** READ TRACK INFORMATION, MMC-6 §6.27: the one data track. */
export const trackInformation = (blocks: number): Uint8Array =>
  new Reply(36, [0, 34, 1, 1, 0, 0x04, 0x01]).u32(24, blocks).bytes;

/** READ DVD STRUCTURE, format 0 (physical format information), MMC-6 §6.22.3.2.1: one layer of a DVD-ROM. */
export function dvdStructure(format: number, blocks: number): Uint8Array | undefined {
  if (format !== 0) return undefined;
  const first = 0x3_0000;
  return new Reply(2052, [0x08, 0x02, 0, 0, 0x01, 0x0f, 0x01, 0x00]).u32(8, first).u32(12, first + blocks - 1).bytes;
}

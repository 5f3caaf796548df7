/** SMART of a disk that never wears out: ATA/ATAPI-7 §6.54 volume 1 (T13/1532D), obsolete parts of which programs still read. */
import type { Operation, Outcome, Taskfile } from './drive.js';
import { noData, reply } from './operations.js';
import { SECTOR } from './registers.js';

/** Subcommands, in the feature field. */
const SMART = {
  READ_DATA: 0xd0,
  READ_THRESHOLDS: 0xd1,
  AUTOSAVE: 0xd2,
  OFFLINE: 0xd4,
  READ_LOG: 0xd5,
  ENABLE: 0xd8,
  DISABLE: 0xd9,
  STATUS: 0xda,
} as const;

/** LBA mid and high of every SMART command; and of the answer of a disk about to fail. */
const KEY = 0xc24f;

/** Logs: directory, summary of errors, self-tests. */
const LOG = { DIRECTORY: 0, ERRORS: 1, SELF_TESTS: 6 } as const;

/** Attributes: id, flags, value and worst value, raw value, threshold. */
const ATTRIBUTES = [
  { id: 5, flags: 0x03, value: 100, raw: 0, threshold: 36 },
  { id: 9, flags: 0x03, value: 100, raw: 0, threshold: 0 },
  { id: 12, flags: 0x03, value: 100, raw: 0, threshold: 0 },
] as const;

function sealed(bytes: Uint8Array): Uint8Array {
  bytes[511] = 0;
  bytes[511] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
}

function dataPage(): Uint8Array {
  const page = new Uint8Array(SECTOR);
  page[0] = 0x10;
  ATTRIBUTES.forEach(({ id, flags, value, raw }, i) => page.set([id, flags, 0, value, value, raw], 2 + 12 * i));
  // Offline collection never started, no self-test running; offline tests of the short kind; no wait.
  page[367] = 0x10 | 0x01;
  page[368] = 0x03;
  page[370] = 0x01;
  page[372] = page[373] = 1;
  return sealed(page);
}

function thresholds(): Uint8Array {
  const page = new Uint8Array(SECTOR);
  page[0] = 0x10;
  ATTRIBUTES.forEach(({ id, threshold }, i) => page.set([id, threshold], 2 + 12 * i));
  return sealed(page);
}

function log(address: number): Uint8Array | undefined {
  const page = new Uint8Array(SECTOR);
  switch (address) {
    case LOG.DIRECTORY:
      page[0] = 1;
      page[2 * LOG.ERRORS] = page[2 * LOG.SELF_TESTS] = 1;
      return page;
    case LOG.ERRORS:
    case LOG.SELF_TESTS:
      page[0] = 1;
      return sealed(page);
    default:
      return undefined;
  }
}

export class Smart {
  enabled = true;

  /** Undefined: refused. */
  begin(taskfile: Taskfile): Operation | undefined {
    const subcommand = taskfile.feature & 0xff;
    if ((Math.floor(taskfile.lba / 2 ** 8) & 0xffff) !== KEY) return undefined;
    if (subcommand === SMART.ENABLE) this.enabled = true;
    if (!this.enabled) return undefined;
    switch (subcommand) {
      case SMART.READ_DATA:
        return reply(taskfile, dataPage(), 'pio');
      case SMART.READ_THRESHOLDS:
        return reply(taskfile, thresholds(), 'pio');
      case SMART.READ_LOG: {
        const page = log(taskfile.lba & 0xff);
        return page && (taskfile.count & 0xff) === 1 ? reply(taskfile, page, 'pio') : undefined;
      }
      case SMART.OFFLINE:
        // Offline collection, short and extended self-test, abort: all over at once.
        return [0, 1, 2, 0x7f].includes(taskfile.lba & 0xff) ? noData(taskfile) : undefined;
      case SMART.DISABLE:
        this.enabled = false;
        return noData(taskfile);
      case SMART.ENABLE:
      case SMART.AUTOSAVE:
      case SMART.STATUS:
        return noData(taskfile);
      default:
        return undefined;
    }
  }

  /** SMART RETURN STATUS answers in the address: the disk is well. */
  outcome({ feature, lba }: Taskfile): Partial<Outcome> {
    return (feature & 0xff) === SMART.STATUS ? { lba: (lba & 0xff) | (KEY << 8) } : {};
  }
}

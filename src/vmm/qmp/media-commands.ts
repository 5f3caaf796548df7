/** Commands that change the media in drives: qapi/block.json of QEMU 7.2. */
import { DISK_FORMATS } from '../config.js';
import { READ_ONLY_MODES, type MediaRequest } from '../media.js';
import type { QmpCommand } from './command.js';
import type { QmpMachine } from './machine.js';
import { BOOL, NOTHING, object, oneOf, QmpError, STR, text, type JsonObject, type QmpType } from './types.js';

/** The disk that is meant, by either of the names that QEMU has for it. */
async function diskOf(machine: QmpMachine, given: JsonObject): Promise<number> {
  const [device, id] = [text(given, 'device'), text(given, 'id')];
  const name = device ?? id;
  if (name === undefined || (device !== undefined && id !== undefined))
    throw new QmpError("Need exactly one of 'device' and 'id'");
  const { disks } = await machine.inspect();
  const disk = disks.findIndex((one) => one.id === name);
  if (disk < 0) throw new QmpError(`Device '${name}' not found`, 'DeviceNotFound');
  // Cards that were plugged have names of their own.
  if (!disks[disk].removable) throw new QmpError(`Device '${name}' is not removable`);
  return disk;
}

function command(
  more: Readonly<Record<string, QmpType>>,
  request: (disk: number, given: JsonObject) => MediaRequest,
): QmpCommand {
  return {
    arguments: object({ 'device?': STR, 'id?': STR, ...more }),
    returns: NOTHING,
    run: async (machine, given) => {
      await machine.changeMedia(request(await diskOf(machine, given), given));
      return {};
    },
  };
}

const isForced = (given: JsonObject): boolean => given['force'] === true;

/** One of some words, which was checked to be one of them. */
const among = <T extends string>(words: readonly T[], given: JsonObject, name: string): T =>
  words.find((word) => word === given[name]) ?? words[0];

function change(disk: number, given: JsonObject): MediaRequest {
  const format = text(given, 'format');
  if (format !== undefined && !DISK_FORMATS.some((known) => known === format))
    throw new QmpError(`Unknown driver '${format}'`);
  return {
    action: 'change',
    disk,
    force: isForced(given),
    path: text(given, 'filename') ?? '',
    format: among(DISK_FORMATS, given, 'format'),
    readOnly: among(READ_ONLY_MODES, given, 'read-only-mode'),
  };
}

export const MEDIA_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  eject: command({ 'force?': BOOL }, (disk, given) => ({ action: 'eject', disk, force: isForced(given) })),
  'blockdev-open-tray': command({ 'force?': BOOL }, (disk, given) => ({
    action: 'open-tray',
    disk,
    force: isForced(given),
  })),
  'blockdev-close-tray': command({}, (disk) => ({ action: 'close-tray', disk })),
  'blockdev-remove-medium': {
    ...command({}, (disk) => ({ action: 'remove', disk })),
    arguments: object({ id: STR }),
  },
  'blockdev-change-medium': command(
    { filename: STR, 'format?': STR, 'force?': BOOL, 'read-only-mode?': oneOf(...READ_ONLY_MODES) },
    change,
  ),
};

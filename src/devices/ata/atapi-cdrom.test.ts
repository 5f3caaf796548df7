import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../testing/memory-disk.js';
import { AtapiCdRom } from './atapi-cdrom.js';
import { SCSI } from './cdrom-commands.js';
import type { Outcome } from './drive.js';
import { COMMAND } from './registers.js';

class Host {
  readonly moves: boolean[] = [];
  readonly drive: AtapiCdRom;

  constructor(medium: MemoryDisk | undefined) {
    const trayMoved = (open: boolean): void => void this.moves.push(open);
    this.drive = new AtapiCdRom({ id: 'cd', medium, serial: 'S', serialAta: true, trayMoved });
    // Power-on is a unit attention of its own.
    this.command([SCSI.TEST_UNIT_READY]);
  }

  /** The data that a command answers, and how it ends. */
  command(bytes: readonly number[]): { readonly data: Uint8Array; readonly outcome: Outcome } {
    const { drive } = this;
    const taskfile = { command: COMMAND.PACKET, feature: 1, count: 0, lba: 0, device: 0 };
    const packet = new Uint8Array(12);
    packet.set(bytes);
    const operation = drive.beginPacket(drive.begin(taskfile), packet, 0xfffe);
    const data = new Uint8Array(operation.length);
    if (operation.length > 0) drive.send(operation, 0, data, () => {});
    const outcome: Outcome[] = [];
    drive.finish(operation, (end) => outcome.push(end));
    return { data, outcome: outcome[0] };
  }

  /** Key and additional sense code of the last command. */
  get sense(): [number, number] {
    const { data } = this.command([SCSI.REQUEST_SENSE, 0, 0, 0, 18]);
    return [data[2], data[12]];
  }

  /** Event and status of the medium (MMC-6 §6.7.2.5). */
  get event(): [number, number] {
    const { data } = this.command([SCSI.GET_EVENT_STATUS, 1, 0, 0, 0x10, 0, 0, 0, 8]);
    return [data[4], data[5]];
  }

  ready(): boolean {
    return (this.command([SCSI.TEST_UNIT_READY]).outcome.status & 1) === 0;
  }
}

describe('a change of the medium', () => {
  it('is an event, and a unit attention', () => {
    const host = new Host(new MemoryDisk(1 << 20));
    expect([host.ready(), host.event]).toEqual([true, [0, 2]]);
    host.drive.moveTray(true);
    expect(host.event).toEqual([3, 3]);
    expect([host.ready(), host.sense]).toEqual([false, [2, 0x3a]]);
    host.drive.change(new MemoryDisk(1 << 21));
    host.drive.moveTray(false);
    expect(host.event).toEqual([2, 2]);
    expect(host.event).toEqual([0, 2]);
    expect([host.ready(), host.sense]).toEqual([false, [6, 0x28]]);
    expect(host.ready()).toBe(true);
    const { data } = host.command([SCSI.READ_CAPACITY]);
    expect(new DataView(data.buffer).getUint32(0)).toBe((1 << 21) / 2048 - 1);
    expect(host.moves).toEqual([true, false]);
  });

  it('by nothing leaves an empty drive', () => {
    const host = new Host(new MemoryDisk(1 << 20));
    host.drive.moveTray(true);
    host.drive.change(undefined);
    host.drive.moveTray(false);
    expect(host.event).toEqual([3, 0]);
    expect([host.ready(), host.sense]).toEqual([false, [2, 0x3a]]);
  });

  it('is asked for while the host has locked the drive; the host opens it itself then', () => {
    const host = new Host(new MemoryDisk(1 << 20));
    host.command([SCSI.PREVENT_ALLOW, 0, 0, 0, 1]);
    expect(host.drive.locked).toBe(true);
    host.drive.requestEject();
    expect(host.event).toEqual([1, 2]);
    host.command([SCSI.START_STOP_UNIT, 0, 0, 0, 2]);
    expect([host.sense, host.drive.trayOpen]).toEqual([[5, 0x53], false]);
    host.command([SCSI.PREVENT_ALLOW, 0, 0, 0, 0]);
    host.command([SCSI.START_STOP_UNIT, 0, 0, 0, 2]);
    expect(host.drive.trayOpen).toBe(true);
    host.command([SCSI.START_STOP_UNIT, 0, 0, 0, 3]);
    expect([host.drive.trayOpen, host.moves]).toEqual([false, [true, false]]);
  });
});

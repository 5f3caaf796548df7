/** Media that are changed while a Linux guest runs: its own drivers notice. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { qmpClient, type QmpClient } from '../testing/qmp-client.js';
import { describeWith, requireGuest } from '../testing/tools.js';

const guest = await requireGuest('amd64-generic');
const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-media-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A medium full of one letter. */
async function medium(name: string, letter: string, size: number): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, letter.repeat(size));
  return file;
}

const PROMPT = /^vitrine:~# /m;

class Running {
  private at = 0;

  private constructor(
    readonly vitrine: VitrineProcess,
    readonly qmp: QmpClient,
  ) {}

  static async start(...args: readonly string[]): Promise<Running> {
    const socket = path.join(folder, 'socket');
    const { vmlinux, initrd } = guest.files;
    const append = `console=ttyS0 quiet ${KERNEL_WORDS}`;
    const kernel = ['--kernel', vmlinux, '--initrd', initrd, '--append', append, '--memory', '256M'];
    const vitrine = VitrineProcess.ofSuite(['run', ...kernel, '--qmp', `unix:${socket}`, ...args]);
    const running = new Running(vitrine, await qmpClient(socket));
    await running.qmp.ask('qmp_capabilities');
    running.at = await vitrine.until(PROMPT);
    return running;
  }

  /** What a command of the guest's prints. */
  async shell(command: string): Promise<string> {
    this.vitrine.type(`${command}\n`);
    const before = await this.vitrine.until(/\n/, this.at);
    this.at = await this.vitrine.until(PROMPT, before);
    return this.vitrine.output.slice(before, this.at).replaceAll('\r', '').replace(PROMPT, '').trim();
  }

  async end(): Promise<void> {
    this.qmp.close();
    this.vitrine.type('poweroff\n');
    expect((await this.vitrine.ended).code).toBe(0);
  }
}

describeWith([guest], 'media', () => {
  let running: Running;
  const cds: Record<string, string> = {};
  let floppy = '';
  beforeAll(async () => {
    cds['disk0'] = await medium('first', 'A', 1 << 20);
    cds['disk1'] = await medium('another', 'C', 1 << 20);
    floppy = await medium('a', 'A', 1440 << 10);
    running = await Running.start(
      ...['--disk', `${cds['disk0']},if=sata,media=cdrom`, '--disk', `${cds['disk1']},if=ide,media=cdrom`],
      ...['--disk', ',if=floppy', '--disk', `${floppy},readonly`],
    );
  });
  afterAll(() => running.vitrine.kill('SIGKILL'));

  it.each([
    ['disk0', 'A', 'sata'],
    ['disk1', 'C', 'ide'],
  ])('CDs are changed, ejected and put in: %s, %s (%s)', async (id, letter) => {
    const { qmp } = running;
    const [first, second] = [cds[id], await medium(`second-${id}`, 'B', 1 << 21)];
    const find = `for d in /dev/sr?; do [ "$(head -c 1 $d 2>/dev/null)" = ${letter} ] && echo $d; done`;
    // Behind what was typed, which is longer than a line.
    const drive = (await running.shell(find)).split('\n').at(-1);
    expect(drive).toMatch(/^\/dev\/sr[01]$/);
    const read = (): Promise<string> => running.shell(`head -c 4 ${drive}; echo; blockdev --getsize64 ${drive}`);
    const shown = async (): Promise<unknown> =>
      ((await qmp.value('query-block')) as { device: string }[]).find(({ device }) => device === id);
    expect(await read()).toBe(`${letter.repeat(4)}\n1048576`);
    const change = { device: id, filename: second };
    expect(await qmp.ask('blockdev-change-medium', change)).toEqual({ return: {} });
    expect(await read()).toBe('BBBB\n2097152');
    expect(await shown()).toMatchObject({
      ...{ removable: true, tray_open: false },
      inserted: { file: second, drv: 'raw', ro: true },
    });
    const missing = await qmp.ask('blockdev-change-medium', { id, filename: path.join(folder, 'none') });
    expect(missing).toMatchObject({ error: { class: 'GenericError' } });

    // While the guest has it open, it is locked.
    await running.shell(`exec 9<${drive}`);
    expect(await qmp.ask('eject', { id })).toMatchObject({
      error: { desc: `Device '${id}' is locked and force was not specified, wait for tray to open and try again` },
    });
    // Only asked to open, it is no error that it is not open yet.
    expect(await qmp.ask('blockdev-open-tray', { id })).toEqual({ return: {} });
    expect(await shown()).toMatchObject({ locked: true, tray_open: false });
    await running.shell('exec 9<&-');
    expect(await qmp.ask('eject', { id })).toEqual({ return: {} });
    expect(await shown()).toEqual({
      ...{ device: id, type: 'unknown', removable: true, locked: false, tray_open: true },
    });
    expect(await running.shell(`head -c 4 ${drive}`)).toMatch(/No medium found/);
    await qmp.ask('blockdev-change-medium', { id, filename: first, format: 'raw' });
    expect(await read()).toBe(`${letter.repeat(4)}\n1048576`);

    const moves = qmp.events
      .filter(({ event, data }) => event === 'DEVICE_TRAY_MOVED' && (data as { readonly id: string }).id === id)
      .map(({ data }) => data);
    // Linux closes an open tray that it wants to read.
    expect(moves).toMatchObject([true, false, true, false, true, false].map((open) => ({ id, 'tray-open': open })));
    // Whatever the guest says to it.
    await running.shell(`exec 9<${drive}`);
    expect(await qmp.ask('eject', { id, force: true })).toEqual({ return: {} });
    await running.shell('exec 9<&-');
  });

  it('floppies are put into an empty drive, changed and taken out', async () => {
    const [first, second] = [floppy, await medium('b', 'B', 1440 << 10)];
    const { qmp } = running;
    await running.shell('modprobe floppy');
    const read = (): Promise<string> => running.shell('head -c 4 /dev/fd0; echo');
    expect(await read()).not.toBe('AAAA');
    await qmp.ask('blockdev-change-medium', { id: 'disk2', filename: first, 'read-only-mode': 'read-only' });
    expect(await read()).toBe('AAAA');
    await qmp.ask('blockdev-change-medium', { id: 'disk2', filename: second, 'read-only-mode': 'read-write' });
    expect(await read()).toBe('BBBB');
    expect(await running.shell('echo CCCC >/dev/fd0; sync; head -c 4 /dev/fd0; echo')).toBe('CCCC');
    const wrong = await medium('wrong', 'B', 1000 << 10);
    expect(await qmp.ask('blockdev-change-medium', { id: 'disk2', filename: wrong })).toMatchObject({
      error: { desc: expect.stringMatching(/there are floppies of/) as string },
    });
    for (const command of ['blockdev-open-tray', 'blockdev-close-tray'])
      expect(await qmp.ask(command, { id: 'disk2' })).toEqual({ return: {} });
    expect(await read()).toBe('CCCC');
    expect(await qmp.ask('eject', { id: 'disk2' })).toEqual({ return: {} });
    expect(await read()).not.toBe('CCCC');
    expect(await qmp.ask('eject', { id: 'disk3' })).toMatchObject({
      error: { class: 'GenericError', desc: "Device 'disk3' is not removable" },
    });
    expect(await qmp.ask('eject', { id: 'disk7' })).toMatchObject({ error: { class: 'DeviceNotFound' } });
    expect(await qmp.ask('eject', {})).toMatchObject({ error: { desc: "Need exactly one of 'device' and 'id'" } });
    await running.end();
  });
});

/** Cards that come and go under a Linux guest: its own drivers find them, use them, and let them go. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { qmpClient, type QmpClient } from '../testing/qmp-client.js';
import { describeWith, quickBoot, requireGuest, requireTool } from '../testing/tools.js';

const guest = await requireGuest('amd64');
const mke2fs = await requireTool('mke2fs', 'e2fsprogs');
const e2fsck = await requireTool('e2fsck', 'e2fsprogs');
const qemuImg = await requireTool('qemu-img', 'qemu-utils');
const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-plug-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const PROMPT = /^vitrine:~# /m;
const GOOD = { return: {} };

/** A machine, a shell in it and its monitor. */
class Running {
  private at = 0;

  private constructor(
    readonly vitrine: VitrineProcess,
    readonly qmp: QmpClient,
  ) {}

  static async start(name: string, ...args: readonly string[]): Promise<Running> {
    const socket = path.join(folder, name);
    const vitrine = new VitrineProcess([...args, '--qmp', `unix:${socket}`]);
    const running = new Running(vitrine, await qmpClient(socket));
    await running.qmp.ask('qmp_capabilities');
    return running;
  }

  async prompt(): Promise<void> {
    this.at = await this.vitrine.until(PROMPT);
    // What is typed comes back as it is.
    await this.shell('stty columns 400');
  }

  /** What a command of the guest's prints. */
  async shell(command: string): Promise<string> {
    this.vitrine.type(`${command}\n`);
    const before = await this.vitrine.until(/\n/, this.at);
    this.at = await this.vitrine.until(PROMPT, before);
    return this.vitrine.output.slice(before, this.at).replaceAll('\r', '').replace(PROMPT, '').trim();
  }

  /** Unplugs a card; the guest lets it go. */
  async unplug(id: string): Promise<void> {
    const before = this.qmp.events.length;
    expect(await this.qmp.ask('device_del', { id })).toEqual(GOOD);
    await expect
      .poll(() => this.qmp.events.slice(before), { timeout: 20_000 })
      .toMatchObject([{ event: 'DEVICE_DELETED', data: { device: id, path: `/machine/peripheral/${id}` } }]);
  }
}

const waitFor = (condition: string): string => `until ${condition}; do sleep 0.1; done`;

describeWith([guest, mke2fs, e2fsck, qemuImg], 'cards', () => {
  it('a disk and a network card are plugged, used, saved with the machine, and taken out', async () => {
    const [raw, disk, saved] = ['raw', 'disk.qcow2', 'saved'].map((name) => path.join(folder, name));
    await mke2fs.run(['-q', '-t', 'ext4', raw, '32M']);
    await qemuImg.run(['convert', '-f', 'raw', '-O', 'qcow2', raw, disk]);
    const { vmlinux, initrd } = guest.files;
    const append = `console=ttyS0 quiet ${KERNEL_WORDS}`;
    const kernel = ['--kernel', vmlinux, '--initrd', initrd, '--append', append, '--memory', '128M'];
    const first = await Running.start(
      'a',
      'run',
      ...(await quickBoot()),
      ...kernel,
      '--net',
      'none',
      '--save-on-exit',
      saved,
    );
    const { qmp } = first;
    const file = { driver: 'file', filename: disk, cache: { direct: true } };
    expect(await qmp.ask('blockdev-add', { ...file, 'node-name': 'd1', cache: { direct: 1 } })).toMatchObject({
      error: { desc: "Invalid parameter type for 'cache.direct', expected: boolean" },
    });
    expect(await qmp.ask('blockdev-add', { ...file, 'node-name': 'd1', filename: 5 })).toMatchObject({
      error: { desc: "Invalid parameter type for 'filename', expected: string" },
    });
    expect(await qmp.ask('blockdev-add', { driver: 'qcow2', 'node-name': 'd1', file })).toEqual(GOOD);
    await first.prompt();
    await first.shell('modprobe virtio_blk; modprobe virtio_net');
    expect(
      await qmp.ask('device_add', {
        driver: 'virtio-blk-pci',
        id: 'disk1',
        drive: 'd1',
        serial: 'MORE',
        addr: '0x18',
      }),
    ).toEqual(GOOD);
    expect(await first.shell(`${waitFor('[ -b /dev/vda ]')}; cat /sys/block/vda/serial; echo`)).toBe('MORE');
    await first.shell('mount -t ext4 /dev/vda /mnt; dd if=/dev/urandom of=/mnt/one bs=1k count=3000; sync');
    const sum = await first.shell('md5sum </mnt/one');
    expect(sum).toMatch(/^[0-9a-f]{32}/);
    expect(await qmp.ask('netdev_add', { type: 'user', id: 'n1', net: '10.0.7.0/24' })).toEqual(GOOD);
    expect(await qmp.ask('device_add', { driver: 'virtio-net-pci', id: 'nic1', netdev: 'n1' })).toEqual(GOOD);
    await first.shell(
      `${waitFor('[ -e /sys/class/net/eth0 ]')}; ip link set eth0 up; udhcpc -q -n -i eth0 -s /etc/udhcpc.script`,
    );
    expect(await first.shell('ping -c 2 10.0.7.2')).toContain('2 packets received');
    expect(await qmp.value('query-block')).toMatchObject([
      { device: '', qdev: '/machine/peripheral/disk1', inserted: { file: disk, 'node-name': 'd1', drv: 'qcow2' } },
    ]);
    expect(await qmp.ask('eject', { id: 'disk1' })).toMatchObject({
      error: { desc: "Device 'disk1' is not removable" },
    });
    const [{ devices }] = (await qmp.value('query-pci')) as [{ devices: { qdev_id: string; slot: number }[] }];
    expect(devices.filter(({ slot }) => slot >= 17).map(({ qdev_id, slot }) => [qdev_id, slot])).toEqual([
      ['nic1', 17],
      ['disk1', 24],
      ['lpc-bridge', 31],
    ]);
    expect(await qmp.ask('device_del', { id: 'virtio-rng0' })).toMatchObject({ error: { class: 'GenericError' } });
    expect(await qmp.ask('blockdev-del', { 'node-name': 'd1' })).toMatchObject({
      error: { desc: 'Node d1 is in use' },
    });
    first.vitrine.kill('SIGTERM');
    await first.vitrine.ended;
    expect((await stat(saved)).size).toBeGreaterThan(0);

    const second = await Running.start('b', 'resume', saved);
    expect(await second.qmp.value('query-named-block-nodes')).toMatchObject([{ cache: { direct: true } }]);
    expect(await second.shell('echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/one')).toBe(sum);
    expect(await second.shell('ping -c 1 10.0.7.2')).toContain('1 packets received');
    await second.shell('cp /mnt/one /mnt/two; umount /mnt');
    await second.unplug('disk1');
    await second.unplug('nic1');
    expect(await second.shell('ls /dev/vda; ls /sys/class/net')).toMatch(/vda: No such file or directory\s+lo$/);
    expect(await second.qmp.ask('blockdev-del', { 'node-name': 'd1' })).toEqual(GOOD);
    expect(await second.qmp.ask('netdev_del', { id: 'n1' })).toEqual(GOOD);
    expect(await second.qmp.value('query-named-block-nodes')).toEqual([]);
    // The image is nobody's any more, while the machine runs.
    await qemuImg.run(['check', disk]);
    await qemuImg.run(['convert', '-f', 'qcow2', '-O', 'raw', disk, raw]);
    await e2fsck.run(['-f', '-n', raw]);
    second.qmp.close();
    second.vitrine.type('poweroff\n');
    expect((await second.vitrine.ended).code).toBe(0);
  });
});

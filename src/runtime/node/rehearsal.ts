/**
 * A machine that nobody sees, made, run for a moment, saved and restored by a thread that waits for a real one: what all of that takes is then
 * compiled, which is the larger part of the time that a machine's start takes.
 */
import { hostTime } from '../../host/node/clock.js';
import { deflate, gunzip } from '../../host/node/deflate.js';
import { hostEntropy } from '../../host/node/entropy.js';
import { giveBack } from '../../host/node/give-back.js';
import type { CharSink } from '../../iface/lines.js';
import { MIB } from '../../base/units.js';
import { SnapshotReader, SnapshotWriter, uncompressed } from '../../snapshot/container.js';
import { SnapshotBuffer } from '../../snapshot/snapshot-buffer.js';
import { DEFAULT_MACHINE, type MachineConfig } from '../../vmm/config.js';
import type { MachineHost } from '../../vmm/machine-host.js';
import { VirtualMachine } from '../../vmm/machine.js';
import { DEFAULT_USER_NETWORK } from '../../vmm/net-config.js';
import { StreamMux } from '../../vmm/stream-mux.js';
import { Unplugged } from '../../net/unplugged.js';
import { collectGarbage } from './collect-garbage.js';
import { createVm, prepareVm } from './create-vm.js';
import { loadDemo } from './demo-image.js';

/** Looks at what has arrived, after which a machine stops: the demonstration prints its first lines until then. */
const LOOKS = 40;
const ROUNDS = 2;

const NOWHERE: CharSink = { write: () => {} };

function describe(): MachineConfig {
  return {
    machine: DEFAULT_MACHINE,
    cpu: 'x86-64-v2',
    cpus: 1,
    memory: 4 * MIB,
    disks: [],
    debugExit: false,
    noReboot: true,
    clock: 'host',
    display: { vga: 'none', rom: null, input: 'ps2' },
    sharing: { shares: [], ports: [{ name: 'port', path: null }] },
    networks: [
      { network: DEFAULT_USER_NETWORK, model: 'virtio-net', mac: '52:54:00:12:34:56', queues: 1, mtu: 1500, pcap: '' },
    ],
    note: '',
    boot: { kernel: { name: 'rehearsal', data: loadDemo(), commandLine: '', modules: [] } },
  };
}

/**
 * Takes a tenth of a second or two. What it returns is the machine, which has ended, without its memory: for as long as there is one, V8 knows what it has
 * learnt of the classes of machines, which it forgets with their last objects.
 */
export function rehearse(): unknown {
  const machine = play();
  giveBack(new Uint8Array(machine.vm.backing.buffer));
  collectGarbage();
  prepareVm();
  return machine;
}

function play(): VirtualMachine {
  const late: { machine?: VirtualMachine } = {};
  let looks = 0;
  const host: MachineHost = {
    version: '',
    time: hostTime,
    entropy: hostEntropy,
    serial: [NOWHERE, NOWHERE],
    debugConsole: NOWHERE,
    console: NOWHERE,
    createVm: (request) => createVm(request, { report: () => {} }),
    openDisk: () => {
      throw new Error('a rehearsal has no disks');
    },
    sharing: {
      openFolder: () => {
        throw new Error('a rehearsal has no folders');
      },
      streams: new StreamMux(() => {}, 0),
      giveBack: () => false,
    },
    networks: { openNetworks: (configs) => configs.map((_, i) => new Unplugged(`net${i}`)) },
    gunzip,
    poll: () => {
      if (++looks % LOOKS === 0) late.machine?.stop();
    },
    sleep: () => late.machine?.stop(),
    report: () => {},
  };
  const config = describe();
  let machine = VirtualMachine.create(config, host);
  for (let round = 0; round < ROUNDS; round++) {
    late.machine = machine;
    machine.run();
    const pages = new SnapshotBuffer('a rehearsal');
    machine.save(new SnapshotWriter(pages, uncompressed(deflate)), 'apart');
    const { ram } = machine;
    machine.close();
    machine.vm.dispose();
    machine = VirtualMachine.restore(new SnapshotReader(pages, deflate), host, {
      name: pages.name,
      apart: { readBoot: () => config.boot, fillMemory: (into) => into.set(ram) },
    });
  }
  late.machine = machine;
  machine.run();
  machine.close();
  machine.vm.dispose();
  return machine;
}

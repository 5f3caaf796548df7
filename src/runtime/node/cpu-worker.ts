/** A CPU on a thread of its own, from the second one of a machine on. */
import { availableParallelism } from 'node:os';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { hostTime } from '../../host/node/clock.js';
import { hostEntropy } from '../../host/node/entropy.js';
import type { Vm } from '../../iface/vcpu.js';
import type { VmRequest } from '../../machine/common/board.js';
import { CpuThread } from '../../vmm/smp/cpu-thread.js';
import type { CpuCommand, CpuMessage } from '../../vmm/smp/messages.js';
import { SmpWords } from '../../vmm/smp/words.js';
import { loadKvm } from './choose-accelerator.js';
import { createVm } from './create-vm.js';
import { wakeBy, type CpuWorkerData } from './cpu-protocol.js';
import { createTurn, loadTurns, openSeat } from './cpu-turns.js';

const data = workerData as CpuWorkerData;
const { index, cpus, tscHz, backingSize, accel, share, port } = data;
const wakeMachine = wakeBy(data.wake);
const post = (message: CpuMessage): void => {
  port.postMessage(message);
};

const report = (text: string): void => {
  post({ kind: 'report', text });
  words.post();
};
const seat = openSeat(data.seat);
const turn = createTurn(seat, index, report);

/** Made last, and by what may fail: that has to be told. */
let vm: Vm | undefined;
const words = new SmpWords(data.words, cpus, index, {
  signals: {
    interrupt: (other) => vm?.signals?.interrupt(other),
    kick: (other) => vm?.signals?.kick(other),
  },
  wakes: seat.wakes,
  yields: () => turn.yield(),
  isCrowded: cpus > availableParallelism(),
  wakeMachine,
});

async function joinVm(request: VmRequest, report: (text: string) => void): Promise<Vm> {
  if (accel === 'kvm') return (await loadKvm()).joinKvmVm(request, share);
  return createVm(request, {
    accel,
    report,
    memory: share as WebAssembly.Memory,
    translation: () => data.translation,
  });
}

async function run(): Promise<never> {
  const model = cpuModel(data.model);
  try {
    loadTurns();
    vm = await joinVm({ model, cpus, tscHz, backingSize, cpuid: () => data.cpuid }, report);
  } finally {
    const loaded = new Int32Array(data.loaded);
    Atomics.store(loaded, 0, 1);
    Atomics.notify(loaded, 0);
  }
  const take = (): CpuCommand | undefined => receiveMessageOnPort(port)?.message as CpuCommand | undefined;
  const pipe = { post, take };
  return new CpuThread({
    index,
    model: data.model,
    tscHz,
    vm,
    words,
    turn,
    time: hostTime,
    entropy: hostEntropy,
    pipe,
  }).run();
}

try {
  await run();
} catch (error) {
  post({ kind: 'failed', error });
  words.leave();
  words.post();
  throw error;
}

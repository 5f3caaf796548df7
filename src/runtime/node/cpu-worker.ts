/** A CPU on a thread of its own, from the second one of a machine on. */
import { availableParallelism } from 'node:os';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { hostTime } from '../../host/node/clock.js';
import { hostEntropy } from '../../host/node/entropy.js';
import { boardCpuid } from '../../machine/common/identity.js';
import { CpuThread } from '../../vmm/smp/cpu-thread.js';
import type { CpuCommand, CpuMessage } from '../../vmm/smp/messages.js';
import { SmpWords } from '../../vmm/smp/words.js';
import { createVm } from './accelerators.js';
import { wakeBy, type CpuWorkerData } from './cpu-protocol.js';

const data = workerData as CpuWorkerData;
const { index, cpus, tscHz, backingSize, accel, memory, port } = data;
const wakeMachine = wakeBy(data.wake);
const post = (message: CpuMessage): void => {
  port.postMessage(message);
};

/** Makes words that begin without a Vm, which needs a place for its reports. */
function start(): void {
  const model = cpuModel(data.model);
  const request = {
    model,
    cpus,
    tscHz,
    backingSize,
    cpuid: (of: number) => boardCpuid(model, tscHz, cpus, of),
  };
  const report = (text: string): void => {
    post({ kind: 'report', text });
    words.post();
  };
  const vm = createVm(request, { accel, report, memory });
  const words: SmpWords = new SmpWords(data.words, cpus, {
    isCrowded: cpus > availableParallelism(),
    kick: (other) => {
      vm.signals?.kick(other);
    },
    wakeMachine,
  });
  try {
    const take = (): CpuCommand | undefined => receiveMessageOnPort(port)?.message as CpuCommand | undefined;
    new CpuThread({
      index,
      model: data.model,
      tscHz,
      vm,
      words,
      time: hostTime,
      entropy: hostEntropy,
      pipe: { post, take },
    }).run();
  } catch (error) {
    post({ kind: 'failed', error });
    words.leave(index);
    words.post();
    throw error;
  }
}

start();

/** Starts the threads of CPUs. */
import { availableParallelism } from 'node:os';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { CpuMessage } from '../../vmm/smp/messages.js';
import type { ThreadHost } from '../../vmm/smp/cpu-threads.js';
import { wakeBy, type CpuWorkerData } from './cpu-protocol.js';

export interface CpuThreadSettings {
  readonly accel: CpuWorkerData['accel'];
  readonly wake: CpuWorkerData['wake'];
  readonly report: (text: string) => void;
}

export function cpuThreads({ accel, wake, report }: CpuThreadSettings): ThreadHost {
  return {
    report,
    processors: availableParallelism(),
    wakeMachine: wakeBy(wake),
    startCpu: (index, { request, vm, words }) => {
      const { port1, port2 } = new MessageChannel();
      const { cpus, model, tscHz, backingSize } = request;
      const data: CpuWorkerData = {
        index,
        cpus,
        model: model.name,
        tscHz,
        backingSize,
        accel,
        memory: vm.share as WebAssembly.Memory,
        words,
        wake,
        port: port2,
      };
      const worker = new Worker(new URL('./cpu-worker.js', import.meta.url), {
        workerData: data,
        transferList: [port2],
      });
      // Its end is the end of the machine's thread.
      worker.unref();
      port1.unref();
      return {
        post: (command) => {
          port1.postMessage(command);
        },
        take: () => receiveMessageOnPort(port1)?.message as CpuMessage | undefined,
      };
    },
  };
}

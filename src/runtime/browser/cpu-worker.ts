/** A CPU on a thread of its own, from the second one of a machine on. */
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { browserTime } from '../../host/browser/clock.js';
import { browserEntropy } from '../../host/browser/entropy.js';
import { holdLife } from '../../host/browser/life.js';
import type { Vm } from '../../iface/vcpu.js';
import { CpuThread } from '../../vmm/smp/cpu-thread.js';
import type { CpuCommand, CpuMessage } from '../../vmm/smp/messages.js';
import { SmpWords } from '../../vmm/smp/words.js';
import { MessageRing } from '../common/message-ring.js';
import { wakeBy } from './cpu-threads.js';
import { createVm } from './create-vm.js';
import { plain } from './plain.js';
import { READY, type CpuGo, type CpuPrepare } from './protocol.js';
import { TranslationThread } from './thread-compiler.js';

let prepared: CpuPrepare | undefined;
let translation: TranslationThread | undefined;

async function prepare(first: CpuPrepare): Promise<void> {
  const { variants } = first.built;
  // Before this thread blocks for ever.
  translation = variants && (await TranslationThread.start(variants, first.cpus > 1));
  await holdLife(first.life);
  prepared = first;
  self.postMessage(READY);
}

function run({ built, epoch }: CpuPrepare, go: CpuGo): never {
  const { index, cpus, tscHz, backingSize, memory } = go;
  const messages = new MessageRing(go.messages);
  const commands = new MessageRing(go.commands);
  let vm: Vm | undefined;
  const words = new SmpWords(go.words, cpus, index, {
    signals: {
      interrupt: (other) => vm?.signals?.interrupt(other),
      kick: (other) => vm?.signals?.kick(other),
    },
    wakes: go.wakes,
    isCrowded: cpus > navigator.hardwareConcurrency,
    wakeMachine: wakeBy(go.wake),
  });
  const post = (message: CpuMessage): void => {
    messages.send(plain(message));
  };
  const report = (text: string): void => {
    post({ kind: 'report', text });
    words.post();
  };
  try {
    const model = cpuModel(go.model);
    const cpuid = (): CpuGo['cpuid'] => go.cpuid;
    vm = createVm({ model, cpus, tscHz, backingSize, cpuid }, { built, memory, translation, report });
    return new CpuThread({
      index,
      model: go.model,
      tscHz,
      vm,
      words,
      turn: { ask: () => Infinity, rest: () => {}, watch: () => {} },
      time: browserTime(epoch),
      entropy: browserEntropy,
      pipe: { post, take: () => commands.take() as unknown as CpuCommand | undefined },
    }).run();
  } catch (error) {
    post({ kind: 'failed', error });
    words.leave();
    words.post();
    throw error;
  }
}

self.onmessage = ({ data }: MessageEvent<CpuPrepare | CpuGo>) => {
  if ('built' in data) prepare(data).catch((error: unknown) => reportError(error));
  else if (prepared) {
    // Whatever makes `run` end: nothing else is done by this thread's event loop.
    setTimeout(() => SmpWords.lose(data.words, data.index));
    run(prepared, data);
  }
};

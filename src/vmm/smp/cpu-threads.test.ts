import { describe, expect, it } from 'vitest';
import { cpuModel } from '../../arch/x86/cpu-models.js';
import type { CpuSignals, Vm } from '../../iface/vcpu.js';
import { CpuThreads, type ThreadHost } from './cpu-threads.js';
import type { CpuMessage } from './messages.js';
import { SmpWords } from './words.js';

const signals: CpuSignals = { interrupt: () => undefined, kick: () => undefined, setA20: () => undefined };
const vm = { signals } as Partial<Vm> as Vm;
const request = { cpus: 2, model: cpuModel('x86-64-v2'), tscHz: 1e9, backingSize: 4096, cpuid: () => [] };

/** Starts threads that answer each command with a message. */
function hostWhoseCpus(answer: CpuMessage, reports: string[] = []): ThreadHost {
  const wakes = new Int32Array(new SharedArrayBuffer(8));
  return {
    processors: 2,
    wakes,
    yields: () => false,
    wakeMachine: () => undefined,
    report: (text) => void reports.push(text),
    startCpu: (index, { words }) => {
      const own = new SmpWords(words, 2, index, { signals, wakes, isCrowded: false, wakeMachine: () => undefined });
      const waiting: CpuMessage[] = [];
      return {
        post: () => {
          waiting.push(answer);
          own.post();
        },
        take: () => waiting.shift(),
      };
    },
  };
}

describe('CPUs on threads of their own', () => {
  it('end the machine by one line when a thread fails', () => {
    const error = new Error('out of memory');
    const threads = new CpuThreads(vm, request, hostWhoseCpus({ kind: 'failed', error }));
    expect(() => threads.power(1, 0)).toThrow('CPU 1 has failed: out of memory');
  });

  it('end the machine by one line when a thread has ended, and wait for nothing that it had', () => {
    const host = hostWhoseCpus({ kind: 'answer' });
    const late: { buffer?: SharedArrayBuffer } = {};
    const threads = new CpuThreads(vm, request, {
      ...host,
      startCpu: (index, start) => {
        late.buffer = start.words;
        const pipe = host.startCpu(index, start);
        // It holds the bus for ever.
        const attention = { signals, wakes: host.wakes, isCrowded: false, wakeMachine: () => undefined };
        new SmpWords(start.words, 2, index, attention).bus.lockBus();
        return pipe;
      },
    });
    threads.power(1, 0);
    if (late.buffer) SmpWords.lose(late.buffer, 1);
    expect(() => threads.poll()).toThrow('CPU 1 has failed: its thread has ended');
    expect(() => threads.power(1, 0)).toThrow('CPU 1 has failed: its thread has ended');
    threads.lock.lockBus();
  });

  it('say which state was none that a CPU can have', () => {
    const threads = new CpuThreads(vm, request, hostWhoseCpus({ kind: 'refused', message: 'cpu.rip: not a number' }));
    expect(() => threads.power(1, 0)).toThrow('cpu.rip: not a number');
  });
});

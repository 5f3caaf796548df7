/** A CPU on a thread of its own, with its local APIC and its timers: that thread's side. */
import type { GuestIo } from '../../iface/bus.js';
import type { Entropy } from '../../iface/clock.js';
import type { DebugRequest, Vm } from '../../iface/vcpu.js';
import type { BoardCpu } from '../../machine/common/cpu.js';
import { createThreadCpu } from '../../machine/common/thread-cpu.js';
import { SchemaError } from '../../snapshot/schema.js';
import { MachineClock, type TimeSource } from '../machine-clock.js';
import { RunLoop, type MachineTurn } from '../run-loop.js';
import type { CpuCommand, CpuMessage, MessagePipe } from './messages.js';
import { CALL, type SmpWords } from './words.js';

export interface CpuThreadOptions {
  readonly index: number;
  /** Name of the CPU model. */
  readonly model: string;
  readonly tscHz: number;
  readonly vm: Vm;
  readonly words: SmpWords;
  readonly turn: MachineTurn;
  /** The same as the machine's, to the nanosecond. */
  readonly time: TimeSource;
  readonly entropy: Entropy;
  readonly pipe: MessagePipe<CpuMessage, CpuCommand>;
}

/** The bus, where the machine's thread has it. */
function remoteIo(words: SmpWords): GuestIo {
  return {
    portRead: (port, size) => words.call(CALL.PORT_READ, port, size),
    portWrite: (port, size, value) => {
      words.call(CALL.PORT_WRITE, port, size, value);
    },
    mmioRead: (gpa, size) => words.call(CALL.MMIO_READ, gpa, size),
    mmioWrite: (gpa, size, value) => {
      words.call(CALL.MMIO_WRITE, gpa, size, value);
    },
  };
}

export class CpuThread {
  private parts: { readonly board: BoardCpu; readonly clock: MachineClock; readonly loop: RunLoop };
  private debug: DebugRequest | undefined;
  /** Commands that were taken. */
  private seen = 0;

  constructor(private readonly options: CpuThreadOptions) {
    this.parts = this.power(0);
  }

  private power(now: number): typeof this.parts {
    const { index, model, tscHz, vm, words, turn, time, entropy } = this.options;
    const clock = new MachineClock(time, now);
    clock.pause();
    const board = createThreadCpu({
      index,
      cpus: words.cpus,
      model,
      tscHz,
      vm,
      clock,
      poweredAt: now,
      entropy,
      io: remoteIo(words),
      apicWords: (other) => words.apic(other),
      ring: (other, how) => {
        words.ring(other, how);
      },
      endOfInterrupt: (vector) => {
        words.call(CALL.END_OF_INTERRUPT, vector);
      },
      bus: {
        setFerr: (asserted) => {
          words.call(CALL.FERR, asserted ? 1 : 0);
        },
        acknowledgeExtInt: () => words.call(CALL.ACKNOWLEDGE, 0),
        endOfInterrupt: (vector) => {
          words.call(CALL.END_OF_INTERRUPT, vector);
        },
        ...words.bus,
      },
    });
    const { cpu, apic } = board;
    turn.watch(cpu, () => 0);
    const loop: RunLoop = new RunLoop({
      cpu: words.gated(cpu),
      turn,
      clock,
      poll: () => {
        apic.takeIn?.();
        if (words.commands !== this.seen) loop.stop({ kind: 'stopped' });
      },
      sleep: (nanoseconds) => {
        words.sleep(nanoseconds);
      },
    });
    if (this.debug) cpu.setDebug(this.debug);
    return { board, clock, loop };
  }

  /** Carries out commands for ever. */
  run(): never {
    const { words, pipe } = this.options;
    for (;;) {
      while (words.commands === this.seen) words.sleep(undefined);
      const command = pipe.take();
      if (command === undefined) continue;
      this.seen++;
      this.carryOut(command);
    }
  }

  private post(message: CpuMessage): void {
    this.options.pipe.post(message);
    this.options.words.post();
  }

  private carryOut(command: CpuCommand): void {
    try {
      this.post({ kind: 'answer', ...this.answer(command) });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      this.post({ kind: 'refused', message: error.message });
    }
    if (command.kind === 'go') this.go(command.origin);
  }

  private answer(command: CpuCommand): Pick<Extract<CpuMessage, { kind: 'answer' }>, 'value'> {
    const { board, clock } = this.parts;
    const { cpu, apic } = board;
    switch (command.kind) {
      case 'go':
      case 'stop':
        return {};
      case 'resume':
        clock.follow(command.origin);
        cpu.resume?.();
        return {};
      case 'power':
        this.parts = this.power(command.now);
        return {};
      case 'save':
        apic.takeIn?.();
        return { value: { cpu: cpu.saveState(), apic: apic.save() } };
      case 'restore-cpu':
        clock.set(command.now);
        cpu.restoreState(command.state);
        return {};
      case 'restore-apic':
        clock.set(command.now);
        apic.restore(apic.stateSchema.check(command.state, apic.id));
        return {};
      case 'debug':
        this.debug = command.request;
        cpu.setDebug(command.request);
        return {};
      case 'look':
        return {
          value: {
            location: cpu.location,
            tsc: cpu.readTsc(),
            retired: cpu.retired,
            events: cpu.recentEvents,
            work: cpu.describeWork?.() ?? [],
          },
        };
      case 'translate':
        return { value: { physical: cpu.translate(command.linear) } };
    }
  }

  /** Runs until a command comes, or the CPU cannot go on by itself. */
  private go(origin: number): void {
    const { clock, loop } = this.parts;
    clock.follow(origin);
    const exit = loop.run();
    clock.pause();
    if (exit.kind === 'shutdown') this.post({ kind: 'shutdown' });
    else if (exit.kind === 'debug') this.post({ kind: 'debug', reason: exit.reason });
  }
}

/** Options that `vitrine run` and `vitrine resume` share: where a machine's output goes, and who looks into it. */
import { checkAccelerator, checkKernelIrqchip } from '../runtime/node/accelerator-names.js';
import { Option, type Command } from 'commander';
import { UsageError } from '../base/errors.js';
import type { InputChannel } from '../runtime/node/protocol.js';
import { checkMachineName } from '../runtime/node/registry.js';
import { checkCpuGroup } from '../runtime/node/scheduler.js';
import { addLimitOptions, readLimitOptions, type LimitOptions } from './limit-options.js';
import { parseGdb, parseQmp, parseTrace } from './parse.js';
import { chooseDisplay } from './vnc-options.js';
import type { SessionOptions } from './session.js';

export interface RawSessionOptions extends LimitOptions {
  readonly name?: string;
  readonly accel?: string;
  readonly kernelIrqchip?: string;
  readonly console: InputChannel;
  readonly debugcon?: string;
  readonly display?: string;
  readonly vnc?: string;
  readonly saveOnExit?: string;
  readonly gdb?: string;
  readonly qmp?: string;
  /** -S. */
  readonly stopped?: boolean;
  readonly trace?: string;
  readonly traceFile: string;
  readonly stats?: boolean;
}

export function addSessionOptions(command: Command): Command {
  command
    .optionsGroup('Input and output:')
    .addOption(
      new Option('--console <device>', "which of the guest's consoles the terminal is: ttyS0 or hvc0")
        .argParser(parseConsole)
        .default('serial' satisfies InputChannel, 'ttyS0'),
    )
    .option('--display <kind>', 'who is shown the screen: none, or vnc (which is --vnc :0)')
    .option('--vnc <display[,words]>', 'show the screen to VNC clients at :1, HOST:1 or HOST:5901')
    .option('--debugcon <file>', 'write what goes to ports 0xe9 and 0x402 to a file')
    .optionsGroup('How it runs:')
    .option(
      '--accel <name>',
      "what runs the guest: kvm (the host's processor), wasm (a translator) or interp (an interpreter); otherwise the best that works here",
    )
    .option(
      '--kernel-irqchip <who>',
      'on kvm: split gives local APICs to KVM, on 8259s, I/O APIC and 8254, too, off none; otherwise split for several CPUs, and off for one where timers work so',
    )
    .option('--name <name>', 'what the machine is called where machines are listed; otherwise after its process')
    .option('--qmp <address>', "listen for clients of QEMU's machine protocol at tcp:PORT, tcp:HOST:PORT or unix:PATH");
  return addLimitOptions(command)
    .optionsGroup('Finding out what a guest does:')
    .option('--gdb <address>', 'wait for gdb at tcp:PORT or tcp:HOST:PORT; the guest runs meanwhile')
    .option('-S, --stopped', 'wait for gdb before the first instruction')
    .option('--trace <kinds>', 'write down what the guest does: exec, int, mmio, pio, translate')
    .option('--trace-file <file>', 'where to', 'vitrine.trace')
    .option('--stats', 'say at the end how many instructions ran, and how')
    .optionsGroup('Afterwards:')
    .option('--save-on-exit <file>', 'when stopped by Ctrl-A x or a signal, save the machine there');
}

function parseConsole(name: string): InputChannel {
  if (name === 'ttyS0') return 'serial';
  if (name === 'hvc0') return 'console';
  throw new UsageError(`unknown console "${name}"; there are ttyS0 and hvc0`);
}

/** Checks them. */
export function readSessionOptions(raw: RawSessionOptions): SessionOptions {
  const { console, saveOnExit, debugcon, stopped, name, accel, kernelIrqchip } = raw;
  if (kernelIrqchip !== undefined && accel !== undefined && accel !== 'kvm')
    throw new UsageError('--kernel-irqchip says who has the interrupt controllers on kvm: --accel kvm');
  const gdb = raw.gdb === undefined ? undefined : parseGdb(raw.gdb);
  const qmp = raw.qmp === undefined ? undefined : parseQmp(raw.qmp);
  if (stopped && gdb === undefined) throw new UsageError('-S waits for a debugger: say where with --gdb tcp:PORT');
  const vnc = chooseDisplay(raw.display, raw.vnc);
  const trace = raw.trace === undefined ? undefined : parseTrace(raw.trace);
  return {
    ...(accel !== undefined && { accel: checkAccelerator(accel) }),
    ...(kernelIrqchip !== undefined && { kernelIrqchip: checkKernelIrqchip(kernelIrqchip) }),
    console,
    ...(name !== undefined && { name: checkMachineName(name) }),
    limits: readLimitOptions(raw),
    ...(raw.cpuGroup !== undefined && { group: checkCpuGroup(raw.cpuGroup) }),
    ...(saveOnExit !== undefined && { saveOnExit }),
    ...(debugcon !== undefined && { debugcon }),
    ...(gdb !== undefined && { gdb }),
    ...(vnc !== undefined && { vnc }),
    ...(qmp !== undefined && { qmp }),
    ...(stopped && { startStopped: true }),
    ...(raw.stats && { stats: true }),
    ...(trace && { trace: { kinds: trace, file: raw.traceFile } }),
  };
}

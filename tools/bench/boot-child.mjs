// Boots a guest in this very process and prints figures as JSON: one process for each measurement, so that nothing of the
// one before is warm or in memory.
//
//   node tools/bench/boot-child.mjs '{"accel", "cpu", "memory", "kernel", "initrd", "commandLine", "until"}'
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { hostTime } from '../../dist/host/node/clock.js';
import { gunzip } from '../../dist/host/node/deflate.js';
import { hostEntropy } from '../../dist/host/node/entropy.js';
import { createVm } from '../../dist/runtime/node/accelerators.js';
import { VirtualMachine } from '../../dist/vmm/machine.js';

const { accel = 'interp', cpu, memory, kernel, initrd, commandLine, until } = JSON.parse(process.argv[2]);
const pattern = new RegExp(until);
const wake = new Int32Array(new SharedArrayBuffer(4));
const silent = { write: () => {} };
let text = '';
let idle = 0;
let machine;
const serial = {
  write: (bytes) => {
    text = (text + Buffer.from(bytes).toString('latin1')).slice(-4096);
    if (pattern.test(text)) machine.stop();
  },
};
const host = {
  version: '0',
  time: hostTime,
  entropy: hostEntropy,
  serial: [serial, silent],
  debugConsole: silent,
  console: silent,
  createVm: (request) => createVm(request, accel),
  openDisk: () => undefined,
  gunzip,
  poll: () => {},
  sleep: (nanoseconds) => {
    const before = performance.now();
    Atomics.wait(wake, 0, 0, Math.min(nanoseconds ?? 1e9, 1e9) / 1e6);
    idle += performance.now() - before;
  },
  report: () => {},
};
const started = performance.now();
const boot = {
  kernel: {
    name: kernel,
    data: readFileSync(kernel),
    commandLine,
    modules: initrd ? [{ name: initrd, data: readFileSync(initrd) }] : [],
  },
};
const config = { cpu, memory, boot, disks: [], debugExit: false, noReboot: true, clock: 'host' };
machine = VirtualMachine.create(config, host);
const ready = performance.now();
const { kind } = machine.run();
const done = performance.now();
const peak = Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) / 1024;
const { ram } = machine;
let touched = 0;
for (let page = 0; page < ram.length; page += 4096) {
  const words = new Int32Array(ram.buffer, ram.byteOffset + page, 1024);
  if (words.some((word) => word !== 0)) touched += 4096;
}
console.log(
  JSON.stringify({
    end: kind,
    /** From the start of the process on, in seconds. */
    userland: done / 1000,
    setUp: (ready - started) / 1000,
    running: (done - ready) / 1000,
    idle: idle / 1000,
    instructions: Number(machine.cpus[0].retired),
    cpuTime: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
    peak,
    touched: touched / 2 ** 20,
  }),
);
process.exit(0);

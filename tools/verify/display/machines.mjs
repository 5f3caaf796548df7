// The same guest's screen as Vitrine and as QEMU show it.
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { readPng } from '../../../dist/testing/png-reader.js';
import { cli, expect, runProgram } from '../lib.mjs';
import { qemuSystem } from '../qemu.mjs';

/** A program that writes to a serial port, until `stop`. */
function start(command, args, env) {
  const child = spawn(command, args, { env, stdio: 'pipe' });
  const machine = { output: '', errors: '', child, stop: () => child.kill('SIGKILL') };
  child.stdout.setEncoding('utf8').on('data', (text) => (machine.output += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (machine.errors += text));
  child.stdin.on('error', () => {});
  machine.type = (text) => child.stdin.write(text);
  machine.until = async (pattern, seconds = 120) => {
    for (let i = 0; i < seconds * 10; i++) {
      if (pattern.test(machine.output)) return;
      expect(child.exitCode === null, `it ended before ${pattern}: ${machine.output.slice(-800)}${machine.errors}`);
      await pause(100);
    }
    throw new Error(`no ${pattern} after ${seconds} s: ${machine.output.slice(-800)}${machine.errors}`);
  };
  return machine;
}

/** Vitrine with `--vnc`: `shoot(file)` gives the picture. */
export async function startVitrine(args) {
  const machine = start(process.execPath, [cli, 'run', ...args, '--vnc', ':auto,websocket'], process.env);
  for (let i = 0; i < 100 && !/vnc: .*\n/.test(machine.errors); i++) await pause(100);
  const [, port, webSocket] = /vnc: [\d.]+:(\d+), WebSocket [\d.]+:(\d+)/.exec(machine.errors) ?? [];
  expect(port !== undefined, `no VNC: ${machine.errors}`);
  machine.webSocket = Number(webSocket);
  machine.shoot = async (file) => {
    await runProgram(process.execPath, [cli, 'screenshot', `:${port}`, '--to', file]);
    return readPng(file);
  };
  return machine;
}

/** Lines of a QMP server, one command at a time. */
async function qmp(socket, command) {
  const stream = connect(socket);
  let text = '';
  stream.setEncoding('utf8').on('data', (data) => (text += data));
  const answered = async (count) => {
    while ((text.match(/"(return|error)"/g) ?? []).length < count) await pause(20);
  };
  stream.write('{"execute":"qmp_capabilities"}');
  await answered(1);
  stream.write(JSON.stringify(command));
  await answered(2);
  stream.destroy();
  expect(!text.includes('"error"'), `QEMU: ${text}`);
}

/** QEMU, in the same way. */
export async function startQemu(args, folder) {
  const qemu = await qemuSystem();
  const socket = path.join(folder, `qmp-${process.hrtime.bigint()}`);
  const all = [
    ...qemu.args,
    '-accel',
    'tcg',
    '-machine',
    'q35',
    '-nodefaults',
    '-display',
    'none',
    '-serial',
    'stdio',
    ...args,
  ];
  const machine = start(qemu.command, [...all, '-qmp', `unix:${socket},server,nowait`], qemu.env);
  for (let i = 0; i < 100 && !existsSync(socket); i++) await pause(100);
  machine.shoot = async (file) => {
    await qmp(socket, { execute: 'screendump', arguments: { filename: file, format: 'png' } });
    return readPng(file);
  };
  return machine;
}

/** Answers to what concerns machines. */
import { ApiError } from '../../api/errors.js';
import type {
  ExecRequest,
  ExecResult,
  ForkRequest,
  MachineMetrics,
  MachineRequest,
  PortRequest,
  ShutdownRequest,
  SnapshotRequest,
} from '../../api/schemas.js';
import type { Call, HttpCall, HttpHandlers } from '../call.js';
import type { HostedMachine } from '../hosted-machine.js';
import type { Making } from '../service.js';

/** Bytes that a command may write unless it says otherwise. */
const OUTPUT = 8 * 2 ** 20;

export const machineOf = ({ tenant, names }: Pick<Call, 'tenant' | 'names'>): HostedMachine =>
  tenant.machine(names['name']);

/** Waits until it is there; a client that hangs up meanwhile wants it no more. */
async function made({ machine, ready }: Making, { signal, tenant, service }: HttpCall): Promise<HostedMachine> {
  const giveUp = (): void =>
    void service.remove(tenant, machine).catch(() => {
      // It is told of as it ends.
    });
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp);
  try {
    await ready;
    return machine;
  } catch (error) {
    // What did not come up is not kept: the answer says why.
    tenant.forget(machine);
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

async function exec(call: HttpCall): Promise<ExecResult> {
  const { command, encoding = 'utf8', stdin, timeout, maxOutput = OUTPUT, cwd, env, user } = call.body as ExecRequest;
  const { guest } = machineOf(call);
  const bytes = stdin === undefined ? undefined : Buffer.from(stdin, encoding);
  const kept: readonly [Uint8Array[], Uint8Array[]] = [[], []];
  let written = 0;
  const keep = (parts: Uint8Array[]) => (part: Uint8Array) => {
    written += part.length;
    if (written > maxOutput)
      throw new ApiError('failed', `the command was killed: it wrote more than ${maxOutput} bytes`, 400);
    call.held.add(part.length);
    parts.push(part);
  };
  const { exitCode, signal } = await guest.exec(command, {
    onStdout: keep(kept[0]),
    onStderr: keep(kept[1]),
    signal: call.signal,
    ...(bytes && { stdin: new Uint8Array(bytes) }),
    ...(timeout !== undefined && { timeout }),
    ...(cwd !== undefined && { cwd }),
    ...(env && { env }),
    ...(user !== undefined && { user }),
  });
  return {
    exitCode,
    ...(signal !== undefined && { signal }),
    stdout: Buffer.concat(kept[0]).toString(encoding),
    stderr: Buffer.concat(kept[1]).toString(encoding),
  };
}

function metricsOf(machine: HostedMachine): MachineMetrics {
  const handle = machine.vm.machine;
  const { shares, cap } = handle.limits;
  return {
    now: Date.now(),
    uptime: machine.uptime,
    memory: handle.facts?.memory ?? 0,
    cpus: handle.usage.map(({ time, retired, exits }) => ({
      ...(time !== undefined && { time }),
      ...(retired !== undefined && { retired: Number(retired) }),
      exits,
    })),
    limits: { shares, ...(cap !== undefined && { cap }) },
  };
}

async function logs({ query, send, signal, ...call }: HttpCall): Promise<undefined> {
  const machine = machineOf(call);
  const { source = machine.output ? 'command' : 'serial', follow, tail } = query;
  const log = source === 'serial' ? machine.serial : machine.output;
  if (!log) throw new ApiError('not-found', `the machine ${machine.name} was started for no command`);
  // The head goes out even where there is nothing yet.
  await send(new Uint8Array(0), 'application/octet-stream');
  const options = { follow: follow === 'true', signal, ...(tail !== undefined && { tail: Number(tail) }) };
  for await (const bytes of log.read(options)) await send(bytes);
  return undefined;
}

const after = (work: (machine: HostedMachine, call: HttpCall) => Promise<unknown>) => async (call: HttpCall) => {
  const machine = machineOf(call);
  await work(machine, call);
  return { json: machine.info };
};

export const machineHandlers: HttpHandlers = {
  listMachines: ({ tenant }) => ({ json: { machines: [...tenant.machines.values()].map(({ info }) => info) } }),
  createMachine: async (call) => {
    const { service, tenant } = call;
    const request = call.body as MachineRequest;
    const making = service.create(tenant, request);
    if (request.wait === false) {
      // What comes of it is in its state.
      making.ready.catch(() => {});
      return { json: making.machine.info };
    }
    return { json: (await made(making, call)).info };
  },
  getMachine: (call) => ({ json: machineOf(call).info }),
  deleteMachine: async (call) => {
    await call.service.remove(call.tenant, machineOf(call));
    return undefined;
  },
  pauseMachine: after((machine) => machine.pause()),
  resumeMachine: after((machine) => machine.resume()),
  resetMachine: after((machine) => machine.guest.reset()),
  stopMachine: after((machine) => machine.stop()),
  shutdownMachine: after((machine, { body }) => machine.shutdown((body as ShutdownRequest).grace)),
  forkMachine: async (call) => {
    const making = call.service.fork(call.tenant, machineOf(call), call.body as ForkRequest);
    return { json: (await made(making, call)).info };
  },
  snapshotMachine: async (call) => ({
    json: await call.service.snapshot(call.tenant, machineOf(call), call.body as SnapshotRequest),
  }),
  exec: async (call) => ({ json: await exec(call) }),
  logs,
  screenshot: async (call) => {
    const machine = machineOf(call);
    if (!machine.screen) throw new ApiError('conflict', `the machine ${machine.name} has no screen`);
    return { bytes: await machine.vm.machine.screenshot('png'), contentType: 'image/png' };
  },
  machineMetrics: (call) => ({ json: metricsOf(machineOf(call)) }),
  openPort: async (call) => ({
    json: await call.service.openPort(call.tenant, machineOf(call), call.body as PortRequest),
  }),
  closePort: (call) => {
    const id = Number(call.names['port']);
    if (!machineOf(call).closePort(id)) throw new ApiError('not-found', `there is no port ${call.names['port']}`);
    return undefined;
  },
};

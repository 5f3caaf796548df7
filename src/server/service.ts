/** Machines of tenants: made, forked, saved and forgotten. Knows nothing of HTTP. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { ApiError } from '../api/errors.js';
import { HostError } from '../base/errors.js';
import type { ForkRequest, MachineRequest, PortRequest, SnapshotInfo, SnapshotRequest } from '../api/schemas.js';
import { checkMachineName } from '../runtime/node/registry.js';
import type { CreateOptions, RestoreOptions, StoredImage, Vm } from '../sdk/index.js';
import { apiErrorOf } from './answers.js';
import { HostedMachine, type MachineDescription, type MachineOwner, type MakingHooks } from './hosted-machine.js';
import type { Log } from './log.js';
import { checkRequest, commandOf, createOptions, diskLoad, lifetimeOf, loadOf, sharesOf } from './plan-machine.js';
import type { Load } from './quota.js';
import { StartLine } from './start-line.js';
import type { Tenant } from './tenant.js';

/** MiB that a fork takes at once. */
const FORK = 64;
/** Ports of a tenant's machine: their range is all tenants'. */
const MOST_PORTS = 64;

/** Where machines come from: the library, or something else in tests. */
export interface VmMaker {
  create(options: CreateOptions): Promise<Vm>;
  restore(file: string, options: RestoreOptions): Promise<Vm>;
}

export interface ServiceOptions {
  readonly maker: VmMaker;
  readonly log: Log;
  /** A machine runs, and is to be found by others of this user; absent: it is not. */
  readonly publish?: (vm: Vm, name: string) => Promise<void>;
  /** MiB that the host has left for machines, as far as it is known; absent: they are not counted. */
  readonly availableMemory?: () => number | undefined;
}

/** A machine that is being made. */
export interface Making {
  readonly machine: HostedMachine;
  /** Resolves when commands can be run; rejected with why it did not come up. */
  readonly ready: Promise<void>;
}

export class Service {
  private readonly tenants = new Set<Tenant>();
  private stopping = false;
  /** Since the start. */
  readonly counts = { created: 0, failed: 0, ended: 0 };

  private readonly line: StartLine;

  constructor(private readonly options: ServiceOptions) {
    this.line = new StartLine(options.availableMemory ?? (() => undefined));
  }

  add(tenant: Tenant): void {
    this.tenants.add(tenant);
  }

  get all(): readonly Tenant[] {
    return [...this.tenants];
  }

  /** Machines of all tenants that run, or are being made. */
  get active(): HostedMachine[] {
    return this.all.flatMap((tenant) => tenant.active);
  }

  // ---- making ----

  private newName(tenant: Tenant, wanted: string | undefined): string {
    if (this.stopping) throw new ApiError('stopping', 'the server ends');
    if (wanted === undefined) {
      for (;;) {
        const name = `vm-${randomBytes(4).toString('hex')}`;
        if (!tenant.machines.has(name)) return name;
      }
    }
    checkMachineName(wanted);
    const known = tenant.machines.get(wanted);
    if (known && known.state !== 'ended') throw new ApiError('conflict', `a machine called ${wanted} runs already`);
    return wanted;
  }

  private ownerFor(tenant: Tenant, remove: boolean): MachineOwner {
    const { log } = this.options;
    return {
      // The same as an answer would say: a tenant learns nothing of the host's files.
      reason: (error) =>
        apiErrorOf(error, tenant.local)?.message ?? (tenant.local ? String(error) : 'the server has failed'),
      failed: (error) => log.error('internal', { tenant: tenant.name, message: String(error) }),
      changed: (machine) => {
        if (tenant.machines.get(machine.name) === machine)
          tenant.tell({ type: 'machine', name: machine.name, machine: machine.info });
      },
      ended: (machine) => {
        this.counts.ended++;
        const { exit } = machine.info;
        log.info('machine-ended', {
          tenant: tenant.name,
          machine: machine.name,
          kind: exit?.kind,
          message: exit?.message,
        });
        if (remove) tenant.forget(machine);
        tenant.images
          .unused()
          .catch((error: unknown) => log.error('internal', { tenant: tenant.name, message: String(error) }));
        tenant.trim();
        tenant.balance();
      },
    };
  }

  /** Takes a machine into the list, before it is there. */
  private list(tenant: Tenant, description: MachineDescription, load: Load, remove: boolean): HostedMachine {
    const share = tenant.quota.take(load);
    const machine = new HostedMachine(description, this.ownerFor(tenant, remove), share);
    const before = tenant.machines.get(machine.name);
    if (before) tenant.forget(before);
    tenant.machines.set(machine.name, machine);
    tenant.balance();
    return machine;
  }

  /** Makes a machine, or goes on with a snapshot. Throws an ApiError where it cannot be. */
  create(tenant: Tenant, request: MachineRequest): Making {
    checkRequest(request, tenant);
    if (request.snapshot !== undefined || request.snapshotFile !== undefined) return this.restore(tenant, request);
    const { image } = request;
    if (typeof image === 'string') tenant.images.check(image);
    const description: MachineDescription = {
      name: this.newName(tenant, request.name),
      image: typeof image === 'string' ? image : image?.disk,
      ...this.common(tenant, request),
      memory: loadOf(request).memory,
      cpus: loadOf(request).cpus,
      display: request.display !== undefined && request.display !== false,
      keepsWrites: request.keepWrites === true || request.disks !== undefined,
    };
    // What the tenant may not have is found before anything is begun.
    createOptions({ ...request }, undefined, tenant);
    const machine = this.list(tenant, description, loadOf(request), request.remove ?? false);
    const found: { image?: StoredImage } = {};
    const ready = machine.begin(
      async (hooks) => {
        if (typeof image === 'string') {
          found.image = await tenant.images.ensure(image, hooks);
          machine.digest = found.image.digest;
          // What it can write is known only now.
          machine.takeDisk(tenant.quota, diskLoad(found.image));
          // A command that cannot be is said before the machine boots.
          commandOf(request, found.image);
        }
        const options = createOptions(request, found.image, tenant);
        const onProgress: CreateOptions['onProgress'] = ({ text, fraction }) =>
          hooks.onProgress(fraction === undefined ? text : `${text} ${Math.floor(fraction * 100)} %`);
        return this.inTurn(tenant, description.memory, hooks, () =>
          this.options.maker.create({ ...options, ...hooks, onProgress }),
        );
      },
      () => commandOf(request, found.image),
    );
    return { machine, ready: this.watch(tenant, machine, ready) };
  }

  private inTurn(
    tenant: Tenant,
    memory: number,
    { signal, onProgress }: MakingHooks,
    start: () => Promise<Vm>,
  ): Promise<Vm> {
    return this.line.begin({ owner: tenant, memory, signal, waits: () => onProgress('waits for its turn') }, start);
  }

  private common(
    tenant: Tenant,
    request: Pick<MachineRequest, 'lifetime' | 'cpuShares' | 'cpuCap'>,
  ): Pick<MachineDescription, 'lifetime' | 'shares' | 'cap'> {
    return { lifetime: lifetimeOf(request.lifetime, tenant), shares: sharesOf(request), cap: request.cpuCap };
  }

  private restore(tenant: Tenant, request: MachineRequest): Making {
    const { snapshot, snapshotFile, accel, bootTimeout } = request;
    const info = snapshot === undefined ? undefined : tenant.snapshots.get(snapshot);
    const file = snapshot === undefined ? path.resolve(snapshotFile ?? '') : tenant.snapshots.fileOf(snapshot);
    const { memory = 0, cpus = 1, disk = 0 } = info ?? {};
    const description: MachineDescription = {
      name: this.newName(tenant, request.name),
      image: info?.image,
      origin: `snapshot:${snapshot ?? file}`,
      ...this.common(tenant, request),
      memory,
      cpus,
      display: false,
      keepsWrites: false,
    };
    const machine = this.list(tenant, description, { machines: 1, cpus, memory, disk }, request.remove ?? false);
    machine.digest = info?.digest;
    const ready = machine.begin(
      (hooks) => {
        const { signal, onSerial, onFrame } = hooks;
        return this.inTurn(tenant, memory, hooks, () =>
          this.options.maker.restore(file, {
            signal,
            onSerial,
            onFrame,
            ...(accel !== undefined && { accel }),
            ...(bootTimeout !== undefined && { bootTimeout }),
          }),
        );
      },
      () => undefined,
    );
    return { machine, ready: this.watch(tenant, machine, ready) };
  }

  /** Does what is due when it is there, or did not come up. */
  private async watch(tenant: Tenant, machine: HostedMachine, begun: Promise<void>): Promise<void> {
    const { log, publish } = this.options;
    const { name } = machine;
    log.info('machine-starting', { tenant: tenant.name, machine: name, image: machine.description.image });
    try {
      await begun;
    } catch (error) {
      this.counts.failed++;
      log.warn('machine-failed', { tenant: tenant.name, machine: name, message: String(error) });
      throw error;
    }
    this.counts.created++;
    log.info('machine-ready', { tenant: tenant.name, machine: name, milliseconds: machine.uptime });
    tenant.balance();
    const vm = machine.current;
    if (vm && publish)
      // That vitrine top does not see it is no reason not to run it.
      await publish(vm, name).catch((error: unknown) =>
        log.warn('machine-unlisted', { machine: name, message: String(error) }),
      );
  }

  /** A second machine that is as one is now. */
  fork(tenant: Tenant, from: HostedMachine, request: ForkRequest): Making {
    const { description } = from;
    const { limits } = tenant.quota;
    if (limits.lifetime !== undefined && (request.lifetime ?? 0) > limits.lifetime)
      throw new ApiError('forbidden', `a machine may live for ${limits.lifetime} s here`);
    const parent = from.guest;
    const name = this.newName(tenant, request.name);
    const { memory, cpus } = description;
    const machine = this.list(
      tenant,
      {
        ...description,
        name,
        origin: `fork:${from.name}`,
        lifetime: lifetimeOf(request.lifetime, tenant),
        keepsWrites: false,
      },
      { machines: 1, cpus, memory, disk: from.disk },
      request.remove ?? false,
    );
    machine.digest = from.digest;
    const ready = machine.begin(
      (hooks) => {
        const { signal, onSerial, onFrame } = hooks;
        const identity = { hostname: request.hostname ?? name };
        // Its memory is the other's until it writes.
        return this.inTurn(tenant, Math.min(memory, FORK), hooks, () =>
          parent.fork({ signal, onSerial, onFrame, identity }),
        );
      },
      () => undefined,
    );
    return { machine, ready: this.watch(tenant, machine, ready) };
  }

  // ---- keeping ----

  async snapshot(tenant: Tenant, machine: HostedMachine, request: SnapshotRequest): Promise<SnapshotInfo> {
    const { name, file } = request;
    const { vm } = machine;
    const { memory, cpus, image } = machine.description;
    const about = {
      machine: machine.name,
      memory,
      cpus,
      ...(image !== undefined && { image }),
      ...(machine.digest !== undefined && { digest: machine.digest }),
      ...(machine.disk > 0 && { disk: machine.disk }),
    };
    if (file !== undefined) {
      if (!tenant.local) throw new ApiError('forbidden', 'file is only for the user who runs the server');
      if (name !== undefined) throw new ApiError('invalid', 'give either name or file');
      await vm.snapshot(path.resolve(file));
      return { ...about, name: file, size: 0, created: new Date().toISOString() };
    }
    if (name === undefined) throw new ApiError('invalid', 'give the snapshot a name');
    // All of its memory, all that it has written, and what its devices are.
    const most = memory + machine.disk + 64;
    const info = await tenant.snapshots.add({ ...about, name }, most, (place) => vm.snapshot(place));
    tenant.tell({ type: 'snapshot', name });
    return info;
  }

  /** Opens a port of this host. */
  async openPort(
    tenant: Tenant,
    machine: HostedMachine,
    request: PortRequest,
  ): Promise<ReturnType<HostedMachine['addPort']>> {
    const { guest } = machine;
    const { guestPort, guestAddress, hostPort, hostAddress } = request;
    const to = { guestPort, ...(guestAddress !== undefined && { guestAddress }) };
    if (tenant.local) {
      const forward = await guest.ports.forward({
        ...to,
        ...(hostPort !== undefined && { hostPort }),
        ...(hostAddress !== undefined && { hostAddress }),
      });
      return this.keepPort(machine, guestPort, forward);
    }
    if (machine.ports.length >= MOST_PORTS)
      throw new ApiError('limit', `the machine ${machine.name} has ${MOST_PORTS} ports already`);
    const { ports } = tenant.policy;
    if (!ports) throw new ApiError('forbidden', 'ports of the server are not to be had here');
    const { address, from, to: last } = ports;
    if (hostAddress !== undefined && hostAddress !== address)
      throw new ApiError('forbidden', `ports are opened at ${address} here`);
    if (hostPort !== undefined && hostPort !== 0 && (hostPort < from || hostPort > last))
      throw new ApiError('forbidden', `ports from ${from} to ${last} are to be had here`);
    const candidates = hostPort ? [hostPort] : Array.from({ length: last - from + 1 }, (_, i) => from + i);
    for (const candidate of candidates) {
      try {
        const forward = await guest.ports.forward({ ...to, hostPort: candidate, hostAddress: address });
        return this.keepPort(machine, guestPort, forward);
      } catch (error) {
        // It is in use; whatever else there is concerns all of them.
        if (!(error instanceof HostError)) throw error;
      }
    }
    throw hostPort
      ? new ApiError('conflict', `port ${hostPort} cannot be had: it is in use`)
      : new ApiError('limit', `there is no port left from ${from} to ${last}`);
  }

  private keepPort(
    machine: HostedMachine,
    guestPort: number,
    forward: Awaited<ReturnType<Vm['ports']['forward']>>,
  ): ReturnType<HostedMachine['addPort']> {
    // It may have ended while the port was opened.
    if (machine.state !== 'ended') return machine.addPort(forward, guestPort);
    forward.close();
    throw new ApiError('gone', `the machine ${machine.name} has ended`);
  }

  /** Stops a machine and forgets it. */
  async remove(tenant: Tenant, machine: HostedMachine): Promise<void> {
    await machine.stop();
    tenant.forget(machine);
  }

  /** Ends all machines: those that keep what they write are switched off, `grace` milliseconds for their processes. */
  async close(grace = 2000): Promise<void> {
    this.stopping = true;
    await Promise.all(
      this.active.map(async (machine) => {
        if (machine.description.keepsWrites && (machine.state === 'running' || machine.state === 'paused'))
          await machine.shutdown(grace).catch(() => {});
        await machine.stop();
      }),
    );
  }
}

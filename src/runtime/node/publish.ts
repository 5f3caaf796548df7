import { QmpServer } from './qmp-server.js';
import type { MachineHandle } from './machine-handle.js';
import { register } from './registry.js';

/** What a machine is listed as among those of its user. */
export interface PublishOptions {
  /** What the machine is called; absent: after the process. */
  readonly name?: string;
  /** Of the program. */
  readonly version: string;
}

/**
 * Lets `vitrine top`, and other clients of its monitor, find a machine of this process until it ends. What it is called; throws a
 * one-line error when a machine is called that already, or there is no place for its socket.
 */
export async function publishMachine(handle: MachineHandle, { name, version }: PublishOptions): Promise<string> {
  const monitor = new QmpServer();
  const called = await register(monitor, name);
  monitor.attach({ handle, name: called, version, now: () => Date.now(), quit: () => handle.stop() });
  const close = (): void => monitor.close();
  handle.exited.then(close, close);
  return called;
}

/** What the build made for x86 guests, from the server that the page came from. */
import { HostError } from '../../base/errors.js';
import type { AcceleratorName, Built } from './protocol.js';

const folder = new URL('../../cpu/x86/', import.meta.url);

async function load(name: string): Promise<Uint8Array<ArrayBuffer>> {
  let response: Response;
  try {
    response = await fetch(new URL(name, folder));
  } catch (cause) {
    throw new HostError(`cannot load ${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  if (!response.ok) throw new HostError(`cannot load ${name}: the server says ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

const compiled = async (name: string): Promise<WebAssembly.Module> => WebAssembly.compile(await load(name));

/** The variant of each handler, for the translator, where there is one. Rejected with a one-line error. */
export const loadVariants = (accel: AcceleratorName): Promise<Uint8Array | undefined> =>
  accel === 'wasm' ? load('handlers.json') : Promise.resolve(undefined);

/** Loads and compiles it for a machine with so many CPUs. Rejected with a one-line error. */
export async function loadBuilt(
  accel: AcceleratorName,
  cpus: number,
  variantsLoad: Promise<Uint8Array | undefined>,
): Promise<Built> {
  const anyCpu = cpus > 1;
  const interpreter = `interpreter${accel === 'wasm' ? '-regions' : ''}${anyCpu ? '-smp' : ''}.wasm`;
  const [helpers, loop, decoderTables, variants] = await Promise.all([
    compiled('helpers.wasm'),
    compiled(interpreter),
    load('decoder-tables.bin'),
    variantsLoad,
  ]);
  return { image: { anyCpu, helpers, interpreter: loop, decoderTables }, variants };
}

// Networks: proofs in real guests, and their speed against QEMU's.
import { compareSpeed } from './net/speed.mjs';
import { accelerator, withFolder } from './lib.mjs';

/** Boots of each, for medians. */
const ROUNDS = Number(process.env.VITRINE_NET_ROUNDS ?? 3);

export const title = `networks: speed against QEMU (${ROUNDS} boots each)`;

export async function run(log, { accel }) {
  await withFolder((folder) => compareSpeed(folder, log, { accel: accelerator(accel), rounds: ROUNDS }));
}

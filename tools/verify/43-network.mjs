// Networks: proofs in real guests, and their speed against QEMU's. VITRINE_NET=everything,speed chooses among them.
import * as proofs from './net/proofs.mjs';
import { compareSpeed } from './net/speed.mjs';
import { accelerator, withFolder } from './lib.mjs';

/** Boots of each, for medians. */
const ROUNDS = Number(process.env.VITRINE_NET_ROUNDS ?? 3);

const PARTS = {
  ...proofs,
  speed: (folder, log, accel) => compareSpeed(folder, log, { accel, rounds: ROUNDS }),
};
const chosen = process.env.VITRINE_NET?.split(',') ?? Object.keys(PARTS);

export const title = `networks: proofs in guests; speed against QEMU (${ROUNDS} boots each)`;

export async function run(log, { accel }) {
  const words = accelerator(accel);
  for (const part of chosen) await withFolder((folder) => PARTS[part](folder, log, words));
}

/** What is saved of a local APIC, whoever has it. */
import { array, bool, struct, u32, u64, u8, type Infer } from '../../snapshot/schema.js';
import { timerSchema } from './apic-timer.js';
import { LVT_WRITABLE } from './registers.js';

export const apicStateSchema = struct({
  base: u64,
  tpr: u8,
  ldr: u32,
  dfr: u32,
  svr: u32,
  isr: array(u32, { length: 8 }),
  tmr: array(u32, { length: 8 }),
  irr: array(u32, { length: 8 }),
  esr: u32,
  newErrors: u32,
  errorArmed: bool,
  icrLow: u32,
  icrHigh: u32,
  lvt: array(u32, { length: LVT_WRITABLE.length }),
  lint: array(bool, { length: 2 }),
  extIntLatched: bool,
  timer: timerSchema,
});
export type ApicState = Infer<typeof apicStateSchema>;

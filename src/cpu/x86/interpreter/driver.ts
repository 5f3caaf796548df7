/** The interpreter's driver: docs/interpreter.md, "Driver". */
import { Builder } from '../../../ir/builder.js';
import type { Block, FunctionRef } from '../../../ir/nodes.js';
import { EVENTS, STATE } from '../state-layout.js';
import type { CpuBases } from './handlers.js';
import { HELPER } from './glue.js';

const SERVICE_EVENTS: FunctionRef = { name: 'service_events', params: [], result: 'i32' };

/** Functions that the driver imports. */
export const DRIVER_HELPERS: readonly FunctionRef[] = [SERVICE_EVENTS, HELPER.lookup, HELPER.deliver];

/** Body of `run(budget: i32) → i32`; it leaves by the exit `return` with its result. */
export function driverCode(bases: CpuBases, loop: FunctionRef, regions = false): Block {
  const b = new Builder();
  const at = (field: keyof typeof STATE): number => bases.state + STATE[field];
  const left = b.variable('i32');
  b.set(left, b.param('i32', 0));
  const count = (used: ReturnType<Builder['i32']>): void => {
    b.set(left, b.sub(b.get(left), used));
    const retired = b.load('i64.load', b.i32(0), at('RETIRED'));
    b.store('i64.store', b.i32(0), b.add(retired, b.extendU(used)), at('RETIRED'));
  };
  b.loop(() => {
    const event = b.call(SERVICE_EVENTS);
    b.if(b.op('i32.gt_u', event, b.i32(EVENTS.ONE)), () => {
      b.exit('return', event);
    });
    b.if(b.op('i32.le_s', b.get(left), b.i32(0)), () => {
      b.exit('return', b.i32(EVENTS.BUDGET));
    });
    const record = b.call(HELPER.lookup, b.load('i64.load', b.i32(0), at('RIP')));
    b.if(
      record,
      () => {
        const n = b.select(event, b.i32(1), b.get(left));
        count(b.sub(n, b.call(loop, record, n)));
        if (regions) {
          const hot = b.load('i32.load', b.i32(0), at('HOT_RECORD'));
          b.if(b.or(hot, b.load('i32.load', b.i32(0), at('REGION_REQUEST'))), () => {
            b.exit('return', b.i32(EVENTS.HOT));
          });
        }
      },
      () => {
        b.call(HELPER.deliver);
        count(b.i32(1));
      },
    );
  });
  return b.finish();
}

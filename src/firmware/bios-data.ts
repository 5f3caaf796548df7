/**
 * The BIOS data area at 400h and the extended one, as a BIOS leaves them: kernels that start without one still look there
 * for the size of conventional memory, serial ports and the display. Offsets are the IBM PC's, relative to 400h.
 */
import { gpa, KIB } from '../base/units.js';
import { viewOf } from './bytes.js';
import type { GuestMemoryWriter } from './guest-memory.js';
import { BASE_MEMORY_END } from './memory-map.js';

const BDA = 0x400;
const FIELD = {
  SERIAL_PORTS: 0x00,
  EBDA_SEGMENT: 0x0e,
  EQUIPMENT: 0x10,
  BASE_MEMORY_KIB: 0x13,
  VIDEO_MODE: 0x49,
  VIDEO_COLUMNS: 0x4a,
  VIDEO_PAGE_SIZE: 0x4c,
  CRTC_PORT: 0x63,
  VIDEO_LAST_ROW: 0x84,
  CHARACTER_HEIGHT: 0x85,
} as const;

/** A coprocessor is there; the number of serial ports stands in bits 11:9. */
const EQUIPMENT_FPU = 1 << 1;

/** Writes both areas. `serialPorts` are the first ports of at most four UARTs. */
export function placeBiosData(memory: GuestMemoryWriter, serialPorts: readonly number[]): void {
  const area = new Uint8Array(256);
  const view = viewOf(area);
  serialPorts.slice(0, 4).forEach((port, i) => view.setUint16(FIELD.SERIAL_PORTS + 2 * i, port, true));
  view.setUint16(FIELD.EBDA_SEGMENT, BASE_MEMORY_END / 16, true);
  view.setUint16(FIELD.EQUIPMENT, EQUIPMENT_FPU | (Math.min(serialPorts.length, 4) << 9), true);
  view.setUint16(FIELD.BASE_MEMORY_KIB, BASE_MEMORY_END / KIB, true);
  // Text mode 3: 80 × 25, characters of 16 lines.
  view.setUint8(FIELD.VIDEO_MODE, 3);
  view.setUint16(FIELD.VIDEO_COLUMNS, 80, true);
  view.setUint16(FIELD.VIDEO_PAGE_SIZE, 4096, true);
  view.setUint16(FIELD.CRTC_PORT, 0x3d4, true);
  view.setUint8(FIELD.VIDEO_LAST_ROW, 24);
  view.setUint16(FIELD.CHARACTER_HEIGHT, 16, true);
  memory.write(gpa(BDA), area);

  const extended = new Uint8Array(KIB);
  // Its first byte is its size in KiB.
  extended[0] = 1;
  memory.write(gpa(BASE_MEMORY_END), extended);
}

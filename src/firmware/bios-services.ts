/**
 * What stands where a BIOS would: an interrupt table whose services answer "not supported", for kernels that go back to
 * real mode and ask (Xen does, before it turns to what its loader told it). Assembled by hand, 16-bit; each line says what.
 */
import { gpa } from '../base/units.js';
import { ByteWriter } from './bytes.js';
import type { GuestMemoryWriter } from './guest-memory.js';

/** The handlers stand at F000:F000. */
const SEGMENT = 0xf000;
const OFFSET = 0xf000;
/** FFFF:0000, where a reset in real mode begins and where programs jump to reboot. */
const RESET_VECTOR = 0xf_fff0;

/** Carry set and AH = 86h: a function that is not there. */
const UNSUPPORTED = [
  ...[0x55, 0x89, 0xe5], //         push bp; mov bp, sp
  ...[0x80, 0x4e, 0x06, 0x01], //   or byte [bp + 6], 1: CF in the flags on the stack
  ...[0xb4, 0x86], //               mov ah, 0x86
  ...[0x5d, 0xcf], //               pop bp; iret
];

/** Exceptions are left alone. */
const IGNORE = [0xcf];

/** Hardware interrupts of the first and the second 8259: acknowledged, nothing else. */
const FIRST_PIC = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf]; //  push ax; mov al, 0x20; out 0x20, al; pop ax; iret
const SECOND_PIC = [0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf]; // … out 0xa0, al; out 0x20, al …

/** INT 11h and 12h: a word of the BIOS data area in AX. */
const dataWord = (at: number): number[] => [0x1e, 0x6a, 0x40, 0x1f, 0xa1, at, 0, 0x1f, 0xcf]; // push ds; push 0x40; pop ds; mov ax, [at]; pop ds; iret

/** INT 10h: text mode 3 on a VGA, no VESA. */
const VIDEO = [
  ...[0x80, 0xfc, 0x0f, 0x75, 0x06], //       cmp ah, 0x0f (mode?); jne
  ...[0xb8, 0x03, 0x50, 0x30, 0xff, 0xcf], // mov ax, 0x5003; xor bh, bh; iret
  ...[0x80, 0xfc, 0x4f, 0x75, 0x04], //       cmp ah, 0x4f (VESA); jne
  ...[0xb8, 0x4f, 0x01, 0xcf], //             mov ax, 0x014f: failed; iret
  ...[0x80, 0xfc, 0x12, 0x75, 0x09], //       cmp ah, 0x12; jne
  ...[0x80, 0xfb, 0x10, 0x75, 0x04], //       cmp bl, 0x10 (EGA?); jne
  ...[0xbb, 0x03, 0x00, 0xcf], //             mov bx, 3: colour, 256 KiB; iret
  ...[0x3d, 0x00, 0x1a, 0x75, 0x04], //       cmp ax, 0x1a00 (display?); jne
  ...[0xb0, 0x1a, 0xb3, 0x08], //             mov al, 0x1a; mov bl, 8: VGA
  0xcf, //                                    iret
];

/** INT 18h, 19h and the reset vector: a hard reset through port 0xcf9. */
const RESET = [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd]; // mov dx, 0xcf9; mov al, 6; out dx, al; hlt; jmp to the hlt

/** Vectors of the two 8259s as a BIOS programs them, and what else is not plainly unsupported. */
function handlerOf(vector: number): readonly number[] {
  if (vector < 0x08) return IGNORE;
  if (vector < 0x10) return FIRST_PIC;
  if (vector >= 0x70 && vector < 0x78) return SECOND_PIC;
  switch (vector) {
    case 0x10:
      return VIDEO;
    case 0x11:
      return dataWord(0x10);
    case 0x12:
      return dataWord(0x13);
    case 0x18:
    case 0x19:
      return RESET;
    // The timer's user hook, and the pointers to tables.
    case 0x1c:
      return IGNORE;
    default:
      return UNSUPPORTED;
  }
}

/** Writes the interrupt table and its handlers, into memory that a BIOS would have. */
export function placeBiosServices(memory: GuestMemoryWriter): void {
  const code = new ByteWriter();
  const offsets = new Map<string, number>();
  const table = new ByteWriter();
  for (let vector = 0; vector < 256; vector++) {
    const handler = handlerOf(vector);
    const key = handler.join();
    let offset = offsets.get(key);
    if (offset === undefined) {
      offset = OFFSET + code.length;
      offsets.set(key, offset);
      code.bytes(handler);
    }
    table.u16(offset, SEGMENT);
  }
  memory.write(gpa(0), table.finish());
  memory.write(gpa(SEGMENT * 16 + OFFSET), code.finish());
  memory.write(gpa(RESET_VECTOR), Uint8Array.from(RESET));
}

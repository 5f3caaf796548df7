/** The Mandelbrot set in characters: what ring 3 draws with SSE2, and what it must come to. */
import { R, byte, ptr, qword, type Assembler } from '../assembler/index.js';

export const PICTURE = { WIDTH: 66, HEIGHT: 15, LIMIT: 64 } as const;
const LEFT = -2.1;
const RIGHT = 0.75;
const TOP = -1.1;
const BOTTOM = 1.1;
const STEP_X = (RIGHT - LEFT) / PICTURE.WIDTH;
const STEP_Y = (BOTTOM - TOP) / (PICTURE.HEIGHT - 1);
/** By how many rounds a point takes to escape, halved twice; the last is the set itself. */
const SHADES = ' .,:;-=+ox*%#&8@@';

/** Rounds of all points together: the same operations in the same order, so exactly what the guest must count. */
export function pictureSum(): number {
  let sum = 0;
  for (let row = 0; row < PICTURE.HEIGHT; row++) {
    const y = TOP + row * STEP_Y;
    for (let column = 0; column < PICTURE.WIDTH; column++) {
      const x = LEFT + column * STEP_X;
      let [a, b, rounds] = [0, 0, 0];
      while (rounds < PICTURE.LIMIT) {
        const [aa, bb] = [a * a, b * b];
        if (aa + bb > 4) break;
        b = a * b;
        b = b + b + y;
        a = aa - bb + x;
        rounds++;
      }
      sum += rounds;
    }
  }
  return sum;
}

/**
 * 64-bit code that draws into memory at EDI, lines ended by CR and LF and all by 0, and leaves the sum in EBX. Constants lie behind it.
 */
export function emitPicture(asm: Assembler): void {
  const constants = asm.label('picture constants');
  const shades = asm.label('shades');
  const end = asm.label();
  const at = (n: number): ReturnType<typeof qword> =>
    qword([R.rip, { kind: 'label-offset', label: constants, offset: n * 8 }]);
  asm.emit('xor', R.ebx, R.ebx);
  asm.emit('xor', R.r8d, R.r8d);
  const row = asm.bind();
  asm.emit('cvtsi2sd', R.xmm1, R.r8d);
  asm.emit('mulsd', R.xmm1, at(1));
  asm.emit('addsd', R.xmm1, at(3));
  asm.emit('xor', R.r9d, R.r9d);
  const column = asm.bind();
  asm.emit('cvtsi2sd', R.xmm0, R.r9d);
  asm.emit('mulsd', R.xmm0, at(0));
  asm.emit('addsd', R.xmm0, at(2));
  asm.emit('xorpd', R.xmm2, R.xmm2);
  asm.emit('xorpd', R.xmm3, R.xmm3);
  asm.emit('xor', R.ecx, R.ecx);
  const round = asm.bind();
  const escaped = asm.label();
  asm.emit('movapd', R.xmm4, R.xmm2);
  asm.emit('mulsd', R.xmm4, R.xmm4);
  asm.emit('movapd', R.xmm5, R.xmm3);
  asm.emit('mulsd', R.xmm5, R.xmm5);
  asm.emit('movapd', R.xmm6, R.xmm4);
  asm.emit('addsd', R.xmm6, R.xmm5);
  asm.emit('ucomisd', R.xmm6, at(4));
  asm.emit('ja', escaped);
  asm.emit('mulsd', R.xmm3, R.xmm2);
  asm.emit('addsd', R.xmm3, R.xmm3);
  asm.emit('addsd', R.xmm3, R.xmm1);
  asm.emit('subsd', R.xmm4, R.xmm5);
  asm.emit('addsd', R.xmm4, R.xmm0);
  asm.emit('movapd', R.xmm2, R.xmm4);
  asm.emit('inc', R.ecx);
  asm.emit('cmp', R.ecx, PICTURE.LIMIT);
  asm.emit('jb', round);
  asm.bind(escaped);
  asm.emit('add', R.ebx, R.ecx);
  asm.emit('shr', R.ecx, 2);
  asm.emit('lea', R.rdx, ptr([R.rip, shades]));
  asm.emit('mov', R.al, byte([R.rdx, R.rcx]));
  asm.emit('mov', byte([R.rdi]), R.al);
  asm.emit('inc', R.rdi);
  asm.emit('inc', R.r9d);
  asm.emit('cmp', R.r9d, PICTURE.WIDTH);
  asm.emit('jb', column);
  asm.emit('mov', byte([R.rdi]), 13);
  asm.emit('mov', byte([R.rdi, 1]), 10);
  asm.emit('add', R.rdi, 2);
  asm.emit('inc', R.r8d);
  asm.emit('cmp', R.r8d, PICTURE.HEIGHT);
  asm.emit('jb', row);
  asm.emit('mov', byte([R.rdi]), 0);
  asm.emit('jmp', end);
  asm.align(8);
  asm.bind(constants);
  const values = new BigUint64Array(Float64Array.of(STEP_X, STEP_Y, LEFT, TOP, 4).buffer);
  asm.dq(...values);
  asm.bind(shades);
  asm.ascii(SHADES);
  asm.bind(end);
}

/** Lines of a picture whose pixels lie in rows. */
import { PAGE_SIZE } from '../base/units.js';
import type { LinearPicture } from '../iface/display.js';
import { dacColors, planeColors } from './colors.js';
import type { LineSource } from './line-source.js';

type Draw = (at: number, into: Uint32Array) => void;

/** 5 or 6 bits as 8, so that all ones stay all ones. */
const five = (level: number): number => (level << 3) | (level >> 2);
const six = (level: number): number => (level << 2) | (level >> 4);

const rgb = (red: number, green: number, blue: number): number => (red << 16) | (green << 8) | blue;

function planar({ memory, width, colors }: LinearPicture): Draw {
  const table = colors ? planeColors(colors) : new Uint32Array(16);
  return (at, into) => {
    for (let x = 0; x < width; x++) {
      const byte = at + (x >> 3) * 4;
      const bit = 7 - (x & 7);
      let color = 0;
      for (let p = 0; p < 4; p++) color |= ((memory[byte + p] >> bit) & 1) << p;
      into[x] = table[color];
    }
  };
}

function indexed({ memory, width, colors }: LinearPicture): Draw {
  const table = colors ? dacColors(colors) : new Uint32Array(256);
  return (at, into) => {
    for (let x = 0; x < width; x++) into[x] = table[memory[at + x]];
  };
}

/** Four bytes a pixel; the offsets of red, green and blue among them. */
function wide({ memory, width }: LinearPicture, red: number, green: number, blue: number): Draw {
  const aligned = red === 2 && green === 1 && blue === 0 && memory.byteOffset % 4 === 0;
  const words = aligned ? new Uint32Array(memory.buffer, memory.byteOffset, memory.length >> 2) : undefined;
  return (at, into) => {
    if (words && at % 4 === 0) {
      const first = at / 4;
      for (let x = 0; x < width; x++) into[x] = words[first + x] & 0xff_ffff;
      return;
    }
    for (let x = 0, i = at; x < width; x++, i += 4) into[x] = rgb(memory[i + red], memory[i + green], memory[i + blue]);
  };
}

function drawer(picture: LinearPicture): Draw {
  const { memory, width, format } = picture;
  switch (format) {
    case 'planar4':
      return planar(picture);
    case 'indexed8':
      return indexed(picture);
    case 'rgb555':
      return (at, into) => {
        for (let x = 0, i = at; x < width; x++, i += 2) {
          const pixel = memory[i] | (memory[i + 1] << 8);
          into[x] = rgb(five((pixel >> 10) & 31), five((pixel >> 5) & 31), five(pixel & 31));
        }
      };
    case 'rgb565':
      return (at, into) => {
        for (let x = 0, i = at; x < width; x++, i += 2) {
          const pixel = memory[i] | (memory[i + 1] << 8);
          into[x] = rgb(five(pixel >> 11), six((pixel >> 5) & 63), five(pixel & 31));
        }
      };
    case 'bgr24':
      return (at, into) => {
        for (let x = 0, i = at; x < width; x++, i += 3) into[x] = rgb(memory[i + 2], memory[i + 1], memory[i]);
      };
    case 'bgrx':
      return wide(picture, 2, 1, 0);
    case 'rgbx':
      return wide(picture, 0, 1, 2);
    case 'xrgb':
      return wide(picture, 1, 2, 3);
    case 'xbgr':
      return wide(picture, 3, 2, 1);
  }
}

/** Whether a picture shows the same memory in the same way as another one, with colours that are in that memory alone. */
const isAlike = (a: LinearPicture, b: LinearPicture): boolean =>
  a.memory === b.memory &&
  a.format === b.format &&
  a.width === b.width &&
  a.height === b.height &&
  a.pitch === b.pitch &&
  a.start === b.start &&
  a.format !== 'planar4' &&
  a.format !== 'indexed8';

/** `drawn`: what was drawn last. */
export function linearLines(picture: LinearPicture, drawn?: LinearPicture): LineSource {
  const { width, height, pitch, start, writes } = picture;
  const draw = drawer(picture);
  let at = start;
  const source: LineSource = {
    width,
    height,
    next(into) {
      draw(at, into);
      at += pitch;
    },
  };
  if (!writes || !drawn?.writes || drawn.writes.pages !== writes.pages || !isAlike(picture, drawn)) return source;
  const before = drawn.writes.now;
  return {
    ...source,
    skip() {
      const last = Math.floor((at + pitch - 1) / PAGE_SIZE);
      for (let page = Math.floor(at / PAGE_SIZE); page <= last; page++) if (writes.pages[page] > before) return false;
      at += pitch;
      return true;
    },
  };
}

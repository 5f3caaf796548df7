import { deflateSync, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { LinearPicture, PixelFormat, VgaColors, VgaPicture } from '../iface/display.js';
import { encodePng } from './png.js';
import { drawPointer } from './pointer.js';
import { Region } from './rectangle.js';
import { ScanOut } from './scan-out.js';

/** Colours that are their numbers: the DAC's entry n is n of 63 in red. */
function colors(): VgaColors {
  const palette = new Uint8Array(768);
  for (let i = 0; i < 256; i++) palette[i * 3] = i & 0x3f;
  const attribute = Uint8Array.from({ length: 21 }, (_, i) => (i < 16 ? i : 0));
  attribute[0x12] = 15;
  return { attribute, palette, dacMask: 0xff, wideDac: false };
}
const red = (level: number): number => ((level << 2) | (level >> 4)) << 16;

/** 16 × 32 dots of graphics, or two by two characters, from address 0. */
function vga(changes: { crtc?: Record<number, number>; graphics?: Record<number, number> } = {}): VgaPicture {
  const crtc = new Uint8Array(25);
  for (const [index, value] of Object.entries({
    1: 1,
    9: 15,
    0x0a: 0x20,
    0x12: 31,
    0x13: 1,
    0x14: 0x1f,
    0x17: 0xa3,
    0x18: 0xff,
  }))
    crtc[Number(index)] = value;
  crtc[7] = 0x10;
  crtc[9] |= 0x40;
  const graphics = new Uint8Array(9);
  for (const [index, value] of Object.entries(changes.crtc ?? {})) crtc[Number(index)] = value;
  for (const [index, value] of Object.entries(changes.graphics ?? {})) graphics[Number(index)] = value;
  const sequencer = Uint8Array.of(3, 1, 15, 0, 2);
  return { kind: 'vga', sequencer, crtc, graphics, colors: colors(), memory: new Uint8Array(0x4_0000) };
}

/** Rows of a screen as letters: `.` for colour 0, else the number in base 36. */
function show(picture: VgaPicture, now = 0): string[] {
  const out = new ScanOut();
  out.update(picture, now);
  const { width, height, pixels } = out.frame;
  const digit = (color: number): string => (color === 0 ? '.' : ((color >> 18) & 0x3f).toString(36));
  return Array.from({ length: height }, (_, y) =>
    Array.from(pixels.subarray(y * width, (y + 1) * width), digit).join(''),
  );
}

describe('text', () => {
  /** Character A has a box in its first and last row and its left column. */
  function withFont(): VgaPicture {
    const picture = vga();
    const glyph = (code: number, rows: Record<number, number>, font = 0): void => {
      for (const [row, bits] of Object.entries(rows)) picture.memory[(font + code * 32 + Number(row)) * 4 + 2] = bits;
    };
    glyph(0x41, { 0: 0xff, 1: 0x80, 15: 0xff });
    glyph(0xc4, { 0: 0x01 });
    glyph(0x41, { 0: 0x0f }, 0x4000);
    return picture;
  }
  const put = (picture: VgaPicture, at: number, code: number, attribute: number): void => {
    // Words: character and attribute are in planes 0 and 1 of even addresses.
    picture.memory[at * 8] = code;
    picture.memory[at * 8 + 1] = attribute;
  };

  it('draws characters in their colours', () => {
    const picture = withFont();
    put(picture, 0, 0x41, 0x12);
    put(picture, 3, 0x41, 0x0f);
    const rows = show(picture);
    expect(rows.length).toBe(32);
    expect([rows[0], rows[1], rows[2], rows[15], rows[16]]).toEqual([
      '22222222........',
      '21111111........',
      '11111111........',
      '22222222........',
      '........ffffffff',
    ]);
  });

  it('has nine dots, of which line drawings fill the last', () => {
    const picture = withFont();
    picture.sequencer[1] = 0;
    picture.colors.attribute[0x10] = 0x04;
    // As the panning register has it for nine dots: none.
    picture.colors.attribute[0x13] = 8;
    put(picture, 0, 0x41, 0x02);
    put(picture, 1, 0xc4, 0x03);
    expect(show(picture)[0]).toBe('22222222........33');
  });

  it('underlines, blinks and takes a second font', () => {
    const picture = withFont();
    picture.colors.attribute[0x10] = 0x08;
    picture.crtc[0x14] = 1;
    put(picture, 0, 0x41, 0x01);
    put(picture, 1, 0x41, 0x85);
    const half = 16 * 14_268_000;
    expect([show(picture, 0)[1], show(picture, half)[0]]).toEqual(['111111115.......', '11111111........']);
    // Character map A at 16 KiB for characters with attribute bit 3.
    picture.sequencer[3] = 0x04;
    put(picture, 0, 0x41, 0x0c);
    expect(show(picture)[0].slice(0, 8)).toBe('....cccc');
  });

  it('shows the cursor, which blinks', () => {
    const picture = withFont();
    put(picture, 1, 0x20, 0x07);
    Object.assign(picture.crtc, { 0x0a: 14, 0x0b: 15, 0x0f: 1 });
    expect(
      show(picture)
        .map((row) => row.slice(8))
        .slice(12, 17),
    ).toEqual(['........', '........', '77777777', '77777777', '........']);
    expect(show(picture, 8 * 14_268_000)[14]).toBe('................');
  });

  it('starts anywhere, splits and pans', () => {
    const picture = withFont();
    put(picture, 2, 0x41, 0x02);
    put(picture, 0, 0x41, 0x01);
    picture.crtc[0x0d] = 2;
    expect(show(picture)[0]).toBe('22222222........');
    // Below line 7, from address 0 again.
    Object.assign(picture.crtc, { 0x18: 7, 0x07: 0, 0x09: 15 });
    expect([show(picture)[0], show(picture)[8]]).toEqual(['22222222........', '11111111........']);
    picture.colors.attribute[0x13] = 3;
    expect([show(picture)[0], show(picture)[8]]).toEqual(['22222...........', '11111........222']);
    // The lower half stands still.
    picture.colors.attribute[0x10] = 0x20;
    expect([show(picture)[0], show(picture)[8]]).toEqual(['22222...........', '11111111........']);
    // Rows can begin in their middle.
    picture.crtc[0x08] = 1;
    picture.colors.attribute[0x13] = 0;
    expect(show(picture)[0]).toBe('2...............');
  });
});

describe('graphics', () => {
  it('of sixteen colours takes a bit of each plane', () => {
    const picture = vga({ graphics: { 6: 5 }, crtc: { 9: 0x40, 0x17: 0xe3 } });
    picture.memory.set([0x80, 0x40, 0xc0, 0x01], 0);
    picture.memory.set([0xff, 0, 0, 0], 2 * 4);
    expect(show(picture).slice(0, 2)).toEqual(['56.....8........', '11111111........']);
  });

  it('of four colours takes pairs of bits, as a CGA, lines in two banks', () => {
    const picture = vga({ graphics: { 5: 0x20, 6: 0x0d }, crtc: { 9: 0x41, 0x17: 0xa2 } });
    picture.colors.attribute[0x12] = 3;
    picture.memory.set([0b0001_1011, 0b1110_0100], 0);
    // The second line is 8 KiB further.
    picture.memory.set([0xff, 0x55], 0x2000 * 4);
    expect(show(picture).slice(0, 2)).toEqual(['.123321.........', '33331111........']);
  });

  it('of 256 colours takes a byte for two dots, each line twice', () => {
    const picture = vga({ graphics: { 5: 0x40, 6: 5 }, crtc: { 9: 0x41, 0x14: 0x40, 0x17: 0xa3 } });
    picture.memory.set([1, 2, 3, 4], 0);
    // Dwords: the next address is four further.
    picture.memory.set([5, 6, 7, 8], 16);
    expect(show(picture).slice(0, 2)).toEqual(['1122334455667788', '1122334455667788']);
  });

  it('at half the clock shows each dot twice', () => {
    const picture = vga({ graphics: { 6: 5 }, crtc: { 9: 0x40, 0x17: 0xe3 } });
    picture.sequencer[1] = 9;
    picture.memory.set([0xa0, 0, 0, 0], 0);
    expect(show(picture)[0]).toBe('11..11..........................');
  });
});

describe('pixels in rows', () => {
  const picture = (format: PixelFormat, ...memory: number[]): LinearPicture => {
    const bytes = Uint8Array.from(memory);
    return {
      kind: 'linear',
      format,
      width: 2,
      height: 1,
      pitch: bytes.length,
      start: 0,
      memory: bytes,
      colors: colors(),
    };
  };
  it.each([
    ['bgrx', [1, 2, 3, 9, 4, 5, 6, 9], [0x030201, 0x060504]],
    ['rgbx', [1, 2, 3, 9, 4, 5, 6, 9], [0x010203, 0x040506]],
    ['xrgb', [9, 1, 2, 3, 9, 4, 5, 6], [0x010203, 0x040506]],
    ['xbgr', [9, 1, 2, 3, 9, 4, 5, 6], [0x030201, 0x060504]],
    ['bgr24', [1, 2, 3, 4, 5, 6], [0x030201, 0x060504]],
    ['rgb565', [0x1f, 0xf8, 0xe0, 0x07], [0xff00ff, 0x00ff00]],
    ['rgb555', [0xff, 0x7f, 0x00, 0x7c], [0xffffff, 0xff0000]],
    ['indexed8', [63, 1], [red(63), red(1)]],
    ['planar4', [0x80, 0x40, 0xc0, 0], [red(5), red(6)]],
  ] as const)('%s', (format, memory, expected) => {
    const out = new ScanOut();
    out.update(picture(format, ...memory), 0);
    expect([...out.frame.pixels]).toEqual(expected);
  });

  it('change where they change', () => {
    const memory = new Uint8Array(64 * 40 * 4);
    const shown: LinearPicture = {
      kind: 'linear',
      format: 'bgrx',
      width: 64,
      height: 40,
      pitch: 256,
      start: 0,
      memory,
    };
    const out = new ScanOut();
    expect(out.update(shown, 0)).toEqual([{ x: 0, y: 0, width: 64, height: 40 }]);
    expect(out.update(shown, 0)).toEqual([]);
    for (const [x, y] of [
      [5, 3],
      [9, 4],
      [60, 30],
    ])
      memory[(y * 64 + x) * 4] = 1;
    expect(out.update(shown, 0)).toEqual([
      { x: 5, y: 3, width: 5, height: 2 },
      { x: 60, y: 30, width: 1, height: 1 },
    ]);
    expect(out.update({ kind: 'blank', width: 8, height: 8 }, 0)).toEqual([{ x: 0, y: 0, width: 8, height: 8 }]);
  });

  it('are drawn where they were written to since, where that is known', () => {
    const memory = new Uint8Array(4 * 4096);
    const pages = new Uint32Array(4).fill(1);
    // A line and a half a page.
    const shown = (now: number, changes: Partial<LinearPicture> = {}): LinearPicture => ({
      ...{
        kind: 'linear',
        format: 'bgrx',
        width: 512,
        height: 5,
        pitch: 2730,
        start: 0,
        memory,
        writes: { now, pages },
      },
      ...changes,
    });
    const out = new ScanOut();
    out.update(shown(1), 0);
    memory.fill(1);
    expect(out.update(shown(2), 0)).toEqual([]);
    pages[1] = 3;
    // Those that have a byte in the second page.
    expect(out.update(shown(3), 0)).toEqual([{ x: 0, y: 1, width: 512, height: 3 }]);
    // Not those that another one was told of.
    const late = new ScanOut();
    late.update(shown(4), 0);
    memory.fill(2);
    pages[0] = 5;
    late.update(shown(5), 0);
    pages[2] = 6;
    expect(out.update(shown(6), 0)).toEqual([{ x: 0, y: 0, width: 512, height: 5 }]);
    expect(late.update(shown(6), 0)).toEqual([{ x: 0, y: 3, width: 512, height: 2 }]);
    // Of what is shown otherwise, or with a palette, everything is.
    memory.fill(3);
    expect(out.update(shown(7, { start: 4 }), 0)).toHaveLength(1);
    memory.fill(4);
    expect(out.update(shown(8, { start: 4, writes: undefined }), 0)).toHaveLength(1);
    memory.fill(5);
    expect(out.update(shown(9, { start: 4 }), 0)).toHaveLength(1);
    const palette = { ...colors(), palette: new Uint8Array(768).fill(1) };
    out.update(shown(10, { format: 'indexed8', colors: palette }), 0);
    palette.palette.fill(2);
    expect(out.update(shown(11, { format: 'indexed8', colors: palette }), 0)).toHaveLength(1);
  });
});

it('a pointer is blended in by its alpha, clipped at the edges', () => {
  const pixels = new Uint32Array(4).fill(0x808080);
  const pointer = { x: 0, y: 0, width: 2, height: 2, hotX: 1, hotY: 1, shape: 1 };
  // The lower right of the four: a dark blue, half transparent.
  const image = new Uint8Array(16);
  image.set([0x40, 0, 0, 0x80], 12);
  drawPointer(pixels, { x: 0, y: 0, width: 2, height: 2 }, { ...pointer, pixels: image });
  expect([...pixels]).toEqual([0x404080, 0x808080, 0x808080, 0x808080]);
});

describe('a region', () => {
  const at = (x: number, y: number, width: number, height: number) => ({ x, y, width, height });
  it('gives back what was put in, clipped, once', () => {
    const region = new Region();
    region.add(at(0, 0, 10, 2));
    region.add(at(0, 2, 10, 3));
    region.add(at(2, 1, 3, 1));
    expect(region.take(at(0, 0, 4, 100))).toEqual([at(0, 0, 4, 5)]);
    expect(region.take(at(0, 0, 100, 100))).toEqual([at(4, 0, 6, 5)]);
    expect(region.isEmpty).toBe(true);
  });
  it('stays small, and covers all', () => {
    const region = new Region();
    for (let i = 0; i < 500; i++) region.add(at((i * 37) % 400, (i * 91) % 300, 3, 3));
    const taken = region.take(at(0, 0, 1000, 1000));
    expect(taken.length).toBeLessThanOrEqual(40);
    for (let i = 0; i < 500; i++) {
      const [x, y] = [(i * 37) % 400, (i * 91) % 300];
      expect(taken.some((r) => x >= r.x && y >= r.y && x + 3 <= r.x + r.width && y + 3 <= r.y + r.height)).toBe(true);
    }
  });
});

it('a PNG holds the pixels', () => {
  const pixels = Uint32Array.from([0x010203, 0xfffefd, 0x000000, 0x808080]);
  const png = Buffer.from(encodePng({ width: 2, height: 2, pixels }, (data) => deflateSync(data)));
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([2, 2]);
  const data = inflateSync(png.subarray(41, 41 + png.readUInt32BE(33)));
  const row = [0, 1, 2, 3, 0xff, 0xfe, 0xfd];
  expect([...data]).toEqual([...row, 2, 0xff, 0xfe, 0xfd, 0x81, 0x82, 0x83]);
});

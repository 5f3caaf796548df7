/** A part of a screen, in pixels from the upper left. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** What both have; undefined when that is nothing. */
export function intersect(a: Rectangle, b: Rectangle): Rectangle | undefined {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  const width = Math.min(a.x + a.width, b.x + b.width) - x;
  const height = Math.min(a.y + a.height, b.y + b.height) - y;
  return width > 0 && height > 0 ? { x, y, width, height } : undefined;
}

/** The smallest one that holds both. */
export function around(a: Rectangle, b: Rectangle): Rectangle {
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}

/** More than this many are told as fewer, larger ones. */
const MOST = 32;

/** A part of a screen of any shape, as rectangles that hold it; they may overlap. */
export class Region {
  private rectangles: Rectangle[] = [];

  get isEmpty(): boolean {
    return this.rectangles.length === 0;
  }

  add(rectangle: Rectangle): void {
    const { rectangles } = this;
    for (const [i, other] of rectangles.entries()) {
      const both = around(other, rectangle);
      const inside = both.width === other.width && both.height === other.height;
      if (inside) return;
      const joined =
        (both.x === other.x && both.width === other.width) || (both.y === other.y && both.height === other.height);
      const touching = both.width <= other.width + rectangle.width && both.height <= other.height + rectangle.height;
      if (joined && touching && rectangle.x === both.x && rectangle.width === both.width) {
        rectangles[i] = both;
        return;
      }
    }
    rectangles.push(rectangle);
    while (rectangles.length > MOST) {
      const last = rectangles.pop();
      const before = rectangles.pop();
      if (last && before) rectangles.push(around(before, last));
    }
  }

  /** Takes out what lies within `bounds`, clipped to it; what lies outside stays. */
  take(bounds: Rectangle): Rectangle[] {
    const taken: Rectangle[] = [];
    const left: Rectangle[] = [];
    for (const one of this.rectangles) {
      const part = intersect(one, bounds);
      if (!part) {
        left.push(one);
        continue;
      }
      taken.push(part);
      left.push(...outside(one, part));
    }
    this.rectangles = left;
    return taken;
  }

  /** Whether anything of it lies within `bounds`. */
  touches(bounds: Rectangle): boolean {
    return this.rectangles.some((one) => intersect(one, bounds) !== undefined);
  }

  clear(): void {
    this.rectangles = [];
  }
}

/** What of `all` is not in `part`, which lies within it. */
export function outside(all: Rectangle, part: Rectangle): Rectangle[] {
  const below = part.y + part.height;
  const right = part.x + part.width;
  return [
    { x: all.x, y: all.y, width: all.width, height: part.y - all.y },
    { x: all.x, y: below, width: all.width, height: all.y + all.height - below },
    { x: all.x, y: part.y, width: part.x - all.x, height: part.height },
    { x: right, y: part.y, width: all.x + all.width - right, height: part.height },
  ].filter(({ width, height }) => width > 0 && height > 0);
}

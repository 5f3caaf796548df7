/** A line of values over time, as SVG. */
import { el, svg } from './dom.js';

const WIDTH = 300;
const HEIGHT = 72;

export interface ChartOptions {
  readonly label: string;
  readonly format: (value: number) => string;
  /** The scale's end; otherwise the largest value that is shown. */
  readonly most?: () => number | undefined;
  /** Values that are kept. */
  readonly room: number;
}

/** A scale that ends with a round number. */
function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

export class Chart {
  readonly element: HTMLElement;
  private readonly now = el('strong', {}, '–');
  private readonly scale = el('small', { className: 'note' });
  private readonly line = svg('polyline', { class: 'line' });
  private readonly area = svg('polygon', { class: 'area' });
  private readonly picture: SVGSVGElement;
  /** Undefined: nothing was measured then. */
  private values: (number | undefined)[] = [];

  constructor(private readonly options: ChartOptions) {
    this.picture = svg(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': options.label },
      this.area,
      this.line,
    );
    this.element = el(
      'figure',
      { className: 'chart' },
      el('figcaption', {}, el('span', {}, options.label), this.now, this.scale),
    );
    this.element.append(this.picture);
  }

  /** Undefined: it cannot be said at this moment. */
  add(value: number | undefined): void {
    const { options } = this;
    this.values.push(value);
    if (this.values.length > options.room) this.values.shift();
    const known = this.values.filter((one) => one !== undefined);
    const most = options.most?.() ?? roundUp(Math.max(0, ...known));
    const text = value === undefined ? '–' : options.format(value);
    this.now.textContent = text;
    this.scale.textContent = known.length > 0 ? `of ${options.format(most)}` : '';
    this.picture.setAttribute('aria-label', `${options.label}: ${text}`);
    const step = WIDTH / (options.room - 1);
    const from = WIDTH - step * (this.values.length - 1);
    const points = this.values.flatMap((one, i) =>
      one === undefined
        ? []
        : [[from + i * step, HEIGHT - 1 - Math.min(1, one / most) * (HEIGHT - 2)].map((at) => at.toFixed(1)).join(',')],
    );
    this.line.setAttribute('points', points.join(' '));
    const [first] = points;
    const last = points.at(-1);
    this.area.setAttribute(
      'points',
      first === undefined || last === undefined
        ? ''
        : `${first.split(',')[0]},${HEIGHT} ${points.join(' ')} ${last.split(',')[0]},${HEIGHT}`,
    );
  }
}

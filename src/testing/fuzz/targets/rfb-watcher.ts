import { RfbWatcher } from '../../../display/rfb/watcher.js';
import { must, type FuzzTarget } from '../target.js';

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value & 0xffff)];

/** A server that the console's display looks at. Each input is a whole connection. */
export const rfbWatcherTarget: FuzzTarget = {
  name: 'rfb-watcher',
  share: 2,
  length: 200,
  start: (random) => ({
    step() {
      let failures = 0;
      let size = { width: 0, height: 0 };
      const inside = ({ x, y, width, height }: { x: number; y: number; width: number; height: number }): void =>
        must(x + width <= size.width && y + height <= size.height, 'a picture is not on the screen');
      const watcher: RfbWatcher = new RfbWatcher({
        write: () => undefined,
        // What is packed is what was packed: the reader behind it is what matters.
        inflater: { inflate: (packed) => packed },
        resized: (width, height) => (size = { width, height }),
        picture: (area, pixels) => {
          inside(area);
          must(pixels.length === area.width * area.height * 4, 'a picture has another size than it says');
        },
        copied: (area, x, y) => {
          inside(area);
          inside({ ...area, x, y });
        },
        painted: () => watcher.request(),
        failed: (reason) => {
          must(reason !== '' && !reason.includes('\n'), 'a reason is no line');
          failures++;
        },
      });
      const give = (...bytes: readonly number[]): void => watcher.receive(random.damage(Uint8Array.from(bytes), 15));
      give(...Buffer.from('RFB 003.008\n'));
      give(1, 1);
      give(0, 0, 0, 0);
      const [width, height] = [1 + random.below(150), 1 + random.below(80)];
      const format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
      give(...be16(width), ...be16(height), ...format, ...be32(4), 110, 97, 109, 101);
      for (let n = random.below(5); n >= 0; n--) {
        if (random.once(6)) {
          give(random.pick([1, 2, 3, 9]), ...random.bytes(random.below(20)));
          continue;
        }
        const [x, y] = [random.below(width), random.below(height)];
        const [across, down] = [random.below(width - x + 1), random.below(height - y + 1)];
        const head = [0, 0, 0, 1, ...be16(x), ...be16(y), ...be16(across), ...be16(down)];
        const content = [...random.bytes(random.below(200))];
        const kind = random.below(8);
        if (kind === 0) give(...head, ...be32(0), ...random.bytes(across * down * 4));
        else if (kind === 1) give(...head, ...be32(1), ...be16(random.below(width)), ...be16(random.below(height)));
        else if (kind === 2) give(...head, ...be32(-223));
        else if (kind === 3) give(...head, ...be32(-258));
        else if (kind === 4) give(...head, ...random.bytes(4));
        else
          give(
            ...head,
            ...be32(16),
            ...be32(content.length + 1),
            random.pick([0, 1, 2, 5, 16, 128, 130, 255]),
            ...content,
          );
      }
      watcher.key('KeyA', true);
      watcher.pointer(1, 0, 0);
      must(failures <= 1, `the client failed ${failures} times`);
    },
  }),
};

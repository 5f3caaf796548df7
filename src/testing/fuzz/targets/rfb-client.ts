import { RfbClient } from '../../../display/rfb/client.js';
import { must, type FuzzTarget } from '../target.js';

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];

/** A VNC server that `vitrine screenshot` looks at. Each input is a whole connection. */
export const rfbClientTarget: FuzzTarget = {
  name: 'rfb-client',
  share: 2,
  length: 200,
  start: (random) => ({
    step() {
      let ends = 0;
      const client = new RfbClient({
        password: random.once(2) ? 'x' : undefined,
        crypto: { des: (_, data) => data },
        write: () => undefined,
        finished: ({ pixels, width, height }) => {
          must(pixels.length >= width * height, 'the picture is smaller than it says');
          ends++;
        },
        failed: () => ends++,
      });
      const give = (...bytes: readonly number[]): void => client.receive(random.damage(Uint8Array.from(bytes), 15));
      give(...Buffer.from('RFB 003.008\n'));
      give(1, random.once(3) ? 2 : 1);
      if (random.once(3)) give(...random.bytes(16));
      give(0, 0, 0, 0);
      const [width, height] = [1 + random.below(30), 1 + random.below(20)];
      const format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
      give(...be16(width), ...be16(height), ...format, 0, 0, 0, 4, 110, 97, 109, 101);
      for (let n = random.below(4); n >= 0; n--) {
        if (random.once(4)) give(random.pick([1, 2, 3, 9]), ...random.bytes(random.below(20)));
        else {
          const encoding = random.once(5)
            ? random.bytes(4)
            : random.pick([
                [0, 0, 0, 0],
                [255, 255, 255, 33],
              ]);
          give(
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            ...be16(width),
            ...be16(height),
            ...encoding,
            ...random.bytes(width * height * 4),
          );
        }
      }
      client.ended();
      must(ends === 1, `the client ended ${ends} times`);
    },
  }),
};

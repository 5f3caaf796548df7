import { expect, it } from 'vitest';
import { fuzz } from '../testing/fuzz/target.js';
import { ociTarget } from '../testing/fuzz/targets/oci.js';

it('refuses nonsense in one line, whatever it is', async () => {
  await expect(fuzz(ociTarget, 1500)).resolves.toBeUndefined();
});

import { describe, expect, it } from 'vitest';
import { configureSharing, parseShare } from './sharing-options.js';

describe('--share', () => {
  it('names a folder, and says how it is shared', () => {
    expect(parseShare('/data', 'share')).toEqual({ path: '/data', tag: 'share', readOnly: false, driver: 'virtiofs' });
    expect(parseShare('/a,,b,tag=x,readonly,driver=9p', 'share')).toEqual({
      path: '/a,b',
      tag: 'x',
      readOnly: true,
      driver: '9p',
    });
  });

  it.each([
    ['', 'names no folder'],
    ['/data,writable', 'does not know "writable"'],
    ['/data,driver=nfs', 'does not know driver=nfs; there are virtiofs, 9p'],
    ['/data,tag=', 'is not 1 to 36 bytes long'],
    [`/data,tag=${'é'.repeat(19)}`, 'is not 1 to 36 bytes long'],
  ])('%s is refused', (text, reason) => {
    expect(() => parseShare(text, 'share')).toThrow(reason);
  });

  it('gives each a tag of its own', () => {
    expect(configureSharing({ share: ['/a', '/b', '/c'] })?.shares?.map(({ tag }) => tag)).toEqual([
      'share',
      'share1',
      'share2',
    ]);
    expect(() => configureSharing({ share: ['/a,tag=share1', '/b'] })).toThrow(
      'two folders are shared by the tag share1',
    );
    expect(configureSharing({})).toBeUndefined();
  });
});

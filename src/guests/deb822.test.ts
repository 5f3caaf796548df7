import { describe, expect, it } from 'vitest';
import { formatStanzas, parseStanzas, words } from './deb822.js';

const text = `# A comment.
Types: deb deb-src
URIs: http://archive.invalid/debian
Suites: bookworm
  bookworm-updates
# Another, in the middle.
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
`;

describe('deb822', () => {
  it('parses stanzas, continued lines and comments', () => {
    const [first, second, ...rest] = parseStanzas(text);
    expect(rest).toEqual([]);
    expect(words(first, 'suites')).toEqual(['bookworm', 'bookworm-updates']);
    expect(words(first, 'types')).toEqual(['deb', 'deb-src']);
    expect(first.get('signed-by')).toBe('\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc');
    expect([...second]).toEqual([['types', 'deb']]);
  });
  it('writes what it reads', () => {
    const stanzas = parseStanzas(text);
    expect(parseStanzas(formatStanzas(stanzas))).toEqual(stanzas);
  });
  it('has no words where the field is missing', () => {
    expect(words(new Map(), 'suites')).toEqual([]);
  });
});

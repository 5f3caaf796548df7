import { describe, expect, it } from 'vitest';
import { parseSourcesList, sourcesFor } from './apt-sources.js';
import { parseStanzas } from './deb822.js';

describe('parseSourcesList', () => {
  it('reads the one-line format with options', () => {
    const line = 'deb [arch=amd64,i386 signed-by=/k.gpg] http://archive.invalid/debian bookworm main contrib # mirror';
    expect(
      parseSourcesList(`# deb http://off.invalid x main\n\n${line}\ndeb-src http://s.invalid bookworm main\n`),
    ).toEqual([
      new Map([
        ['types', 'deb'],
        ['uris', 'http://archive.invalid/debian'],
        ['suites', 'bookworm'],
        ['components', 'main contrib'],
        ['arch', 'amd64 i386'],
        ['signed-by', '/k.gpg'],
      ]),
    ]);
  });
});

describe('sourcesFor', () => {
  const host = parseStanzas(`Types: deb deb-src
URIs: http://archive.invalid/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Architectures: amd64
Signed-By: /k.gpg

Types: deb
URIs: http://security.invalid/debian
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.invalid/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://third.invalid/debian
Suites: bookworm-pgdg nodistro jammy
Components: main

Types: deb
URIs: http://docker.invalid/debian
Suites: bookworm
Components: stable
`);

  it('replaces the release and keeps archive and keys', () => {
    const sources = sourcesFor(host, 'trixie');
    expect(sources.map((one) => [one.get('uris'), one.get('suites')])).toEqual([
      ['http://archive.invalid/debian', 'trixie trixie-updates'],
      ['http://security.invalid/debian', 'trixie-security'],
    ]);
    expect(sources[0].get('signed-by')).toBe('/k.gpg');
    expect(sources[0].get('types')).toBe('deb');
  });
  it("does not keep the host's architectures", () => {
    expect(sourcesFor(host, 'bookworm')[0].has('architectures')).toBe(false);
  });
  it('knows that sid has no updates', () => {
    expect(sourcesFor(host, 'sid').map((one) => one.get('suites'))).toEqual(['sid']);
  });
  it('understands suites by their role', () => {
    const sources = sourcesFor(parseSourcesList('deb http://archive.invalid/debian stable main'), 'bookworm');
    expect(sources.map((one) => one.get('suites'))).toEqual(['bookworm']);
  });
  it('finds nothing on another distribution', () => {
    expect(sourcesFor(parseSourcesList('deb http://archive.invalid/ubuntu jammy main universe'), 'bookworm')).toEqual(
      [],
    );
  });
});

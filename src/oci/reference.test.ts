import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { canonicalName, familiarName, parseReference } from './reference.js';

const HEX = 'a'.repeat(64);

describe('names of images', () => {
  it.each([
    ['alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['debian:12', 'docker.io/library/debian:12', 'debian:12'],
    ['team/app', 'docker.io/team/app:latest', 'team/app:latest'],
    ['docker.io/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['index.docker.io/library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
    ['localhost:5000/x/y:z', 'localhost:5000/x/y:z', 'localhost:5000/x/y:z'],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
    ['registry.example/a__b-c.d/e', 'registry.example/a__b-c.d/e:latest', 'registry.example/a__b-c.d/e:latest'],
    [`app@sha256:${HEX}`, `docker.io/library/app@sha256:${HEX}`, `app@sha256:${HEX}`],
    [`r.example/app:1@sha256:${HEX}`, `r.example/app:1@sha256:${HEX}`, `r.example/app:1@sha256:${HEX}`],
    ['docker://alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['docker:dind', 'docker.io/library/docker:dind', 'docker:dind'],
    ['oci:debian:12', 'docker.io/library/debian:12', 'debian:12'],
    ['Host/app', 'Host/app:latest', 'Host/app:latest'],
  ])('%s is %s', (name, canonical, familiar) => {
    expect(canonicalName(parseReference(name))).toBe(canonical);
    expect(familiarName(canonical)).toBe(familiar);
  });

  it.each([
    '',
    ':tag',
    'UPPER',
    'a/UPPER',
    'app:',
    'app:-x',
    'app@sha256:abc',
    'app@md5:abc',
    'a//b',
    'a/../b',
    '-a',
    'a b',
    'x'.repeat(260),
    'host:99999999/x',
    'ho$t.example/x',
    'oci-archive:',
    'app\n',
  ])('%j is none', (name) => {
    expect(() => parseReference(name)).toThrow(/no name of an image/);
  });

  it('lead to folders and files where these are there, colons and all', () => {
    const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-ref-'));
    onTestFinished(() => fs.rmSync(place, { recursive: true }));
    const odd = path.join(place, 'with:colon');
    fs.mkdirSync(odd);
    fs.writeFileSync(path.join(odd, 'oci-layout'), '{}');
    fs.writeFileSync(`${odd}.tar`, '');
    expect(parseReference(`oci:${odd}`)).toEqual({ kind: 'layout', path: odd, tag: undefined });
    expect(parseReference(`oci:${odd}:1.2`)).toEqual({ kind: 'layout', path: odd, tag: '1.2' });
    expect(parseReference(`docker-archive:${odd}.tar:a/b:1`)).toEqual({
      kind: 'docker-archive',
      path: `${odd}.tar`,
      tag: 'a/b:1',
    });
    expect(parseReference('oci:./none')).toMatchObject({ kind: 'layout', path: path.resolve('none') });
    expect(parseReference('oci-archive:none:x')).toMatchObject({ path: path.resolve('none'), tag: 'x' });
  });
});

/** What `npm pack` puts into the package: all that it needs, and nothing else. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const npm = spawnSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { cwd: root, encoding: 'utf8' });
const [packed] = JSON.parse(npm.stdout) as { readonly size: number; readonly files: { readonly path: string }[] }[];
const files = new Set(packed.files.map((file) => file.path));

/** A file without its comments. */
const code = (file: string): string => read(file).replace(/\/\*.*?\*\//gs, '');

/** What a module names by its place: what it imports, and files beside it. */
function* named(file: string): Generator<string> {
  const text = code(file);
  for (const [, target] of text.matchAll(/\b(?:from|import\(|import) ?['"`](\.{1,2}\/[^'"`$]*)['"`]/g)) yield target;
  for (const [, target] of text.matchAll(/new URL\(['"`](\.{1,2}\/[^'"`$]*)['"`], ?import\.meta\.url\)/g)) yield target;
}

const isDeclaration = (file: string): boolean => file.endsWith('.d.ts');

it('is small, and has no tests, no sources and no maps to them', () => {
  expect(packed.size).toBeLessThan(4e6);
  expect(
    [...files].filter((file) => !file.startsWith('dist/') && !file.startsWith('guest/agent/agent-')).sort(),
  ).toEqual(['LICENSE', 'README.md', 'package.json']);
  expect(
    [...files].filter((file) => /\.map$|\.test\.|^dist\/(testing|verify|\.stamp)\/|(?<!\.d)\.ts$/.test(file)),
  ).toEqual([]);
});

it('has whatever its entries, modules and declarations name', () => {
  const { bin, exports } = JSON.parse(read('package.json')) as {
    bin: Record<string, string>;
    exports: Record<string, string | Record<string, string>>;
  };
  const entries = Object.values(exports).flatMap((one) => (typeof one === 'string' ? one : Object.values(one)));
  for (const entry of [...Object.values(bin), ...entries]) expect(files).toContain(path.normalize(entry));
  const missing: string[] = [];
  for (const file of files) {
    if (!file.endsWith('.js') && !isDeclaration(file)) continue;
    for (const target of named(file)) {
      const place = path.posix.join(path.posix.dirname(file), target);
      const wanted = isDeclaration(file) ? place.replace(/\.js$/, '.d.ts') : place;
      // A folder's name is that of one that has files in it.
      if (!files.has(wanted) && ![...files].some((one) => wanted.endsWith('/') && one.startsWith(wanted)))
        missing.push(`${file} names ${target}`);
    }
  }
  expect(missing).toEqual([]);
});

it('imports no package that may be missing', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const isOurs = (name: string): boolean => Object.keys(dependencies).some((own) => `${name}/`.startsWith(`${own}/`));
  const strangers = [...files]
    .filter((file) => file.endsWith('.js'))
    .flatMap((file) =>
      [...code(file).matchAll(/(?:^|[;}\s])(?:import|from) ?["'](?!node:)([@a-z][\w./@-]*)["']/g)].map(([, name]) => ({
        file,
        name,
      })),
    )
    .filter(({ name }) => !isOurs(name));
  expect(strangers).toEqual([]);
});

it('has the licences of the packages that are bundled', () => {
  const licences = read('dist/licences.txt');
  expect(files).toContain('dist/licences.txt');
  for (const name of ['@sinclair/typebox', '@xterm/xterm', 'commander', 'fflate', 'ws', 'zstddec'])
    expect(licences).toMatch(new RegExp(`^${name} \\d`, 'm'));
});

it.each(['dist/sdk/index.d.ts', 'dist/sdk/browser/index.d.ts'])('has types in %s that need none of Node', (entry) => {
  const seen = new Set([entry]);
  for (const file of seen) {
    const text = code(file);
    expect(text, file).not.toMatch(/['"]node:|\bNodeJS\.|\bBuffer\b|reference types=/);
    for (const target of named(file))
      seen.add(path.posix.join(path.posix.dirname(file), target).replace(/\.js$/, '.d.ts'));
  }
  expect(seen.size).toBeGreaterThan(20);
});

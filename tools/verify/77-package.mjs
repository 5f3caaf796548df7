import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { must } from './01-fresh-clone.mjs';
import { cacheRoot } from '../../dist/guests/index.js';
import { expect, guest, root, runProgram, seconds, withFolder } from './lib.mjs';

export const title = 'npm pack, and the package in an empty project: installed, with types, run, and by npx';

/** Seconds that an installation may take, with npm's cache empty. */
const INSTALLED = 20;

const PROGRAM = `import { GuestFileError, Vm, VitrineError, type CreateOptions, type ExecResult } from 'vitrine';

const options: CreateOptions = { memory: 256 };
await using vm = await Vm.create(options);
const result: ExecResult = await vm.exec('echo $((6 * 7)); exit 3');
console.log(result.exitCode, result.stdout.trim());
const error: unknown = await vm.fs.readText('/none').catch((reason: unknown) => reason);
if (error instanceof GuestFileError) console.log(error.code, error instanceof VitrineError);
// What is no number of MiB is found out before it runs; so types are types.
// @ts-expect-error
export const wrong: CreateOptions = { memory: '256' };
`;

const PAGE = `import { Vm } from 'vitrine/browser';

export async function answer(): Promise<string> {
  await using vm = await Vm.create({ memory: 256 });
  return (await vm.exec('uname')).stdout;
}
// @ts-expect-error
export const wrong: Parameters<typeof Vm.create>[0] = { memory: '256' };
`;

const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** An environment with an empty home; npm's configuration, and what guests are made of, are this machine's. */
function environment(folder) {
  const home = path.join(folder, 'home');
  const cache = path.join(home, '.cache/vitrine');
  mkdirSync(cache, { recursive: true });
  symlinkSync(path.join(cacheRoot(), 'guests'), path.join(cache, 'guests'));
  // Nothing but Node and what npm calls: no compiler, no make, no Python.
  const bin = path.join(folder, 'bin');
  mkdirSync(bin);
  for (const name of ['node', 'npm', 'npx', 'sh', 'env']) {
    const found = process.env.PATH.split(':').find((at) => existsSync(path.join(at, name)));
    expect(found !== undefined, `there is no ${name}`);
    symlinkSync(path.join(found, name), path.join(bin, name));
  }
  const ours = Object.entries(process.env).filter(([name]) => !/^(npm_|XDG_|VITRINE_|NODE_)/i.test(name));
  const userconfig = process.env.npm_config_userconfig ?? path.join(process.env.HOME ?? '', '.npmrc');
  const env = { ...Object.fromEntries(ours), HOME: home, PATH: bin, NO_COLOR: '1' };
  if (existsSync(userconfig)) env.npm_config_userconfig = userconfig;
  return env;
}

/** Bytes of a folder's files. */
function sizeOf(folder) {
  const files = readdirSync(folder, { recursive: true }).map((name) => lstatSync(path.join(folder, name)));
  return files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
}

function project(folder, name) {
  const made = path.join(folder, name);
  mkdirSync(made);
  writeFileSync(path.join(made, 'package.json'), '{ "private": true, "type": "module" }\n');
  return made;
}

/** Whether Node finds a package for a project, in whatever folder. */
function isAbove(folder, name) {
  try {
    createRequire(path.join(folder, 'x.js')).resolve(name);
    return true;
  } catch {
    return false;
  }
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export const run = (log) =>
  withFolder(async (folder) => {
    await guest('amd64');
    const env = environment(folder);
    await must(runProgram('npm', ['pack', '--pack-destination', folder], { cwd: root, limit: 300 }));
    const name = readdirSync(folder).find((one) => one.endsWith('.tgz'));
    const archive = path.join(folder, name);
    const { stdout: list } = await must(runProgram('tar', ['-tzf', archive]));
    const files = list.trim().split('\n');
    log(`${name}: ${mebibytes(lstatSync(archive).size)}, ${files.length} files`);

    const app = project(folder, 'app');
    const npm = (cwd, ...args) =>
      must(runProgram('npm', [...args, '--no-audit', '--no-fund'], { cwd, env, limit: 120 }));
    const installed = await npm(app, 'install', archive);
    const modules = path.join(app, 'node_modules');
    const packages = readdirSync(modules).filter((one) => !one.startsWith('.'));
    log(
      `npm install: ${installed.seconds.toFixed(1)} s, ${mebibytes(sizeOf(modules))} in ${packages.sort().join(', ')}`,
    );
    expect(installed.seconds <= INSTALLED, `the installation took more than ${INSTALLED} s`);
    expect(packages.includes('koffi'), 'koffi has not been installed');

    const npx = (cwd, ...args) =>
      must(runProgram('npx', ['--no-install', 'vitrine', ...args], { cwd, env, limit: 120 }));
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const told = await npx(app, '--version');
    expect(told.stdout.trim() === version, `npx vitrine --version says ${told.stdout}`);
    const demo = await npx(app, 'run', 'demo');
    expect(/^\d+ checks passed$/m.test(demo.stdout), demo.stdout.slice(-500));
    log(`npx vitrine --version, run demo: ${told.seconds.toFixed(1)} and ${demo.seconds.toFixed(1)} s`);

    // As a beginner has it: the newest compiler that is known here, no configuration, no types of Node.
    const wanted = ['typescript', '@types/node'].map((one) => `${one}@${devDependencies[one]}`);
    await npm(app, 'install', '--save-dev', wanted[0]);
    writeFileSync(path.join(app, 'main.ts'), PROGRAM);
    writeFileSync(path.join(app, 'page.ts'), PAGE);
    const tsc = (...args) => must(runProgram('npx', ['tsc', '--strict', ...args], { cwd: app, env, limit: 120 }));
    let since = performance.now();
    await tsc('--module', 'nodenext', '--target', 'es2022', 'main.ts', 'page.ts');
    await tsc('--module', 'esnext', '--moduleResolution', 'bundler', '--noEmit', 'page.ts');
    await npm(app, 'install', '--save-dev', wanted[1]);
    await tsc('--module', 'nodenext', '--types', 'node', '--lib', 'es2023', '--noEmit', 'main.ts');
    log(`tsc --strict, without and with ${wanted[1]}, every declaration checked: ${seconds(since).toFixed(1)} s`);
    since = performance.now();
    const { stdout } = await must(runProgram('node', ['main.js'], { cwd: app, env, limit: 120 }));
    expect(stdout === '3 42\nENOENT true\n', `the program says ${stdout}`);
    log(`the program has run in ${seconds(since).toFixed(1)} s`);

    const bare = project(folder, 'bare');
    await npm(bare, 'install', '--omit=optional', archive);
    expect(!existsSync(path.join(bare, 'node_modules/koffi')), 'koffi was installed');
    expect(/^\d+ checks passed$/m.test((await npx(bare, 'run', 'demo')).stdout), 'the demo needs koffi');
    const { stdout: info } = await npx(bare, 'info');
    const kvm = /^ +kvm: .*$/m.exec(info)?.[0].trim();
    log(`without koffi: the demo runs; info says "${kvm}"`);
    if (isAbove(bare, 'koffi')) log('(a folder above the temporary one has a koffi)');
    else expect(!existsSync('/dev/kvm') || /npm package koffi/.test(kvm), 'info says something else');
  });

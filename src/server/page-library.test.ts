/** The library in a page of Debian's Chromium: commands, disks, networks. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ChromiumPage } from '../testing/chromium.js';
import { RangeServer } from '../testing/range-server.js';
import { describeWith, requireGuest, requireTool } from '../testing/tools.js';
import { createPageServer } from './page-server.js';
import { hashOf } from './tenant-config.js';

const amd64 = await requireGuest('amd64');
const chromium = await requireTool('chromium');

/** A page that nothing is on, of the origin that serves Vitrine. */
const EMPTY = '/web/xterm.css';

async function openPage(path: string, isolated = true): Promise<ChromiumPage> {
  const { vmlinux: kernel, initrd } = amd64.files;
  const server = createPageServer({ guest: 'amd64', kernel, initrd, commandLine: '', isolated });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const page = await ChromiumPage.open(chromium, `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  onTestFinished(() => page.close());
  await page.until(`location.pathname === '${path}'`);
  return page;
}

/** The value of statements in the page, or what they threw. */
const run = (page: ChromiumPage, statements: string): Promise<unknown> =>
  page.evaluate(`(async () => { try { ${statements} } catch (error) { return 'thrown: ' + error.message; } })()`);

const CREATE = `
  const { Vm } = await import('/sdk/browser/index.js');
  const sh = async (script) => (await vm.exec(script)).stdout;
`;

describeWith([amd64, chromium], 'the library in a page', () => {
  it('runs its example', async () => {
    const page = await openPage('/examples/browser.html');
    const text = "document.querySelector('#output').textContent";
    for (const end = Date.now() + 90_000; Date.now() < end;)
      if (
        await page.until(`/stopped$/.test(${text})`).then(
          () => true,
          () => false,
        )
      )
        break;
    expect(await page.evaluate(text)).toBe(
      'booting Linux …\nHello from Linux x86_64, reader\n20 bytes counted, exit code 0\nstopped',
    );
  });

  it('keeps disks, reads images of servers in parts, and asks for what the guest asks for', async () => {
    const image = new Uint8Array(2 ** 20).fill(0x41);
    const server = await RangeServer.start(image);
    onTestFinished(() => server.close());
    const page = await openPage(EMPTY);
    const base = `${server.address}/base.raw`;
    const first = await run(
      page,
      `${CREATE}
      const chosen = new File(['chosen'.padEnd(512, '.')], 'chosen.img');
      const vm = await Vm.create({ memory: 96, disks: [
        { image: 'disks/own.qcow2', create: { size: 2 ** 24 } },
        { image: 'disks/over.qcow2', create: { base: '${base}' } },
        { image: '${base}' },
        { image: chosen } ] });
      globalThis.vm = vm;
      return await sh(\`
        head -c 4 /dev/vdb; head -c 6 /dev/vdd; echo
        for disk in vda vdb vdc vdd; do echo $disk | dd of=/dev/$disk conv=notrunc,fsync 2>/dev/null; head -c 3 /dev/$disk; done; echo
        wget -q -O - http://10.0.2.2/guest/offer.json | cut -c 1-10; echo
        name=$(nslookup any.example | sed -n 's/^Address: //p'); echo $name
        http_proxy=http://$name wget -q -O - ${server.address}/public; echo
        http_proxy=http://$name wget -q -O - ${server.address}/private 2>&1
      \`);`,
    );
    expect(String(first).split('\n')).toEqual([
      'AAAAchosen',
      'vdavdbvdcvdd',
      '{"version"',
      '',
      '198.18.0.1',
      'a page of another origin',
      'wget: server returned error: HTTP/1.1 502 Bad Gateway',
      '',
    ]);
    // One byte for the size, and what was read.
    expect(server.asked.length).toBeLessThan(8);

    // What another machine has open it writes alone, in whatever page.
    expect(await run(page, 'await globalThis.vm.fork();')).toMatch('another machine uses it');
    expect(await run(page, `${CREATE} await Vm.create({ memory: 96, disks: [{ image: 'disks/own.qcow2' }] });`)).toBe(
      'thrown: cannot open the disk disks/own.qcow2: another machine uses it, in this page or another',
    );
    const again = await run(
      page,
      `${CREATE}
      await globalThis.vm.stop();
      const vm = await Vm.create({ memory: 96, threads: false, disks: [
        { image: 'disks/own.qcow2' }, { image: 'disks/over.qcow2', readOnly: true }, { image: '${base}' } ] });
      return [crossOriginIsolated, await sh('head -c 3 /dev/vda; head -c 8 /dev/vdb; head -c 4 /dev/vdc')].join();`,
    );
    expect(again).toBe('true,vdavdb\nAAAAAAAA');
  });

  it('reaches the network behind the relay of a server, and is forked', async () => {
    const target = await RangeServer.start(new Uint8Array(0));
    onTestFinished(() => target.close());
    const page = await openPage(EMPTY);
    const relay = await startServer([String(await page.evaluate('location.origin'))]);
    const { port } = new URL(target.address);
    const text = await run(
      page,
      `${CREATE}
      const chosen = new File(['chosen'.padEnd(512, '.')], 'chosen.img');
      const vm = await Vm.create({ memory: 96, disks: [{ image: chosen }], net: { relay: ${JSON.stringify(relay)} } });
      globalThis.vm = vm;
      const { stdout, stderr, exitCode } = await vm.exec(\`
        until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done
        wget -q -O - http://10.0.2.2:${port}/private\`);
      return exitCode + ' ' + stdout + stderr;`,
    );
    expect(text).toBe('0 private');
    const forked = await run(
      page,
      `${CREATE}
      const { vm } = globalThis;
      await sh('echo before >/tmp/note; echo written | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null');
      const fork = await vm.fork();
      await sh('echo behind >/tmp/note');
      const look = 'cat /tmp/note; head -c 7 /dev/vda; echo; cat /sys/class/net/eth0/address /proc/sys/kernel/hostname';
      const [one, other] = await Promise.all([vm, fork].map(async (it) => (await it.exec(look)).stdout.split('\\n')));
      await vm.stop();
      const { exitCode } = await fork.exec('true');
      const bad = await fork.fork({ identity: { mac: 'x' } }).catch(({ message }) => message);
      await fork.stop();
      const left = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) if (name.startsWith('.fork')) left.push(name);
      return JSON.stringify({ one, other, exitCode, bad, left });`,
    );
    expect(JSON.parse(String(forked))).toEqual({
      one: ['behind', 'written', '52:54:00:12:34:56', 'vitrine', ''],
      other: [
        'before',
        'written',
        expect.stringMatching(/^52:54:00:(?!12:34:56)/),
        expect.stringMatching(/^vitrine-[0-9a-f]{6}$/),
        '',
      ],
      exitCode: 0,
      bad: '"x" is no hardware address of a card: six bytes, as 52:54:00:12:34:56',
      left: [],
    });
  });
});

/** `vitrine serve`, for a tenant who reaches what the host does, and pages of other origins. */
async function startServer(origins: readonly string[]): Promise<{ readonly url: string; readonly token: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-relay-'));
  const token = 'vitrine_for-this-test';
  const config = path.join(folder, 'serve.json');
  const tenant = { tokens: [hashOf(token)], network: 'open' };
  writeFileSync(config, JSON.stringify({ tenants: { page: tenant }, origins }));
  const options = {
    host: '127.0.0.1',
    port: 0,
    config,
    state: path.join(folder, 'state'),
    log: path.join(folder, 'log'),
  };
  const program = new URL('../../dist/server/main.js', import.meta.url).href;
  const script = `import { program } from '${program}'; process.exitCode = await program.serve(${JSON.stringify(options)});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    child.kill();
    await once(child, 'exit');
    rmSync(folder, { recursive: true });
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const url = new URL('/v1/relay', line.toString().trim());
  url.protocol = 'ws:';
  return { url: url.href, token };
}

/** The library in a page of Debian's Chromium: commands, disks, networks. */
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { ChromiumPage } from '../testing/chromium.js';
import { RangeServer } from '../testing/range-server.js';
import { describeWith, requireGuest, requireTool } from '../testing/tools.js';
import { createPageServer } from './page-server.js';

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
  it('runs its example', { timeout: 120_000 }, async () => {
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

  it(
    'keeps disks, reads images of servers in parts, and asks for what the guest asks for',
    { timeout: 120_000 },
    async () => {
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
    },
  );
});

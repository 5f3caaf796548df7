import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ALLOW_PINGS, PING_NETWORK } from '../../../testing/ping-network.js';
import { describeWith, requireNetworkNamespaces } from '../../../testing/tools.js';

const PING = fileURLToPath(new URL('../../../../dist/testing/ping-host.js', import.meta.url));

/** Answers to pings in such a network, and the processor time of the silence behind them. */
async function ping(setUp: string, targets: readonly string[]): Promise<unknown[]> {
  const { stdout } = await promisify(execFile)(
    'unshare',
    ['-Urn', 'sh', '-c', `${setUp}"$0" "$@"`, process.execPath, PING, ...targets],
    { timeout: 20_000 },
  );
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

const namespaces = await requireNetworkNamespaces();
describeWith([namespaces], 'pings through sockets of the host', () => {
  it('are answered, and refused, by other hosts and routers', async () => {
    const answers = await ping(PING_NETWORK + ALLOW_PINGS, [
      '198.51.100.1/64/56',
      '198.51.100.10/64/0',
      '198.51.100.10/64/65000',
      '2001:db8::1/64/56',
      '2001:db8:9::2/64/20000',
      // Hops: the gateway, then the router.
      '198.51.100.10/1/56',
      '203.0.113.5/2/56',
      '203.0.113.200/64/56',
      '2001:db8:1::5/2/56',
      // No route at all.
      '192.0.2.1/64/56',
      '2001:db8:2::1/64/56',
      '198.51.100.10/64/56',
    ]);
    const idle = answers.pop();
    expect(answers).toEqual([
      ['198.51.100.1', 0, 0, true],
      ['198.51.100.10', 0, 0, true],
      ['198.51.100.10', 0, 0, true],
      ['2001:db8::1', 129, 0, true],
      ['2001:db8:9::2', 129, 0, true],
      ['10.0.2.2', 11, 0, true],
      ['198.51.100.10', 11, 0, true],
      ['198.51.100.10', 3, 1, true],
      ['2001:db8:9::2', 3, 0, true],
      ['10.0.2.2', 3, 0, true],
      ['fec0::2', 1, 0, true],
      ['198.51.100.10', 0, 0, true],
    ]);
    expect(idle).toBeLessThan(150);
  });

  it('are prohibited where the host lets nobody send any', async () => {
    const answers = await ping('ip link set lo up; ', ['127.0.0.1/64/8', '198.51.100.1/64/8', '2001:db8::1/64/8']);
    expect(answers.slice(0, 3)).toEqual([
      ['10.0.2.2', 3, 13, true],
      ['10.0.2.2', 3, 13, true],
      ['fec0::2', 1, 1, true],
    ]);
  });
});

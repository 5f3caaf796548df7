// Runs code that nobody has looked at: each piece in a machine of its own that has no network, a limit of time, and is gone afterwards.
// Run it with: node sandbox.ts
import { ExecTimeoutError, Vm } from 'vitrine';

async function judge(script: string): Promise<string> {
  // The first machine of the kind is booted; those after it begin where it was, in a fraction of a second.
  await using vm = await Vm.create({ warm: true, memory: 256, net: false });
  await vm.fs.write('/tmp/script', script);
  try {
    const { exitCode, stdout } = await vm.exec(['sh', '/tmp/script'], { user: '65534', cwd: '/tmp', timeout: 5_000 });
    return `exit code ${exitCode}: ${stdout.trim()}`;
  } catch (error) {
    if (error instanceof ExecTimeoutError) return 'took too long';
    throw error;
  }
}

console.log(await judge('echo $((6 * 7))'));
console.log(await judge('while :; do :; done'));
console.log(await judge('rm -rf /etc 2> /dev/null; ls -d /etc; id -u'));

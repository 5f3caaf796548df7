// A machine with Linux in it, a file written there, a program that reads it, and its answer. Run it with: node ten-lines.ts
import { Vm } from 'vitrine';

const vm = await Vm.create({ memory: 256 });
await vm.fs.write('/root/numbers', '3\n1\n2\n');
const { stdout, exitCode } = await vm.exec(['sort', '-n', '/root/numbers']);
console.log(`exit code ${exitCode}, sorted: ${stdout.trim().split('\n').join(' ')}`);
console.log((await vm.exec('uname -sm')).stdout.trim());
await vm.stop();

// Python from a container image: node python.ts [image]
import { Vm } from 'vitrine';

const vm = await Vm.create({ image: process.argv[2] ?? 'python:3-slim' });
await vm.fs.write('/tmp/sum.py', 'print(sum(range(101)))\n');
const { stdout, exitCode } = await vm.exec(['python3', '/tmp/sum.py']);
console.log(exitCode, stdout);
await vm.stop();

/** Real guests from the command line, from power-on to power-off. */
import { expect, it } from 'vitest';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireGuest } from '../testing/tools.js';

const amd64 = await requireGuest('amd64');
const i386 = await requireGuest('i386');

/** Where the shell says that it waits for a command. */
const PROMPT = /^vitrine:~# /m;

describeWith([amd64], 'vitrine run', () => {
  it('boots the default guest to a shell, and ends with 0 when the guest powers off', { timeout: 90_000 }, async () => {
    const vitrine = new VitrineProcess(['run']);
    const booted = await vitrine.until(PROMPT);
    vitrine.type('uname -a; cat /proc/cpuinfo\n');
    await vitrine.until(PROMPT, booted);
    vitrine.type('poweroff\n');
    const { code, output, errors } = await vitrine.ended;
    expect(output).toMatch(/^Linux vitrine 6\.1\S*-cloud-amd64 .* x86_64 GNU\/Linux/m);
    expect(output).toMatch(/^model name\s*: Vitrine x86-64-v2/m);
    expect(output).toMatch(/^flags\s*: .*\bsse4_2\b/m);
    expect({ code, errors }).toEqual({ code: 0, errors: '' });
  });
});

describeWith([i386], 'a 32-bit machine', () => {
  it("boots Debian's 686 kernel from its bzImage on a Pentium 4", { timeout: 120_000 }, async () => {
    const { vmlinuz, initrd } = i386.files;
    const append = ['--append', 'console=ttyS0 quiet'];
    const vitrine = new VitrineProcess([
      ...['run', '--cpu', 'pentium4', '--memory', '256M'],
      ...['--kernel', vmlinuz, '--initrd', initrd, ...append],
    ]);
    const booted = await vitrine.until(PROMPT);
    vitrine.type('uname -m; poweroff\n');
    await vitrine.until(/^i686/m, booted);
    expect((await vitrine.ended).code).toBe(0);
  });
});

/**
 * What every Linux kernel is told that we choose the command line of: no wait before a reboot after a panic, which ends a machine that must not reboot; no
 * doubts about the TSC, which on a busy host Linux gives up for the slow HPET because one look at it took long; and no tests of the kernel's own ciphers,
 * which are two thirds of the instructions of a boot (docs/performance.md).
 */
export const KERNEL_WORDS = 'panic=-1 tsc=reliable cryptomgr.notests';

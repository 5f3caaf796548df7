/** Errors of Linux by their numbers (asm-generic/errno-base.h and errno.h), and what they mean. */

const ERRORS: Readonly<Record<number, readonly [code: string, text: string]>> = {
  1: ['EPERM', 'not permitted'],
  2: ['ENOENT', 'no such file or folder'],
  4: ['EINTR', 'interrupted'],
  5: ['EIO', 'input/output error'],
  6: ['ENXIO', 'no such device'],
  7: ['E2BIG', 'arguments and variables are too long'],
  8: ['ENOEXEC', 'this is no program that the guest can run'],
  11: ['EAGAIN', 'too many at a time'],
  12: ['ENOMEM', 'the guest has no memory left'],
  13: ['EACCES', 'permission denied'],
  16: ['EBUSY', 'in use'],
  17: ['EEXIST', 'it exists already'],
  18: ['EXDEV', 'on another file system'],
  20: ['ENOTDIR', 'not a folder'],
  21: ['EISDIR', 'a folder'],
  22: ['EINVAL', 'invalid'],
  24: ['EMFILE', 'too many open files'],
  26: ['ETXTBSY', 'a program that runs'],
  27: ['EFBIG', 'too large'],
  28: ['ENOSPC', 'the disk is full'],
  30: ['EROFS', 'the file system is read-only'],
  32: ['EPIPE', 'nobody reads it'],
  36: ['ENAMETOOLONG', 'the name is too long'],
  38: ['ENOSYS', "the guest's agent does not know it"],
  39: ['ENOTEMPTY', 'the folder is not empty'],
  40: ['ELOOP', 'too many symbolic links'],
  71: ['EPROTO', 'the request is damaged'],
  95: ['EOPNOTSUPP', 'not supported there'],
  111: ['ECONNREFUSED', 'nobody listens there'],
  113: ['EHOSTUNREACH', 'no route'],
};

/** The name of an error, `ENOENT`. */
export const errnoCode = (number: number): string => ERRORS[number]?.[0] ?? `error ${number}`;

/** What it means, for people. */
export const errnoText = (number: number): string => ERRORS[number]?.[1] ?? `error ${number}`;

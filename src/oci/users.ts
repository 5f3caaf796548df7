/** Whom an image's program runs as: OCI image specification 1.1, config.md, "User". */
import { OciError } from './errors.js';

/** What a process needs of its user, all from the image's own files. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  /** Further groups, without `gid`. */
  readonly groups: readonly number[];
  readonly home: string;
}

/** The contents of an image's /etc/passwd and /etc/group; empty where there are none. */
export interface Accounts {
  readonly passwd: string;
  readonly group: string;
}

interface Entry {
  readonly name: string;
  readonly fields: readonly string[];
}

function entries(file: string): Entry[] {
  return file
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 3 && fields[0] !== '')
    .map((fields) => ({ name: fields[0], fields }));
}

function id(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  // 2**32 - 1 stands for no user.
  return Number(text) < 2 ** 32 - 1 ? Number(text) : undefined;
}

/**
 * Finds a user (`name`, `uid`, `name:group`, `uid:gid`; empty: root) among an image's accounts. A number needs not stand there. Throws a one-line error (OciError) when a name does not.
 */
export function resolveUser(user: string, { passwd, group }: Accounts): Credentials {
  const [userText, groupText] = user.includes(':') ? user.split(/:(.*)/s) : [user, undefined];
  const wanted = userText === '' ? '0' : userText;
  const number = id(wanted);
  const users = entries(passwd);
  const found =
    users.find(({ name }) => name === wanted) ??
    (number === undefined ? undefined : users.find(({ fields }) => id(fields[2]) === number));
  const uid = found ? id(found.fields[2]) : number;
  if (uid === undefined)
    throw new OciError(
      'damaged',
      `the image is to run as ${JSON.stringify(wanted)}, whom its /etc/passwd does not know`,
    );
  const groups = entries(group);
  const home = found?.fields[5] ?? '';
  const base = { uid, home: home.startsWith('/') ? home : '/' };
  if (groupText !== undefined && groupText !== '') {
    const named = groups.find(({ name }) => name === groupText);
    const gid = named ? id(named.fields[2]) : id(groupText);
    if (gid === undefined)
      throw new OciError(
        'damaged',
        `the image is to run with the group ${JSON.stringify(groupText)}, which its /etc/group does not know`,
      );
    return { ...base, gid, groups: [] };
  }
  const gid = id(found?.fields[3]) ?? 0;
  const member = groups
    .filter(({ fields }) => found !== undefined && (fields[3] ?? '').split(',').includes(found.name))
    .map(({ fields }) => id(fields[2]))
    .filter((one): one is number => one !== undefined && one !== gid);
  return { ...base, gid, groups: [...new Set(member)] };
}

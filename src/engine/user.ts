/**
 * `--user` and the image's USER, looked up in the image's own /etc/passwd and /etc/group. Pure.
 * @see passwd(5), group(5); image-spec config.md, User
 */
import { TsboxError } from '../errors.ts';

export interface ResolvedUser {
  uid: number;
  gid: number;
  /** The primary group first: a file that is closed to the group is then closed to the process too, whatever its group becomes. */
  additionalGids: number[];
  /** From passwd; `/` for a user who is not in it. */
  home: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

const MAX_ID = 2 ** 31 - 1;

function fields(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/** An id that the kernel would take for another one, as 4294967296 for 0, is none; NaN. */
function id(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return value <= MAX_ID ? value : Number.NaN;
}

/** Lines without ids that can be are passed over. */
function parsePasswd(text: string): PasswdEntry[] {
  return fields(text)
    .map(([name = '', , uid = '', gid = '', , home = '']) => ({ name, uid: id(uid), gid: id(gid), home }))
    .filter(({ uid, gid }) => !Number.isNaN(uid) && !Number.isNaN(gid));
}

function parseGroup(text: string): GroupEntry[] {
  return fields(text)
    .map(([name = '', , gid = '', members = '']) => ({
      name,
      gid: id(gid),
      members: members.split(',').filter((one) => one !== ''),
    }))
    .filter(({ gid }) => !Number.isNaN(gid));
}

function numeric(text: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  if (value < 0 || value > MAX_ID)
    throw new TsboxError('ERR_TSBOX_USAGE', `uids and gids must be in range 0-${MAX_ID}`, { exitCode: 125 });
  return value;
}

function missing(kind: 'user' | 'group', name: string, file: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', `unable to find ${kind} ${name}: no matching entries in ${file} file`, {
    exitCode: 125,
    hint: `The image's own /etc/${file} has no such ${kind}; a number works without an entry.`,
  });
}

/** `--group-add`: a name of the image's, or a number. */
function addedGroup(name: string, groups: readonly GroupEntry[]): number {
  const gid = groups.find((one) => one.name === name)?.gid ?? numeric(name);
  if (gid !== undefined) return gid;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `Unable to find group ${name}: no matching entries in group file`, {
    exitCode: 125,
  });
}

/** `spec` is `''`, `user`, `uid`, `user:group`, `uid:gid` and mixtures; empty is root.
 *  Without a group the user's supplementary groups are those whose line names the user, as Docker does it.
 *  @throws ERR_TSBOX_NOT_FOUND for a name that the files do not have, ERR_TSBOX_USAGE for a number out of range */
export function resolveUser(spec: string, passwd: string, group: string, add: readonly string[] = []): ResolvedUser {
  const [userPart = '', groupPart = ''] = spec.split(':'); // as runc: of a third part nobody asks
  const users = parsePasswd(passwd);
  const groups = parseGroup(group);
  const number = numeric(userPart === '' ? '0' : userPart);
  const entry = users.find((one) => one.name === userPart) ?? users.find((one) => one.uid === number);
  if (entry === undefined && number === undefined) throw missing('user', userPart, 'passwd');
  const user: ResolvedUser = {
    uid: entry?.uid ?? number ?? 0,
    gid: entry?.gid ?? 0,
    additionalGids: [],
    home: entry?.home === undefined || entry.home === '' ? '/' : entry.home,
  };
  if (groupPart !== '') {
    const gid = groups.find((one) => one.name === groupPart)?.gid ?? numeric(groupPart);
    if (gid === undefined) throw missing('group', groupPart, 'group');
    user.gid = gid;
  } else if (entry !== undefined) {
    user.additionalGids = groups.filter((one) => one.members.includes(entry.name)).map((one) => one.gid);
  }
  user.additionalGids = [
    ...new Set([user.gid, ...user.additionalGids, ...add.map((name) => addedGroup(name, groups))]),
  ];
  return user;
}

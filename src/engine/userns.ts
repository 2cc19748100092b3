/** `--userns-remap` and `--userns`: whose subordinate ids a container's user namespace gets. @see subuid(5), subgid(5) */
import { readFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { HostConfig } from '../spec/container.ts';
import { type IdMaps, mapOf, subordinateRanges } from '../spec/id-map.ts';
import { autoSize, checkMode, isAuto } from './userns-mode.ts';

const FAILED = 125;
/** Docker's name for the user that `default` stands for. */
const DEFAULT_USER = 'dockremap';

/** The files of the host that say who is who. */
export interface AccountFiles {
  passwd: string;
  group: string;
  subuid: string;
  subgid: string;
}

function refuse(message: string, hint?: string): TsboxError {
  return new TsboxError(
    'ERR_TSBOX_USAGE',
    message,
    hint === undefined ? { exitCode: FAILED } : { exitCode: FAILED, hint },
  );
}

export function readAccounts(): AccountFiles {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  return {
    passwd: read('/etc/passwd'),
    group: read('/etc/group'),
    subuid: read('/etc/subuid'),
    subgid: read('/etc/subgid'),
  };
}

/** Name and number of an account: whichever was given, and the other one when the file knows it. */
function namesOf(file: string, given: string): string[] | undefined {
  const number = /^\d+$/.test(given);
  const lines = file.split('\n').map((line) => line.split(':'));
  const entry = lines.find(([name, , id]) => (number ? id === given : name === given));
  if (entry === undefined) return number ? [given] : undefined;
  return [entry[0] ?? '', entry[2] ?? ''];
}

/** The command that brings a line into /etc/subuid or /etc/subgid. */
function missingRanges(file: string, owner: string, flag: string): TsboxError {
  return refuse(
    `no subordinate ids for ${JSON.stringify(owner)} in ${file}`,
    `Give it some that nobody else has: usermod ${flag} 100000-165535 ${owner}, or echo ${owner}:100000:65536 >> ${file}`,
  );
}

/** The maps that `USER[:GROUP]`, `UID[:GID]` or `default` stands for. Pure.
 *  Groups: the ranges of the group's name, as Docker's documentation has it, or else those of the user, as subgid(5) has it.
 *  @throws ERR_TSBOX_USAGE when there is no such account, or none of its lines in /etc/subuid and /etc/subgid */
export function parseRemap(spec: string, files: AccountFiles): IdMaps {
  const [user = '', group, ...rest] = (spec === 'default' ? DEFAULT_USER : spec).split(':');
  if (rest.length > 0 || user === '' || group === '') {
    throw refuse(`invalid user/group specification in --userns-remap: ${JSON.stringify(spec)}`);
  }
  if (user === 'root' || user === '0') throw refuse('root cannot be remapped with itself', 'Name another user.');
  const users = namesOf(files.passwd, user);
  if (users === undefined) {
    throw refuse(
      `no such user: ${user}`,
      `Make it: useradd --system --no-create-home --shell /usr/sbin/nologin ${user}`,
    );
  }
  const groups = group === undefined ? users : namesOf(files.group, group);
  if (groups === undefined) throw refuse(`no such group: ${group}`, `Make it: groupadd --system ${group}`);
  const uids = subordinateRanges(files.subuid, users, '/etc/subuid');
  const own = subordinateRanges(files.subgid, groups, '/etc/subgid');
  const gids = own.length > 0 ? own : subordinateRanges(files.subgid, users, '/etc/subgid');
  if (uids.length === 0) throw missingRanges('/etc/subuid', user, '--add-subuids');
  if (gids.length === 0) throw missingRanges('/etc/subgid', group ?? user, '--add-subgids');
  return { uids: mapOf(uids), gids: mapOf(gids) };
}

/** The maps of a container; undefined when it has the host's user namespace. A container of `auto` has its own written down.
 *  @param config its `UsernsMode`: empty, `host`, `auto`, or what {@link parseRemap} takes
 *  @throws as {@link parseRemap}; ERR_TSBOX_UNSUPPORTED */
export function mapsOf({ UsernsMode: mode, IDMaps }: Pick<HostConfig, 'UsernsMode' | 'IDMaps'>): IdMaps | undefined {
  if (IDMaps !== undefined) return IDMaps;
  if (mode === undefined || mode === '' || mode === 'host') return undefined;
  checkMode(mode);
  return parseRemap(mode, readAccounts());
}

/** What does not go with a user namespace, in Docker's words. */
export function checkUserns(
  mode: string,
  request: { network: string; privileged?: boolean; pid?: string; ipc?: string },
): void {
  if (mode === '' || mode === 'host') return;
  if (isAuto(mode)) autoSize(mode);
  else mapsOf({ UsernsMode: mode });
  if (request.privileged === true) {
    throw refuse(
      'privileged mode is incompatible with user namespaces.  ' +
        'You must run the container in the host namespace when running privileged mode',
      'Add --userns host.',
    );
  }
  if (request.network === 'host') {
    throw refuse("cannot share the host's network namespace when user namespaces are enabled", 'Add --userns host.');
  }
  if (request.pid === 'host') {
    throw refuse('cannot share the host PID namespace when user namespaces are enabled', 'Add --userns host.');
  }
  if (request.ipc === 'host') {
    throw refuse('cannot share the host IPC namespace when user namespaces are enabled', 'Add --userns host.');
  }
  if ([request.pid, request.ipc].some((mode) => mode?.startsWith('container:') === true)) {
    const message = "another container's namespaces in a user namespace: not supported yet";
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { exitCode: FAILED, hint: 'Add --userns host.' });
  }
}

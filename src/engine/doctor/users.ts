/** User namespaces, and the ids that go into them. Pure. @see user_namespaces(7), subuid(5) */
import type { DoctorFacts, Finding } from '../../spec/doctor.ts';
import { finding, withoutOverlay } from './kernel.ts';

const ENOUGH_IDS = 65536;
const FIRST_ID = 100000;

export function userFindings(facts: DoctorFacts): Finding[] {
  const able = facts.userNamespaces.make === 'ok' && facts.userNamespaces.mount === 'ok';
  return [userNamespaces(facts), ...(able ? [overlay(facts)] : []), subordinate(facts), ...mapPrograms(facts)];
}

/** Without them an ordinary user can run nothing; root loses a choice. */
const severity = (facts: DoctorFacts) => (facts.uid === 0 ? 'note' : 'error');

function userNamespaces(facts: DoctorFacts): Finding {
  const { make, mount } = facts.userNamespaces;
  const [id, what] = ['users.namespaces', 'user namespaces'];
  if (make === 'ok' && mount === 'ok') return finding(id, 'ok', what, 'can be made, and mounted in');
  const [reason, fix] = obstacle(facts);
  const says =
    make === 'ok' ? `can be made, but nothing can be mounted in them (${mount})` : `cannot be made (${make})`;
  return finding(id, severity(facts), what, `${says}: ${reason}`, fix);
}

/** Why, and what mends it: the kernel parameters that are known for it come first. */
function obstacle({ sysctls, userNamespaces: { make, mount }, uid }: DoctorFacts): [reason: string, fix: string] {
  const set = (name: string, value: string) =>
    `sysctl -w ${name}=${value}\necho '${name} = ${value}' > /etc/sysctl.d/99-tsbox.conf`;
  if (sysctls['user/max_user_namespaces'] === '0') {
    return ['user.max_user_namespaces is 0', set('user.max_user_namespaces', '28633')];
  }
  if (uid !== 0 && sysctls['kernel/unprivileged_userns_clone'] === '0') {
    return ['kernel.unprivileged_userns_clone is 0', set('kernel.unprivileged_userns_clone', '1')];
  }
  if (uid !== 0 && sysctls['kernel/apparmor_restrict_unprivileged_userns'] === '1') {
    return [
      'AppArmor restricts them to programs with a profile',
      set('kernel.apparmor_restrict_unprivileged_userns', '0'),
    ];
  }
  if (make === 'EINVAL') return ['this kernel was built without them', 'Use a kernel with CONFIG_USER_NS.'];
  if (make === 'ENOSPC') return ['the limit of namespaces is reached', set('user.max_user_namespaces', '28633')];
  const refusal = make === 'ok' ? mount : make;
  return [
    refusal === 'EPERM' || refusal === 'EACCES'
      ? 'a security module or a seccomp filter forbids it'
      : 'the kernel refuses',
    'Run tsbox on the host and not in a container, or start that container with --privileged.',
  ];
}

function overlay(facts: DoctorFacts): Finding {
  const [id, what] = ['users.overlay', 'overlayfs in them'];
  const outcome = facts.overlay.inUserNamespace;
  if (outcome === 'ok') return finding(id, 'ok', what, 'mounts, with userxattr');
  if (outcome === 'untried') return finding(id, 'note', what, `not tried: ${facts.roots.data.at} is not writable`);
  const fix = 'Use a kernel of 5.11 or later, and a data root on ext4, xfs, btrfs or tmpfs.';
  const says = `cannot be mounted there: ${outcome}`;
  return facts.uid === 0 ? finding(id, 'note', what, says, fix) : withoutOverlay(id, what, says, fix, facts.fuse);
}

function subordinate({ ids, uid, user }: DoctorFacts): Finding {
  const [id, what] = ['users.subids', 'subordinate ids'];
  const range = `${FIRST_ID}-${FIRST_ID + ENOUGH_IDS - 1}`;
  const fix = `usermod --add-subuids ${range} --add-subgids ${range} ${user}`;
  const least = Math.min(ids.subuid, ids.subgid);
  if (least >= ENOUGH_IDS) return finding(id, 'ok', what, `${least} for ${user}`);
  if (uid === 0)
    return finding(id, 'note', what, `${least} for root: --userns-remap and --userns need ${ENOUGH_IDS}`, fix);
  const loss = least === 0 ? 'all users of a container are then one' : 'users with higher ids are then nobody';
  return finding(id, 'warning', what, `${least} for ${user} in /etc/subuid and /etc/subgid: ${loss}`, fix);
}

function mapPrograms({ ids, uid }: DoctorFacts): Finding[] {
  if (uid === 0) return [];
  const [id, what] = ['users.newidmap', 'newuidmap, newgidmap'];
  const broken = (['newuidmap', 'newgidmap'] as const).filter((name) => ids[name] !== 'ok');
  if (broken.length === 0) return [finding(id, 'ok', what, 'are there, and may do their work')];
  const absent = broken.filter((name) => ids[name] === 'absent');
  if (absent.length > 0) {
    const says = `${absent.join(' and ')} ${absent.length > 1 ? 'are' : 'is'} not there: a container then has a single user`;
    return [finding(id, 'warning', what, says, 'apt-get install uidmap')];
  }
  const fix = broken.map((name) => `chmod u+s "$(command -v ${name})"`).join('\n');
  return [finding(id, 'warning', what, `without the setuid bit: ${broken.join(', ')}`, fix)];
}

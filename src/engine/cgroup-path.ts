/** Where a container's cgroups are. */
import { posix } from 'node:path';
import { TsboxError } from '../errors.ts';
import type { Step } from '../plan/step.ts';
import { IN_USER_SCOPE } from '../spec/delegation.ts';
import type { HostFacts } from '../spec/host.ts';
import { readHostConfig } from '../store/containers.ts';
import { readText } from '../store/io.ts';
import { runDirectory, type Store, shortId } from '../store/store.ts';
import { mayEnter } from '../sys/delegation.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { handedOver, hostFacts, withHierarchies } from '../sys/probe.ts';

/** `--cgroup-parent` as a path below each hierarchy: '' for its root. It cannot lead out of it. */
export function parentPath(parent = ''): string {
  const path = posix.normalize(`/${parent}`).replace(/\/+$/, '');
  return path;
}

/** The path of a container's cgroup below each hierarchy. Without a parent that was asked for, no directory is shared with other
 *  containers: nobody has to agree on who removes it. */
export function cgroupsPath(id: string, parent?: string): string {
  return `${parentPath(parent)}/tsbox-${id}`;
}

/** The same for a container on disk, one whose files are damaged too: then in the root. */
export function containerCgroup(store: Store, id: string): string {
  let parent: string | undefined;
  try {
    parent = readHostConfig(store, id).CgroupParent;
  } catch {
    parent = undefined;
  }
  return cgroupsPath(id, parent);
}

const placeFile = (store: Store, id: string) => `${runDirectory(store, id)}/cgroup`;

/** Keeps where an ordinary user's container has its cgroup: it depends on where it was started, and whoever comes later may come from
 *  elsewhere. */
export function placeSteps(store: Store, id: string, { hierarchies }: HostFacts): Step[] {
  const [only] = hierarchies;
  if (only?.delegated !== true) return [];
  return [
    {
      op: 'write',
      path: placeFile(store, id),
      data: only.mount,
      flags: ['O_CREAT', 'O_TRUNC'],
      mode: 0o600,
      why: 'the cgroup around that of the container, for whoever comes later from another one',
    },
  ];
}

/** The host as far as a container that was started is concerned: its cgroups are in these hierarchies. The host's root has them where
 *  the host has them, and believes no file; so has root of a user namespace, who may as well act for a user whose file says more. */
export function containerFacts(store: Store, id: string): HostFacts {
  const facts = hostFacts();
  if (isHostRoot()) return facts;
  const place = readText(placeFile(store, id));
  if (place !== undefined && place !== '') return withHierarchies(facts, [handedOver(place)]);
  return facts.uid === 0 ? facts : withHierarchies(facts, []);
}

/** An ordinary user's process gets into the container's cgroup only from one that was handed over with it.
 *  @throws ERR_TSBOX_UNSUPPORTED with the command that starts tsbox there */
export function checkEntrance({ hierarchies }: HostFacts, id: string): void {
  const [only] = hierarchies;
  if (only?.delegated !== true) return;
  const unified = hostFacts('there').hierarchies.find((one) => one.version === 2);
  if (unified === undefined || mayEnter(unified.mount, only.mount)) return;
  const message = `enter the cgroup of ${shortId(id)}: nobody may move a process from here to ${only.mount}`;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message, {
    exitCode: 126,
    hint: `Start tsbox in a cgroup beside it, as the container was: ${IN_USER_SCOPE}`,
  });
}

/** Gathers what `judge` looks at. Changes nothing that stays. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PLAN_VERSION } from '../../plan/ops.ts';
import type { Step } from '../../plan/step.ts';
import type { DoctorFacts, Outcome } from '../../spec/doctor.ts';
import { builtFile } from '../../sys/built-file.ts';
import { ownCgroup } from '../../sys/delegation.ts';
import { executorVersion, readFacts } from '../../sys/doctor.ts';
import { idmapOutcome, makeDirectoryAt, removeTried, rootFacts } from '../../sys/doctor-root.ts';
import { hostFacts } from '../../sys/probe.ts';
import { randomHex } from '../../sys/random.ts';
import type { EngineOptions } from '../api.ts';
import { attempt, below, MOUNT, NAMESPACES, overlay, ownMounts, rootOfUserNamespace, USER_NAMESPACE } from './tries.ts';

type Try = (steps: readonly Step[], before?: readonly Step[]) => Promise<Outcome>;

const why = 'tsbox doctor tries it';

async function tryNamespaces(uid: number, attempt: Try): Promise<DoctorFacts['namespaces']> {
  const found: Record<string, Outcome> = {};
  for (const [name, steps] of Object.entries(NAMESPACES)) found[name] = await attempt(uid === 0 ? steps : below(steps));
  return found;
}

/** Overlays need directories on the file system where they will be. */
async function tryOverlay(at: string, uid: number, gid: number, attempt: Try): Promise<DoctorFacts['overlay']> {
  const directory = makeDirectoryAt(at);
  if (directory === undefined) return { mount: 'untried', inUserNamespace: 'untried' };
  try {
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(directory, name));
    const mount = uid === 0 ? await attempt([...ownMounts, ...overlay(directory, '')]) : 'untried';
    const inside = [...rootOfUserNamespace(uid, gid), ...overlay(directory, ',userxattr')];
    return { mount, inUserNamespace: await attempt(inside) };
  } finally {
    removeTried(directory);
  }
}

/** A cgroup is made and removed in each hierarchy; a process is born in the version 2 cgroup that the caller is in. */
async function tryCgroups(uid: number, attempt: Try): Promise<Pick<DoctorFacts['cgroups'], 'make' | 'birth'>> {
  const { hierarchies } = hostFacts('there');
  const unified = hierarchies.find((one) => one.version === 2);
  const own = unified === undefined ? undefined : ownCgroup(unified.mount);
  const usable = hostFacts().hierarchies;
  const name = `tsbox-doctor-${randomHex(6)}`;
  const places = uid === 0 || usable.length > 0 ? usable.map(({ mount }) => mount) : own === undefined ? [] : [own];
  const steps = places.flatMap((place): Step[] => [
    { op: 'mkdir', path: `${place}/${name}`, mode: 0o755, why },
    { op: 'rmdir', path: `${place}/${name}`, why, onError: { EBUSY: 'retry' } },
  ]);
  const make = places.length === 0 ? 'untried' : await attempt(steps);
  const birth =
    own === undefined || make !== 'ok' ? 'untried' : await attempt([], [{ op: 'birth_cgroup', path: own, why }]);
  return { make, birth };
}

/** @throws nothing: what cannot be found out is `untried` */
export async function gatherFacts({ dataRoot, runRoot }: EngineOptions): Promise<DoctorFacts> {
  const read = readFacts();
  const { uid } = read;
  const gid = process.getegid?.() ?? 0;
  const roots = { data: rootFacts(dataRoot), run: rootFacts(runRoot) };
  const path = builtFile('tsbox-executor');
  const version = path === undefined ? undefined : executorVersion(path);
  const executor = {
    expected: PLAN_VERSION,
    ...(path !== undefined && { path }),
    ...(version !== undefined && { version }),
  };
  const plans = mkdtempSync(join(tmpdir(), 'tsbox-doctor-'));
  const usable = version === PLAN_VERSION;
  const run: Try = (steps, before) =>
    usable ? attempt(join(plans, 'plan'), steps, before) : Promise.resolve('untried');
  try {
    return {
      ...read,
      roots,
      executor,
      namespaces: await tryNamespaces(uid, run),
      userNamespaces: { make: await run(USER_NAMESPACE), mount: await run([...rootOfUserNamespace(uid, gid), MOUNT]) },
      overlay: await tryOverlay(roots.data.at, uid, gid, run),
      idmappedMounts: uid === 0 ? idmapOutcome(roots.data.at) : 'untried',
      cgroups: { ...read.cgroups, ...(await tryCgroups(uid, run)) },
    };
  } finally {
    rmSync(plans, { recursive: true, force: true });
  }
}

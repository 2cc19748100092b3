/** The verbs: which file has which, and by what other spellings. Nothing is loaded before it is asked for. */
import type { Command } from './command.ts';

type Load = () => Promise<{ verb: Command }>;

/** By the shortest spelling: `ps`; `image prune` where Docker has no shorter one. */
export const VERBS: Readonly<Record<string, Load>> = {
  attach: () => import('./attach.ts'),
  commit: () => import('./commit.ts'),
  'container prune': () => import('./container-prune.ts'),
  cp: () => import('./cp.ts'),
  create: () => import('./create.ts'),
  diff: () => import('./diff.ts'),
  doctor: () => import('./doctor.ts'),
  events: () => import('./events.ts'),
  exec: () => import('./exec.ts'),
  export: () => import('./export.ts'),
  history: () => import('./history.ts'),
  'image prune': () => import('./image-prune.ts'),
  images: () => import('./images.ts'),
  import: () => import('./import.ts'),
  info: () => import('./info.ts'),
  inspect: () => import('./inspect.ts'),
  kill: () => import('./kill.ts'),
  load: () => import('./load.ts'),
  login: () => import('./login.ts'),
  logout: () => import('./logout.ts'),
  logs: () => import('./logs.ts'),
  'manifest inspect': () => import('./manifest-inspect.ts'),
  pause: () => import('./pause.ts'),
  ps: () => import('./ps.ts'),
  pull: () => import('./pull.ts'),
  push: () => import('./push.ts'),
  rename: () => import('./rename.ts'),
  restart: () => import('./restart.ts'),
  rm: () => import('./rm.ts'),
  rmi: () => import('./rmi.ts'),
  run: () => import('./run.ts'),
  save: () => import('./save.ts'),
  start: () => import('./start.ts'),
  stop: () => import('./stop.ts'),
  stats: () => import('./stats.ts'),
  'system after-exit': () => import('./after-exit.ts'),
  'system df': () => import('./system-df.ts'),
  'system prune': () => import('./system-prune.ts'),
  tag: () => import('./tag.ts'),
  unpause: () => import('./unpause.ts'),
  update: () => import('./update.ts'),
  version: () => import('./version.ts'),
  'volume create': () => import('./volume-create.ts'),
  'volume inspect': () => import('./volume-inspect.ts'),
  'volume ls': () => import('./volume-ls.ts'),
  'volume prune': () => import('./volume-prune.ts'),
  'volume rm': () => import('./volume-rm.ts'),
  wait: () => import('./wait.ts'),
};

/** Verbs that tsbox itself calls, for work that another process has to do. In no help. */
export const INTERNAL_VERBS: Readonly<Record<string, Load>> = {
  'volume-fill': () => import('./volume-fill.ts'),
  'volume-release': () => import('./volume-release.ts'),
};

/** The verbs as `tsbox --help` lists them: all that are one word. */
export const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'Common Commands': [
    'run',
    'exec',
    'ps',
    'pull',
    'push',
    'images',
    'login',
    'logout',
    'events',
    'info',
    'doctor',
    'version',
  ],
  'Container Commands': [
    'attach',
    'commit',
    'cp',
    'create',
    'diff',
    'export',
    'inspect',
    'kill',
    'logs',
    'pause',
    'rename',
    'restart',
    'rm',
    'start',
    'stats',
    'stop',
    'unpause',
    'update',
    'wait',
  ],
  'Image Commands': ['history', 'import', 'load', 'rmi', 'save', 'tag'],
};

/** The management commands as `tsbox --help` lists them: all that ALIASES has. */
export const MANAGEMENT: Readonly<Record<string, string>> = {
  container: "The container commands by Docker's longer names",
  image: "The image commands by Docker's longer names",
  manifest: 'What registries have: inspect',
  system: 'What is used and what can go: df, prune, info',
  volume: 'Directories that outlive their containers: create, inspect, ls, prune, rm',
};

/** Docker's management spellings: `tsbox container ls` is `tsbox ps`. */
export const ALIASES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  container: {
    attach: 'attach',
    commit: 'commit',
    cp: 'cp',
    create: 'create',
    diff: 'diff',
    exec: 'exec',
    export: 'export',
    inspect: 'inspect',
    kill: 'kill',
    logs: 'logs',
    ls: 'ps',
    list: 'ps',
    pause: 'pause',
    ps: 'ps',
    prune: 'container prune',
    rename: 'rename',
    restart: 'restart',
    rm: 'rm',
    remove: 'rm',
    run: 'run',
    start: 'start',
    stats: 'stats',
    stop: 'stop',
    unpause: 'unpause',
    update: 'update',
    wait: 'wait',
  },
  image: {
    history: 'history',
    import: 'import',
    inspect: 'inspect',
    load: 'load',
    ls: 'images',
    list: 'images',
    prune: 'image prune',
    pull: 'pull',
    push: 'push',
    rm: 'rmi',
    remove: 'rmi',
    save: 'save',
    tag: 'tag',
  },
  manifest: { inspect: 'manifest inspect' },
  system: {
    'after-exit': 'system after-exit',
    df: 'system df',
    doctor: 'doctor',
    events: 'events',
    info: 'info',
    prune: 'system prune',
  },
  volume: {
    create: 'volume create',
    inspect: 'volume inspect',
    ls: 'volume ls',
    list: 'volume ls',
    prune: 'volume prune',
    rm: 'volume rm',
    remove: 'volume rm',
  },
};

/** Verbs that Docker has and tsbox does not. */
export const UNSUPPORTED_VERBS: readonly string[] = (
  'build builder buildx checkpoint compose config context network node plugin port ' +
  'search secret service stack swarm top trust'
).split(' ');

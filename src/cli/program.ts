/** The command line as a function: finds the verb, runs it, gives the exit code. Loads nothing but the verb. */
import type { EngineOptions, UnpackLimits } from '../engine/api.ts';
import { checkCount, FLAG_ERROR, type FlagTable, type FlagValues, parseFlags, UsageError } from './args.ts';
import type { Command, Context } from './command.ts';
import { complain, OutputClosed, print, SIGPIPE_EXIT } from './output.ts';
import { ALIASES, INTERNAL_VERBS, UNSUPPORTED_VERBS, VERBS } from './verbs.ts';

/** What stands for an ordinary user's own directories, which are looked for when they are needed. */
const USER_ROOTS = { data: '~/.local/share/tsbox', run: '$XDG_RUNTIME_DIR/tsbox' } as const;
const isRoot = process.geteuid?.() === 0;

const GLOBAL_FLAGS = {
  bridge: {
    kind: 'string',
    help: "Interface that the default network gets when it is first needed, or 'none' for no such network (TSBOX_BRIDGE)",
    value: 'interface',
  },
  'data-root': { kind: 'string', help: 'Where images and containers are kept (TSBOX_ROOT)', default: '/var/lib/tsbox' },
  debug: { kind: 'bool', short: 'D', help: 'Print where in tsbox an error comes from' },
  'dry-run': { kind: 'bool', help: 'Of run and create: print the plan and change nothing' },
  explain: { kind: 'bool', help: 'Of run and start: print each step of the plan as it is run' },
  'max-layer-entries': {
    kind: 'string',
    help: 'Most files in a layer, 4000000 unless given (TSBOX_MAX_LAYER_ENTRIES)',
    value: 'n',
  },
  'max-layer-ratio': {
    kind: 'string',
    help: 'How many times its size a large layer may unpack to, 500 unless given (TSBOX_MAX_LAYER_RATIO)',
    value: 'n',
  },
  'max-layer-size': {
    kind: 'string',
    help: 'Most bytes that a layer may unpack to, 64g unless given (TSBOX_MAX_LAYER_SIZE)',
    value: 'bytes',
  },
  'registry-mirror': { kind: 'list', help: 'Registry that is asked before Docker Hub' },
  'run-root': {
    kind: 'string',
    help: 'Where running containers have their state (TSBOX_RUN_ROOT)',
    default: '/run/tsbox',
  },
  'storage-driver': {
    kind: 'string',
    help: 'overlay2 (of the kernel), fuse (from user space) or vfs (copies) instead of what this host can do (TSBOX_STORAGE_DRIVER)',
    value: 'driver',
  },
  'userns-remap': {
    kind: 'string',
    help: "User namespaces with the subordinate ids of user[:group], uid[:gid] or 'default' (TSBOX_USERNS_REMAP)",
    value: 'user',
  },
  version: { kind: 'bool', short: 'v', help: 'Print the version' },
} as const satisfies FlagTable;

const GLOBAL_GRAMMAR = {
  flags: withEnvironment(),
  unsupported: 'config context/c host/H log-level/l tls tlscacert tlscert tlskey tlsverify',
  stopAtArgument: true,
};

/** The environment's values are defaults: a flag outdoes them. */
function withEnvironment(): typeof GLOBAL_FLAGS {
  const given = (name: string, value: string | undefined) =>
    value === undefined || value === '' ? {} : { [name]: { ...GLOBAL_FLAGS[name as 'data-root'], default: value } };
  return {
    ...GLOBAL_FLAGS,
    ...given('data-root', process.env['TSBOX_ROOT'] || (isRoot ? '' : USER_ROOTS.data)),
    ...given('run-root', process.env['TSBOX_RUN_ROOT'] || (isRoot ? '' : USER_ROOTS.run)),
    ...given('bridge', process.env['TSBOX_BRIDGE']),
    ...given('storage-driver', process.env['TSBOX_STORAGE_DRIVER']),
    ...given('userns-remap', process.env['TSBOX_USERNS_REMAP']),
    ...given('max-layer-entries', process.env['TSBOX_MAX_LAYER_ENTRIES']),
    ...given('max-layer-ratio', process.env['TSBOX_MAX_LAYER_RATIO']),
    ...given('max-layer-size', process.env['TSBOX_MAX_LAYER_SIZE']),
  };
}

/** What a command line says: which verb, and with what. */
interface Call {
  /** As it was called: `ps`, `container ls`. */
  name: string;
  verb: string;
  argv: string[];
}

/** `tsbox ARGV...`. Prints what is to be printed, errors too. @returns the exit code */
export function program(argv: readonly string[]): Promise<number> {
  return dispatch(argv).catch((error: unknown) => failed(error, 1));
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const { help, values, args } = naming('tsbox', () => parseFlags(GLOBAL_GRAMMAR, argv));
  if (values.debug) (await import('./report.ts')).showStacks();
  if (values.version) return printVersion();
  if (help || args.length === 0) return printHelp();
  const call = await findVerb(args);
  if (call === undefined) return 0;
  for (const flag of ['explain', 'dry-run'] as const) if (values[flag]) call.argv.unshift(`--${flag}`);
  const { verb } = await (VERBS[call.verb] ?? INTERNAL_VERBS[call.verb])!();
  try {
    return await runVerb(call, verb, context(values));
  } catch (error) {
    return failed(error, verb.failure ?? 1);
  }
}

async function runVerb(call: Call, verb: Command, context: Context): Promise<number> {
  const name = `tsbox ${call.name}`;
  const { help, values, args } = naming(name, () => parseFlags(verb, call.argv));
  if (help) {
    const { commandHelp, helpWidth } = await import('./help.ts');
    print(commandHelp(call.name, verb, helpWidth()));
    return 0;
  }
  try {
    checkCount(name, args, ...verb.count);
    if (!isRoot) await withoutRoot(call, verb, values, context);
    return await verb.run(context, values, args);
  } catch (error) {
    if (error instanceof UsageError) error.command = name;
    throw error;
  }
}

/** What an ordinary user is told, once; and a verb for which he has to be root of a user namespace begins anew there. */
async function withoutRoot(call: Call, verb: Command, values: FlagValues<FlagTable>, context: Context): Promise<void> {
  const { ownsFiles = false } = verb;
  const owns = typeof ownsFiles === 'boolean' ? ownsFiles : ownsFiles(values);
  if (!owns && call.verb !== 'run' && call.verb !== 'create') return;
  const { enterUserNamespace, singleIdNotice } = await import('../engine/rootless.ts');
  const roots = await context.options();
  const notice = singleIdNotice(roots.dataRoot);
  if (notice !== undefined) complain(`WARNING: ${notice}\n`);
  if (owns) enterUserNamespace(roots);
}

/** A usage error says whose help to read. */
function naming<T>(command: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof UsageError) {
      error.command = command;
      throw misplaced(error, command);
    }
    throw error;
  }
}

/** A flag of tsbox itself behind the verb: say where it belongs. */
function misplaced(error: UsageError, command: string): UsageError {
  const name = /^unknown flag: --([\w-]+)$/.exec(error.message)?.[1];
  if (command === 'tsbox' || name === undefined || !Object.hasOwn(GLOBAL_FLAGS, name)) return error;
  const better = new UsageError(error.message, FLAG_ERROR, `--${name} stands before the command: tsbox --${name} ...`);
  better.command = command;
  return better;
}

/** @returns nothing when there was only help to print */
async function findVerb(args: readonly string[]): Promise<Call | undefined> {
  const [word = '', ...rest] = args;
  if (word === 'help') return rest.length === 0 ? void (await printHelp()) : findVerb([...rest, '--help']);
  const group = Object.hasOwn(ALIASES, word) ? ALIASES[word]! : undefined;
  if (group === undefined) {
    if (Object.hasOwn(VERBS, word) || Object.hasOwn(INTERNAL_VERBS, word))
      return { name: word, verb: word, argv: rest };
    if (UNSUPPORTED_VERBS.includes(word)) throw new UsageError(`${word}: not supported yet`, 1);
    throw new UsageError(`'${word}' is not a tsbox command.`, 1);
  }
  const [second = '--help', ...argv] = rest;
  if (second === '--help' || second === '-h') {
    print(await (await import('./help.ts')).groupHelp(word));
    return undefined;
  }
  const verb = Object.hasOwn(group, second) ? group[second]! : undefined;
  if (verb === undefined) {
    const known = UNSUPPORTED_VERBS.includes(second);
    throw new UsageError(
      known ? `${word} ${second}: not supported yet` : `'${word} ${second}' is not a tsbox command.`,
      1,
    );
  }
  return { name: `${word} ${second}`, verb, argv: verb === 'inspect' ? ['--type', word, ...argv] : argv };
}

type GlobalValues = FlagValues<typeof GLOBAL_FLAGS>;

function context(values: GlobalValues): Context {
  let engine: ReturnType<Context['engine']> | undefined;
  const options = async (): Promise<EngineOptions> => {
    const limits = await unpackLimits(values);
    const { bridge, 'storage-driver': storageDriver, 'userns-remap': remap } = values;
    return {
      ...(await roots(values)),
      registryMirrors: values['registry-mirror'],
      ...(limits !== undefined && { limits }),
      ...(bridge !== undefined && { bridge }),
      ...(storageDriver !== undefined && { storageDriver }),
      ...(remap !== undefined && { usernsRemap: remap }),
    };
  };
  const notice = (text: string) => complain(`tsbox: ${text}\n`);
  const open = async () => (await import('../engine/open.ts')).openEngine(await options(), notice);
  return { engine: () => (engine ??= open()), options };
}

async function roots(values: GlobalValues): Promise<{ dataRoot: string; runRoot: string }> {
  const { resolve } = await import('node:path');
  const { 'data-root': data, 'run-root': run } = values;
  if (isRoot) return { dataRoot: resolve(data), runRoot: resolve(run) };
  const { userDataRoot, userRunRoot } = await import('../engine/rootless.ts');
  return {
    dataRoot: data === USER_ROOTS.data ? userDataRoot(process.env) : resolve(data),
    runRoot: run === USER_ROOTS.run ? userRunRoot(process.env, process.geteuid?.() ?? 0) : resolve(run),
  };
}

/** Limits that are not the codec's own. */
async function unpackLimits(values: GlobalValues): Promise<UnpackLimits | undefined> {
  const { 'max-layer-size': bytes, 'max-layer-ratio': ratio, 'max-layer-entries': entries } = values;
  if (bytes === undefined && ratio === undefined && entries === undefined) return undefined;
  const { parseLimit } = await import('./limits.ts');
  return {
    ...(bytes !== undefined && { maxBytes: parseLimit('max-layer-size', bytes, true) }),
    ...(ratio !== undefined && { maxRatio: parseLimit('max-layer-ratio', ratio) }),
    ...(entries !== undefined && { maxEntries: parseLimit('max-layer-entries', entries) }),
  };
}

async function printHelp(): Promise<number> {
  const { helpWidth, mainHelp } = await import('./help.ts');
  print(await mainHelp(GLOBAL_GRAMMAR.flags, helpWidth()));
  return 0;
}

async function printVersion(): Promise<number> {
  const { VERSION } = await import('../engine/version.ts');
  print(`tsbox version ${VERSION}\n`);
  return 0;
}

/** Reports an error. @returns the exit code: the error's own, else `otherwise` */
async function failed(error: unknown, otherwise: number): Promise<number> {
  if (error instanceof OutputClosed) return SIGPIPE_EXIT;
  const { report } = await import('./report.ts');
  report(error);
  return (error as { exitCode?: number }).exitCode ?? otherwise;
}

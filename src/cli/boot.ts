/**
 * What dist/main.js is: starts the bundle with V8's code cache, so that the functions of a verb are there without being compiled.
 *
 * Node's own compile cache is written before anything has run and so lacks all functions that are called later. These are written
 * by the first call of a verb that ends well: 3 to 20 ms less for each one after it. The bundle's name holds its digest, for V8 compares
 * nothing but its length; another V8 rejects the cache, and the next call writes it anew.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Script } from 'node:vm';

/** The bundle's name without its ending; put in by scripts/build.ts. */
declare const TSBOX_BUNDLE: string;

const directory = import.meta.dirname;
const bundle = `${directory}/${TSBOX_BUNDLE}.cjs`;
/** As the build could make it. */
const built = `${directory}/${TSBOX_BUNDLE}.cache`;

function readCache(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Verbs that people and programs call again and again. One cache each: what a verb has no use for is only more to read, 4 us a KB. */
const FREQUENT = ['create', 'exec', 'images', 'inspect', 'kill', 'logs', 'ps', 'restart', 'rm', 'run', 'start', 'stop'];
/** Seconds. What takes longer has waited for an image, and compiled functions that the next call will hardly need. */
const LONG = 2;

/** Which of them `tsbox [OPTIONS] VERB ...` is, and not only its help. */
function frequentVerb([, , ...words]: readonly string[]): string | undefined {
  const at = words.findIndex((word) => FREQUENT.includes(word));
  const before = words.slice(0, Math.max(at, 0));
  const isFlag = (word: string | undefined) => word?.startsWith('-') === true;
  const flagsOnly = before.every((word, index) => isFlag(word) || isFlag(before[index - 1]) || word === 'container');
  return flagsOnly && !words.includes('--help') ? words[at] : undefined;
}

/** Networks are many functions that a run without them has no use for. A guess: it only chooses between two caches. */
function hasNetwork(words: readonly string[]): boolean {
  const flag = words.findIndex((word) => /^--net(work)?(=|$)/.test(word));
  const mode = flag === -1 ? process.env['TSBOX_BRIDGE'] : (words[flag]!.split('=')[1] ?? words[flag + 1]);
  return mode === undefined || !/^(none|host|container:.*)$/.test(mode);
}

/** Does nothing where it may not write. */
function writeCache(script: Script, path: string): void {
  const temporary = `${path}.${process.pid}.${process.hrtime.bigint()}`;
  try {
    writeFileSync(temporary, script.createCachedData(), { flag: 'wx', mode: 0o644 });
    renameSync(temporary, path);
  } catch {
    rmSync(temporary, { force: true });
  }
}

// latin1: the bundle is ASCII, and V8 keeps it as it is read.
const source = readFileSync(bundle, 'latin1');
const verb = frequentVerb(process.argv);
const kind = verb === 'run' && hasNetwork(process.argv) ? 'network' : verb;
const own = `${directory}/${TSBOX_BUNDLE}.${kind}.cache`;
const found = kind === undefined ? undefined : readCache(own);
const cachedData = found ?? readCache(built);
const script = new Script(source, { filename: bundle, ...(cachedData !== undefined && { cachedData }) });
if (kind !== undefined && (found === undefined || script.cachedDataRejected === true)) {
  process.on('exit', (code) => {
    if (code === 0 && process.uptime() < LONG) writeCache(script, own);
  });
}
script.runInThisContext()(import.meta.url);

/**
 * What dist/main.js is: starts the bundle with V8's code cache, so that the functions of a run are there without being compiled.
 *
 * Node's own compile cache is written before anything has run and so lacks all functions that are called later. This one is written
 * by the first run that ends well: 8 ms less for each run after it. The bundle's name holds its digest, for V8 compares nothing but
 * its length; another V8 rejects the cache, and the next run writes it anew.
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

/** Verbs that do what a run does, and so are quicker with its cache. For the others it is only more to read: 8 ms. */
const LIKE_RUN = ['run', 'create', 'start', 'restart', 'exec'];

/** Is this `tsbox [OPTIONS] VERB ...` with one of these verbs, and not only its help? */
function isOneOf(verbs: readonly string[], [, , ...words]: readonly string[]): boolean {
  const at = words.findIndex((word) => verbs.includes(word));
  const before = words.slice(0, Math.max(at, 0));
  const isFlag = (word: string | undefined) => word?.startsWith('-') === true;
  const flagsOnly = before.every((word, index) => isFlag(word) || isFlag(before[index - 1]) || word === 'container');
  return at >= 0 && flagsOnly && !words.includes('--help');
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
const afterRun = `${directory}/${TSBOX_BUNDLE}.${hasNetwork(process.argv) ? 'network' : 'run'}.cache`;
const found = isOneOf(LIKE_RUN, process.argv) ? readCache(afterRun) : undefined;
const cachedData = found ?? readCache(built);
const script = new Script(source, { filename: bundle, ...(cachedData !== undefined && { cachedData }) });
if ((found === undefined || script.cachedDataRejected === true) && isOneOf(['run'], process.argv)) {
  process.on('exit', (code) => {
    if (code === 0) writeCache(script, afterRun);
  });
}
script.runInThisContext()(import.meta.url);

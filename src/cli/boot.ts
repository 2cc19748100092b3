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
/** After a run, and as the build could make it. */
const caches = [`${directory}/${TSBOX_BUNDLE}.run.cache`, `${directory}/${TSBOX_BUNDLE}.cache`] as const;

function readCache(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Is this `tsbox [OPTIONS] run ...`, and not only its help? */
function isRun([, , ...words]: readonly string[]): boolean {
  const at = words.indexOf('run');
  const before = words.slice(0, Math.max(at, 0));
  const isFlag = (word: string | undefined) => word?.startsWith('-') === true;
  const flagsOnly = before.every((word, index) => isFlag(word) || isFlag(before[index - 1]) || word === 'container');
  return at >= 0 && flagsOnly && !words.includes('--help');
}

/** Does nothing where it may not write. */
function writeCache(script: Script): void {
  const temporary = `${caches[0]}.${process.pid}.${process.hrtime.bigint()}`;
  try {
    writeFileSync(temporary, script.createCachedData(), { flag: 'wx', mode: 0o644 });
    renameSync(temporary, caches[0]);
  } catch {
    rmSync(temporary, { force: true });
  }
}

// latin1: the bundle is ASCII, and V8 keeps it as it is read.
const source = readFileSync(bundle, 'latin1');
const afterRun = readCache(caches[0]);
const cachedData = afterRun ?? readCache(caches[1]);
const script = new Script(source, { filename: bundle, ...(cachedData !== undefined && { cachedData }) });
if ((afterRun === undefined || script.cachedDataRejected === true) && isRun(process.argv)) {
  process.on('exit', (code) => {
    if (code === 0) writeCache(script);
  });
}
script.runInThisContext()(import.meta.url);

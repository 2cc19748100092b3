/** Imports go down only. The table is docs/ARCHITECTURE.md's; a new arrow is drawn there first. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'node:test';

const SOURCE = resolve(import.meta.dirname, '../../src');

/** Folder, and the folders that it may import from besides itself and errors.ts. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  cli: ['engine', 'runtime', 'spec'],
  engine: ['registry', 'store', 'network', 'runtime', 'layer', 'plan', 'sys', 'spec'],
  runtime: ['plan', 'sys', 'spec'],
  network: ['plan', 'sys', 'spec'],
  store: ['layer', 'plan', 'sys', 'spec'],
  layer: ['sys', 'spec'],
  registry: ['spec'],
  union: ['sys', 'spec'],
  plan: ['spec'],
  sys: ['spec'],
  spec: [],
};

/** Single files that may be imported although their folder may not: printing a plan, and the caller's own terminal. */
const ALSO: Record<string, readonly string[]> = {
  cli: ['plan/explain.ts', 'sys/terminal.ts'],
};

/** Arrows that types may take and code may not: no line of them is left when the program runs. */
const TYPES_ONLY: Record<string, readonly string[]> = {
  cli: ['plan'],
};

/** Packages, and who may import them. Whatever is not here is not imported. */
const PACKAGES: Record<string, readonly string[]> = {
  valibot: ['spec', 'registry', 'store', 'runtime', 'engine'],
};

/** Built-in modules that would give a pure folder eyes and hands. */
const PURE: Record<string, readonly string[]> = {
  spec: ['node:path', 'node:util'],
  plan: ['node:path', 'node:util'],
};

/** What reaches outside without an import. `process` alone does not tell: it is also a part of an OCI configuration. */
const GLOBALS =
  /\bprocess\.(argv|cwd\(|env[.[]|exit|get[a-z]+\(|hrtime|kill|on|once|pid|platform|ppid|std\w+|umask\()|\b(console|globalThis|Atomics)\.|\bfetch\(|\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(/;

interface Import {
  file: string;
  folder: string;
  specifier: string;
  typeOnly: boolean;
  text: string;
}

const IMPORT = /(?:^|\n)\s*(import|export)\s+(type\s+)?([^'";]*?\bfrom\s*)?'([^']+)'|\bimport\('([^']+)'\)/g;

/** Source without comments: what a comment names is not an import. Strings stay as they are. */
const withoutComments = (source: string) => source.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '$1');

function importsOf(path: string): Import[] {
  const file = relative(SOURCE, path);
  const source = withoutComments(readFileSync(path, 'utf8'));
  return [...source.matchAll(IMPORT)].map((match) => ({
    file,
    folder: file.includes('/') ? file.slice(0, file.indexOf('/')) : '',
    specifier: (match[4] ?? match[5])!,
    typeOnly: match[2] !== undefined || /^\{(\s*type\s+\w+( as \w+)?\s*,?)+\s*\}\s*from/.test(match[3] ?? ''),
    text: match[0].trim(),
  }));
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const imports = files.flatMap((name) => importsOf(join(SOURCE, name)));

/** Why an import between two files of the project is not allowed; nothing when it is. */
export function complaint({ file, folder, specifier, typeOnly }: Import): string | undefined {
  const target = relative(SOURCE, resolve(SOURCE, dirname(file), specifier));
  if (target.startsWith('..')) return `${file} leaves src/: ${specifier}`;
  const to = target.includes('/') ? target.slice(0, target.indexOf('/')) : '';
  if (to === '' && target === 'errors.ts') return undefined;
  if (folder === '') return file === 'errors.ts' ? `errors.ts imports ${target}; it imports nothing` : undefined;
  if (to === folder || MAY_IMPORT[folder]?.includes(to) || ALSO[folder]?.includes(target)) return undefined;
  if (typeOnly && TYPES_ONLY[folder]?.includes(to)) return undefined;
  return `${file} imports ${target}: ${folder} may not know ${to === '' ? target : to}`;
}

test('layers: imports go down only', () => {
  const complaints = imports.filter(({ specifier }) => specifier.startsWith('.')).map(complaint);
  assert.deepEqual(
    complaints.filter((line) => line !== undefined),
    [],
  );
});

test('layers: every folder is in the table, and none is a drawer for everything', () => {
  const folders = readdirSync(SOURCE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of folders) assert.ok(name in MAY_IMPORT, `src/${name} is not in the table`);
  for (const name of files) assert.doesNotMatch(name, /(^|\/)(utils?|helpers|misc|common)([/.]|$)/);
});

test('layers: packages from npm are imported only where the table says', () => {
  const complaints = imports
    .filter(({ specifier }) => !specifier.startsWith('.') && !isBuiltin(specifier))
    .filter(({ specifier, folder }) => !PACKAGES[specifier]?.includes(folder))
    .map(({ file, specifier }) => `${file}: ${specifier}`);
  assert.deepEqual(complaints, []);
});

test('layers: built-in modules are imported by their node: names', () => {
  const bare = imports.filter(({ specifier }) => isBuiltin(specifier) && !specifier.startsWith('node:'));
  assert.deepEqual(bare, []);
});

test('layers: spec and plan do no input or output and know no process', () => {
  const complaints = imports
    .filter(({ folder, specifier }) => folder in PURE && isBuiltin(specifier) && !PURE[folder]!.includes(specifier))
    .map(({ file, specifier }) => `${file}: ${specifier}`);
  for (const name of files.filter((path) => /^(spec|plan)\//.test(path))) {
    const found = GLOBALS.exec(withoutComments(readFileSync(join(SOURCE, name), 'utf8')));
    if (found !== null) complaints.push(`${name}: ${found[0]}`);
  }
  assert.deepEqual(complaints, []);
});

test('layers: only cli ends the process or writes to its streams', () => {
  const complaints = files.filter((path) => {
    if (path.startsWith('cli/') || path.startsWith('union/') || path === 'engine/timing.ts') return false;
    return /\bprocess\.(exit\(|exitCode|stdout|stderr)|\bconsole\./.test(
      withoutComments(readFileSync(join(SOURCE, path), 'utf8')),
    );
  });
  assert.deepEqual(complaints, []);
});

/** Files that are loaded with this one, at once. */
function loadedWith(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const { specifier, typeOnly, text } of imports.filter((one) => one.file === file)) {
    const isLater = text.startsWith('import(') || !/^(import|export)\b/.test(text);
    if (!typeOnly && !isLater && specifier.startsWith('.')) {
      loadedWith(relative(SOURCE, resolve(SOURCE, dirname(file), specifier)), found);
    }
  }
  return found;
}

test('layers: what every verb loads does without node:crypto, which takes longer to load than all of it', () => {
  const loaded = ['engine/open.ts', 'engine/list.ts', 'engine/images.ts', 'engine/start.ts', 'engine/exec.ts'];
  const all = new Set(loaded.flatMap((file) => [...loadedWith(file)]));
  assert.ok(all.has('store/chain.ts') && all.size > 30, `${all.size}`);
  const asking = imports.filter(({ file, specifier, text }) => {
    return all.has(file) && specifier === 'node:crypto' && !text.startsWith('import(');
  });
  assert.deepEqual(
    asking.map(({ file }) => file),
    [],
  );
});

test('layers: the test itself tells an import that goes up', () => {
  const up = { file: 'store/images.ts', folder: 'store', specifier: '../registry/pull.ts', typeOnly: false, text: '' };
  assert.match(complaint(up) ?? '', /store may not know registry/);
  assert.match(complaint({ ...up, specifier: '../../test/x.ts' }) ?? '', /leaves src/);
  assert.equal(complaint({ ...up, specifier: '../layer/read.ts' }), undefined);
  const types = { ...up, file: 'cli/run.ts', folder: 'cli', specifier: '../plan/step.ts' };
  assert.equal(complaint({ ...types, typeOnly: true }), undefined);
  assert.notEqual(complaint(types), undefined);
});

/**
 * Bundles src/ into dist/: `main.js`, which is src/cli/boot.ts, `tsbox-<digest>.cjs`, which is all the rest, and its map, which only
 * reports of errors read; and `union.js`, a program of its own. Run by `make build`.
 *
 * One bundle, not one for each verb: a run would open forty files, and with the code cache a part that is not used costs nothing.
 * `main.js` is replaced last and the files of earlier builds go after that, so that a tsbox that starts meanwhile finds a whole one.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

/**
 * Built-in modules by `process.getBuiltinModule`: an import of `node:fs` or `node:crypto` makes Node read all of their properties, and
 * so load the parts behind those that are loaded late (streams, promises, web crypto). That is 8 of the 17 ms of a small verb.
 * What is imported by name is read by name; what is loaded with `import()` comes as the module itself.
 */
const builtins: Plugin = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, kind }) => ({
      path,
      namespace: kind === 'dynamic-import' ? 'builtin-whole' : 'builtin-names',
      sideEffects: false,
    }));
    onLoad({ filter: /.*/, namespace: 'builtin-whole' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
    onLoad({ filter: /.*/, namespace: 'builtin-names' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default');
      const exports = names.map((name) => `export const ${name} = /* @__PURE__ */ get(${JSON.stringify(name)});`);
      const contents = [
        `const builtin = /* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(path)});`,
        'const get = (name) => builtin[name];',
        ...exports,
        'export default builtin;',
      ];
      return { contents: contents.join('\n') };
    });
  },
};

/** Esbuild leaves regular expressions as they are. There, as in strings, a character may stand by its number. */
function ascii(text: string): string {
  return text.replace(/[^\x00-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** One script, no module: only a script takes a code cache, and Node starts one sooner. The text is ASCII, which boot.ts counts on. */
async function bundle(entry: string, options: BuildOptions): Promise<{ text: string; map: string }> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: dist,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    charset: 'ascii',
    minify: true,
    sourcemap: 'external',
    sourcesContent: false,
    legalComments: 'none',
    logLevel: 'warning',
    plugins: [builtins],
    ...options,
    write: false,
  });
  const text = (ending: string) => outputFiles!.find(({ path }) => path.endsWith(ending))!.text;
  return { text: ascii(text('.js')), map: text('.map') };
}

function place(name: string, contents: string | Uint8Array): void {
  const path = join(dist, name);
  writeFileSync(`${path}.new`, contents);
  renameSync(`${path}.new`, path);
}

// boot.ts calls it with the URL that import.meta.url stands for.
const { text: source, map } = await bundle('src/cli/main.ts', {
  banner: { js: '(function(TSBOX_URL){' },
  footer: { js: '})' },
  define: { 'import.meta.url': 'TSBOX_URL' },
});
const name = `tsbox-${createHash('sha256').update(source).digest('hex').slice(0, 12)}`;
const main = await bundle('src/cli/boot.ts', {
  banner: { js: 'const TSBOX_URL = require("node:url").pathToFileURL(__filename).href;' },
  define: { 'import.meta.url': 'TSBOX_URL', 'import.meta.dirname': '__dirname', TSBOX_BUNDLE: JSON.stringify(name) },
});
const union = await bundle('src/union/main.ts', {
  banner: { js: 'const TSBOX_URL = require("node:url").pathToFileURL(__filename).href;' },
  define: { 'import.meta.url': 'TSBOX_URL' },
});

mkdirSync(dist, { recursive: true });
place('union.js', union.text);
place(`${name}.cjs`, source);
place(`${name}.map`, map);
place(`${name}.cache`, new Script(source, { filename: join(dist, `${name}.cjs`) }).createCachedData());
place('package.json', '{ "type": "commonjs" }\n');
place('main.js', main.text);
for (const old of readdirSync(dist)) {
  if (!['main.js', 'union.js', 'package.json'].includes(old) && !old.startsWith(name)) rmSync(join(dist, old), { recursive: true });
}

/**
 * Two layers that are deeper than files may be open and than a path is long, their copy, and what it has changed. A program, for a limit of
 * its own: `layer-deep.ts DIRECTORY DEPTH`. It prints what it finds.
 */
import { linkSync, mkdirSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { compareTree } from '../../src/layer/compare.ts';
import { copyMerged } from '../../src/layer/copy-merged.ts';

const [directory = '', depth = ''] = process.argv.slice(2);
const DEPTH = Number(depth);
const roots = ['high', 'low', 'tree'].map((name) => `${directory}/${name}`) as [string, string, string];

/** Runs `work` in each directory on the way down, and stays at the end. */
function descend(root: string, work: (level: number) => void): void {
  process.chdir(root);
  for (let level = 1; level <= DEPTH; level++) {
    work(level);
    process.chdir('d');
  }
}

for (const root of roots) mkdirSync(root);
const [high, low, tree] = roots;
// Two names of a file, one of them where no path leads.
writeFileSync(`${low}/z`, 'both');
linkSync(`${low}/z`, `${low}/y`);
descend(low, (level) => {
  mkdirSync('d');
  if (level % 100 === 0) writeFileSync('of low', '');
  renameSync('y', 'd/y');
});
descend(high, (level) => {
  mkdirSync('d');
  if (level % 100 === 0) writeFileSync('of high', '');
});

let names = 0;
for (const _ of copyMerged([high, low], tree, { form: 'overlay-user' })) names++;
const differences = () =>
  [...compareTree(tree, [high, low], { form: 'overlay-user' })].filter(({ kind }) => kind !== '=');
const first = differences();
descend(tree, () => {});
const links = statSync('y').ino === statSync(`${tree}/z`).ino;
unlinkSync('y');
writeFileSync('new', '');
const told = differences().map(({ kind, path }) => `${kind} ${path.length} ${path.slice(-4)}`);
process.stdout.write(JSON.stringify({ names, first, links, told }));

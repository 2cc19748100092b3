/** `images --tree`: layers and the images on them. Pure. */
import type { ImageSummary } from '../engine/api.ts';
import type { LayerNode, LayerTree } from '../engine/layer-tree.ts';
import { ellipsis, humanSize, shortId } from './human.ts';
import { tableText } from './table.ts';

const COMMAND_LENGTH = 45;

/** What stands together at one depth: layers that no image and no branch separates, then what stands on the last of them. */
interface Group {
  layers: LayerNode[];
  image?: ImageSummary;
}

/** The tree as a table, and what the sharing saves. @param whole ids and commands in full */
export function treeText({ bases, empty }: LayerTree, whole: boolean): string {
  const rows = [['LAYERS AND IMAGES', 'IMAGE ID', 'SIZE', 'SHARED BY', 'CREATED BY']];
  const top: Group[] = [...empty.map((image) => ({ layers: [], image })), ...bases.map(groupFrom)];
  for (const group of top) addGroup(rows, group, ['', ''], whole);
  return `${tableText(rows).replace(/ +$/gm, '')}\n${summary({ bases, empty })}`;
}

function groupFrom(node: LayerNode): Group {
  const layers = [node];
  for (let last = node; last.images.length === 0 && last.above.length === 1; layers.push(last)) last = last.above[0]!;
  return { layers };
}

/** @param lead what stands before the group's first row, and before those below it */
function addGroup(rows: string[][], { layers, image }: Group, lead: [string, string], whole: boolean): void {
  const [first, rest] = lead;
  if (image !== undefined) rows.push(imageRow(image, first, whole));
  for (const [index, layer] of layers.entries()) rows.push(layerRow(layer, index === 0 ? first : rest, whole));
  const last = layers.at(-1);
  if (last === undefined) return;
  const inner: Group[] = [...last.images.map((each) => ({ layers: [], image: each })), ...last.above.map(groupFrom)];
  for (const [index, group] of inner.entries()) {
    const isLast = index === inner.length - 1;
    addGroup(rows, group, [`${rest}${isLast ? '└─ ' : '├─ '}`, `${rest}${isLast ? '   ' : '│  '}`], whole);
  }
}

function layerRow({ chainId, size, users, createdBy }: LayerNode, lead: string, whole: boolean): string[] {
  const command = createdBy.replace(/\s+/g, ' ');
  return [
    `${lead}layer ${whole ? chainId : shortId(chainId)}`,
    '',
    humanSize(size, 3),
    users > 1 ? `${users} images` : '',
    whole ? command : ellipsis(command, COMMAND_LENGTH),
  ];
}

function imageRow({ id, tags, digests, size }: ImageSummary, lead: string, whole: boolean): string[] {
  const names = tags.length > 0 ? tags : digests;
  return [`${lead}${names.join(', ') || '<none>'}`, whole ? id : shortId(id), humanSize(size, 3), '', ''];
}

function summary({ bases, empty }: LayerTree): string {
  const sum = { images: empty.length, layers: 0, stored: 0, apart: 0 };
  const add = (node: LayerNode): void => {
    sum.images += node.images.length;
    sum.layers++;
    sum.stored += node.size;
    sum.apart += node.size * node.users;
    node.above.forEach(add);
  };
  bases.forEach(add);
  const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`;
  const stored = `${count(sum.images, 'image')} of ${count(sum.layers, 'layer')} take ${humanSize(sum.stored)}`;
  return sum.apart === sum.stored
    ? `${stored}.\n`
    : `${stored}; without sharing it would be ${humanSize(sum.apart)}.\n`;
}

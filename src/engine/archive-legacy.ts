/**
 * Archives from before Docker 1.10: `repositories` names the top layer of each image, a directory `<id>/{VERSION,json,layer.tar}` has each
 * layer with its own configuration and its parent. The config that the image's id is made of is put together from those, as Docker does.
 * @see moby image/spec/v1.md
 */
import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { decompress } from '../layer/decompress.ts';
import { goTime } from '../spec/go-time.ts';
import { escapeAsGo, parseUntrustedJson } from '../spec/json.ts';
import type { UnpackLimits } from './api.ts';
import { archivedReference } from './archive-docker.ts';
import type { Archive } from './archive-read.ts';
import { type ArchivedImage, joinLayers, LARGEST_DOCUMENT } from './image-archive.ts';
import { MOST_LAYERS } from './install-layers.ts';

const repositoriesSchema = v.record(v.string(), v.record(v.string(), v.string()));
const text = v.nullish(v.string(), '');
const layerSchema = v.looseObject({
  parent: text,
  created: v.nullish(v.string(), '0001-01-01T00:00:00Z'),
  author: text,
  comment: text,
  container_config: v.nullish(v.looseObject({ Cmd: v.nullish(v.array(v.string()), []) })),
});

interface LegacyLayer {
  /** Its directory. */
  id: string;
  /** All that its json says, as it says it. */
  fields: object;
  checked: v.InferOutput<typeof layerSchema>;
}

function parse<Schema extends v.GenericSchema>(schema: Schema, value: unknown, what: string): v.InferOutput<Schema> {
  if (Array.isArray(value)) throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: a list where an object was expected`);
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: ${v.getDotPath(issue) ?? 'document'}: ${issue.message}`);
}

/** The layers from the base to `top`. */
async function readChain(archive: Archive, top: string, what: string): Promise<LegacyLayer[]> {
  const chain: LegacyLayer[] = [];
  for (let id = top; id !== ''; id = chain[0]!.checked.parent ?? '') {
    if (!/^[0-9a-f]{64}$/.test(id)) throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: invalid layer id`);
    if (chain.some((layer) => layer.id === id)) {
      throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: layer ${id} is its own parent`);
    }
    if (chain.length === MOST_LAYERS) {
      throw new TsboxError('ERR_TSBOX_LIMIT', `${what}: more than ${MOST_LAYERS} layers`);
    }
    const path = `${id}/json`;
    const fields = parseUntrustedJson(await archive.document(path, LARGEST_DOCUMENT), `${what}: ${path}`);
    chain.unshift({ id, fields: fields as object, checked: parse(layerSchema, fields, `${what}: ${path}`) });
  }
  return chain;
}

async function diffIdOf(archive: Archive, path: string, limits: UnpackLimits | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of decompress(archive.stream(path), limits)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** Fields that belong to the old form only. */
const DROPPED = ['id', 'parent', 'parent_id', 'layer_id', 'Size', 'throwaway'];

/** The same bytes as Docker makes, so that the image has the same id: names in order, times and `<>&` as Go writes them. */
function configOf(chain: readonly LegacyLayer[], diffIds: readonly string[]): Buffer {
  const history = chain.map(({ checked: { created, author, comment, container_config: container } }) => {
    const createdBy = (container?.Cmd ?? []).join(' ');
    return {
      created: goTime(created ?? ''),
      ...(author ? { author } : {}),
      ...(createdBy ? { created_by: createdBy } : {}),
      ...(comment ? { comment } : {}),
    };
  });
  const own = Object.entries(chain.at(-1)!.fields).filter(([name]) => !DROPPED.includes(name));
  const fields = Object.entries({ ...Object.fromEntries(own), history, rootfs: { type: 'layers', diff_ids: diffIds } });
  return Buffer.from(escapeAsGo(JSON.stringify(Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1))))));
}

/** @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT */
export async function readLegacyArchive(archive: Archive, limits?: UnpackLimits): Promise<ArchivedImage[]> {
  const what = `load ${archive.name}`;
  const bytes = await archive.document('repositories', LARGEST_DOCUMENT);
  const images = new Map<string, ArchivedImage>();
  const repositories = parseUntrustedJson(bytes, `${what}: repositories`);
  for (const [repository, tags] of Object.entries(parse(repositoriesSchema, repositories, `${what}: repositories`))) {
    for (const [tag, id] of Object.entries(tags)) {
      let image = images.get(id);
      if (image === undefined) {
        const chain = await readChain(archive, id, what);
        const paths = chain.map((layer) => `${layer.id}/layer.tar`);
        const diffIds: string[] = [];
        for (const path of paths) diffIds.push(await diffIdOf(archive, path, limits));
        const layers = paths.map((path) => ({ size: archive.size(path), open: () => archive.stream(path) }));
        image = { ...joinLayers(what, configOf(chain, diffIds), layers), references: [] };
        images.set(id, image);
      }
      image.references.push(archivedReference(`${repository}:${tag}`, what));
    }
  }
  return [...images.values()];
}

/** Archives of `docker save` since version 1.10: manifest.json names a config and layers for each image. */
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import { verifyDocument } from '../registry/verify.ts';
import { parseUntrustedJson } from '../spec/json.ts';
import { parseReference, type Reference } from '../spec/reference.ts';
import type { Archive } from './archive-read.ts';
import { type ArchivedImage, joinLayers, LARGEST_DOCUMENT } from './image-archive.ts';

const texts = v.nullish(v.array(v.string()), []);
const manifestSchema = v.array(v.looseObject({ Config: v.string(), RepoTags: texts, Layers: texts }));
/** There the file of this name is the image's manifest as a registry has it. */
const dirSchema = v.looseObject({ schemaVersion: v.number() });

/** Names that stand in an archive. @throws ERR_TSBOX_DAMAGED when one is no image name with a tag */
export function archivedReference(text: string, what: string): Reference {
  try {
    const reference = parseReference(text);
    if (reference.tag !== undefined) return reference;
  } catch (cause) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: invalid tag ${JSON.stringify(text.slice(0, 200))}`, { cause });
  }
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: invalid tag ${JSON.stringify(text.slice(0, 200))}`);
}

/** A config is named after its digest: `<hex>.json`, or `blobs/sha256/<hex>` in newer archives. */
function verifyName(path: string, bytes: Buffer, what: string): void {
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
  if (hex !== undefined)
    verifyDocument(bytes, { digest: `sha256:${hex}`, size: bytes.length }, `${what}: config ${path}`);
}

/** @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_LIMIT */
export async function readDockerArchive(archive: Archive): Promise<ArchivedImage[]> {
  const what = `load ${archive.name}`;
  const document = parseUntrustedJson(
    await archive.document('manifest.json', LARGEST_DOCUMENT),
    `${what}: manifest.json`,
  );
  if (v.is(dirSchema, document)) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `${what}: the dir form of skopeo and podman`, {
      hint: 'Make an OCI layout of it: skopeo copy dir:DIRECTORY oci:LAYOUT:NAME, or podman save --format oci-dir.',
    });
  }
  const parsed = v.safeParse(manifestSchema, document);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new TsboxError(
      'ERR_TSBOX_DAMAGED',
      `${what}: manifest.json: ${v.getDotPath(issue) ?? 'document'}: ${issue.message}`,
    );
  }
  const images: ArchivedImage[] = [];
  for (const { Config: path, RepoTags: tags, Layers: paths } of parsed.output) {
    const config = await archive.document(path, LARGEST_DOCUMENT);
    verifyName(path, config, what);
    const layers = (paths ?? []).map((layer) => ({ size: archive.size(layer), open: () => archive.stream(layer) }));
    const references = (tags ?? []).map((tag) => archivedReference(tag, what));
    images.push({ ...joinLayers(`${what}: config ${path}`, config, layers), references });
  }
  return images;
}

/** A registry in this process for one image, which answers as a test wants it to. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { blobOf, configOf, descriptorOf, OCI } from '../unit/engine-archives.ts';

export type Blob = ReturnType<typeof blobOf>;

export interface Image {
  blobs: Map<string, Blob>;
  manifest: Blob;
  layers: Blob[];
}

/** An image of these layers. @param compressed the layers as the registry has them */
export function image(
  plain: readonly Buffer[],
  compressed: readonly Buffer[] = plain,
  config = configOf(plain),
): Image {
  const type = (bytes: Buffer) => OCI.layer + (bytes[0] === 0x1f ? '+gzip' : bytes[0] === 0x28 ? '+zstd' : '');
  const own = blobOf(OCI.config, config);
  const blobs = compressed.map((bytes) => blobOf(type(bytes), bytes));
  const manifest = blobOf(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(own),
    layers: blobs.map(descriptorOf),
  });
  return { blobs: new Map([own, manifest, ...blobs].map((blob) => [blob.digest, blob])), manifest, layers: blobs };
}

export type Answer = (blob: Blob, response: ServerResponse, request: IncomingMessage) => void;

/** A registry for one image; `answers` by digest replace what it would say. */
export function registry({ blobs, manifest }: Image, answers: Map<string, Answer> = new Map()): RequestListener {
  return (request, response) => {
    const [, kind, name = ''] =
      /\/(manifests|blobs|tags)\/([^/]+)$/.exec(new URL(request.url ?? '', 'http://x').pathname) ?? [];
    if (kind === undefined) return void response.writeHead(200).end('{}');
    if (kind === 'tags') return void response.end('{"tags":["1","2"]}');
    const blob = kind === 'manifests' && !name.startsWith('sha256:') ? manifest : blobs.get(name);
    if (blob === undefined) return void response.writeHead(404).end('{}');
    const answer = answers.get(blob.digest);
    if (answer !== undefined) return answer(blob, response, request);
    response.writeHead(200, { 'content-type': blob.mediaType, 'content-length': blob.size }).end(blob.bytes);
  };
}

/**
 * Image references by Docker's grammar: `[domain[:port]/]path[:tag][@digest]`, where a short name stands for one on Docker Hub:
 * `ubuntu` is `docker.io/library/ubuntu:latest`. @see github.com/distribution/reference, the grammar at the top of reference.go
 */
import { TsboxError } from '../errors.ts';
import { digestFault } from './digest.ts';

/** A full name: nothing is implied, except that tag and digest may be absent. */
export interface Reference {
  /** Host with port where given: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  domain: string;
  /** `library/ubuntu` */
  path: string;
  tag?: string;
  digest?: string;
}

export const DEFAULT_DOMAIN = 'docker.io';
export const DEFAULT_TAG = 'latest';
const OFFICIAL = 'library/';
const LONGEST_PATH = 255;
/** Domain, path, tag and digest at their longest fit in less; nothing longer is looked at. */
const LONGEST_TEXT = 2048;

const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;

function invalid(text: string, reason = 'invalid reference format'): TsboxError {
  return new TsboxError('ERR_TSBOX_SPEC', reason, {
    hint: `"${text.slice(0, 200)}" is not an image name. An image name looks like NAME, NAME:TAG, HOST:PORT/NAME or NAME@sha256:DIGEST.`,
  });
}

/** Is `text` allowed after the colon of a name? */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The domain is what stands before the first slash, if it can be a host: it has a dot or a port, is `localhost`, or has a capital. */
function splitDomain(name: string): { domain: string; rest: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash > 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  let domain = isHost ? first : DEFAULT_DOMAIN;
  let rest = isHost ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !rest.includes('/')) rest = OFFICIAL + rest;
  return { domain, rest };
}

/** Reads a reference and adds the domain that is implied, but no tag: for `pull -a NAME` and for `images NAME`.
 *  @throws ERR_TSBOX_SPEC with Docker's message, among them for 64 hexadecimal digits, which could be an image's id */
export function parseNamed(text: string): Reference {
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw invalid(text, `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  if (text.length > LONGEST_TEXT) throw invalid(text);
  const { domain, rest } = splitDomain(text);
  const lowered = rest.includes(':') ? rest.slice(0, rest.indexOf(':')) : rest;
  if (lowered !== lowered.toLowerCase()) {
    throw invalid(text, `invalid reference format: repository name (${lowered}) must be lowercase`);
  }
  const at = rest.indexOf('@');
  const named = at < 0 ? rest : rest.slice(0, at);
  const colon = named.indexOf(':');
  const path = colon < 0 ? named : named.slice(0, colon);
  const reference: Reference = { domain, path };
  if (!DOMAIN.test(domain) || !PATH.test(path)) throw invalid(text);
  if (colon >= 0) {
    reference.tag = named.slice(colon + 1);
    if (!TAG.test(reference.tag)) throw invalid(text);
  }
  if (at >= 0) reference.digest = checkedDigest(text, rest.slice(at + 1));
  if (path.length > LONGEST_PATH) {
    throw invalid(text, `repository name must not be more than ${LONGEST_PATH} characters`);
  }
  return reference;
}

function checkedDigest(text: string, digest: string): string {
  if (!DIGEST.test(digest)) throw invalid(text);
  const fault = digestFault(digest);
  if (fault !== undefined) throw invalid(text, fault);
  return digest;
}

/** Reads a reference; where neither tag nor digest is given, the tag is `latest`.
 *  @throws ERR_TSBOX_SPEC with Docker's message */
export function parseReference(text: string): Reference {
  const reference = parseNamed(text);
  if (reference.tag === undefined && reference.digest === undefined) reference.tag = DEFAULT_TAG;
  return reference;
}

/** A name that an image is to get. @throws as {@link parseReference}; ERR_TSBOX_USAGE, in Docker's words, for one that could not be told
 *  from a digest */
export function parseNewName(text: string): Reference {
  const reference = parseReference(text);
  const refuse = (what: string) => new TsboxError('ERR_TSBOX_USAGE', `refusing to create ${what}`);
  if (reference.digest !== undefined) throw refuse('a tag with a digest reference');
  if (familiarName(reference) !== 'sha256') return reference;
  throw refuse('an ambiguous tag using digest algorithm as name');
}

/** The name as people write it, without tag and digest: `ubuntu`, `someone/tool`, `localhost:5000/x`. */
export function familiarName(reference: Pick<Reference, 'domain' | 'path'>): string {
  if (reference.domain !== DEFAULT_DOMAIN) return `${reference.domain}/${reference.path}`;
  const short = reference.path.startsWith(OFFICIAL) ? reference.path.slice(OFFICIAL.length) : reference.path;
  return short.includes('/') ? reference.path : short;
}

function suffix(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  return reference.digest === undefined ? tag : `${tag}@${reference.digest}`;
}

/** The reference as people write it: `ubuntu:22.04`, `ubuntu@sha256:..`. Reading it again gives the same reference. */
export function familiarString(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}

/** The reference with nothing implied: `docker.io/library/ubuntu:22.04`. */
export function canonicalString(reference: Reference): string {
  return `${reference.domain}/${reference.path}${suffix(reference)}`;
}

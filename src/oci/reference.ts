/**
 * Names of images. In a registry, as Docker has them (distribution's reference grammar): `alpine`, `debian:12`,
 * `localhost:5000/team/app@sha256:…`. Elsewhere, as skopeo has them: `oci:FOLDER[:tag]`, `oci-archive:FILE[:tag]`,
 * `docker-archive:FILE[:name]`.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { OciError } from './errors.js';
import { checkDigest, type Digest } from './image.js';

export interface RegistryReference {
  readonly kind: 'registry';
  /** HOST or HOST:PORT, as it is written. */
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

export interface FileReference {
  readonly kind: 'layout' | 'oci-archive' | 'docker-archive';
  /** Absolute. */
  readonly path: string;
  /** Which of the images in it; undefined: the only one. */
  readonly tag: string | undefined;
}

export type ImageReference = RegistryReference | FileReference;

/** Where names without a registry are looked for. */
export const DEFAULT_REGISTRY = 'docker.io';
const DEFAULT_TAG = 'latest';

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const REGISTRY =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const TAG = /^\w[\w.-]{0,127}$/;
/** Characters of registry and repository together. */
const MAX_NAME = 255;

/** "docker" alone is also the name of an image. */
const TRANSPORT = /^(oci|oci-archive|docker-archive|docker(?=:\/\/)):(.*)$/s;

const wrong = (name: string, why: string): OciError =>
  new OciError('name', `${JSON.stringify(name)} is no name of an image: ${why}`);

/** Whether a name says where to look. */
export const hasTransport = (name: string): boolean => TRANSPORT.test(name);

/** Throws a one-line error (OciError). */
export function parseReference(name: string): ImageReference {
  const [, transport, rest] = TRANSPORT.exec(name) ?? [];
  switch (transport) {
    case 'oci':
      return layoutReference(rest) ?? parseRegistry(rest);
    case 'oci-archive':
    case 'docker-archive': {
      const { place, tag } = splitPlace(rest, (file) => fs.existsSync(file));
      if (place === '') throw wrong(name, 'it names no file');
      return { kind: transport, path: path.resolve(place), tag };
    }
    case 'docker':
      return parseRegistry(rest.slice(2));
    default:
      return parseRegistry(name);
  }
}

/** `PLACE[:tag]`: a colon may also be a part of the place, when that is there. */
function splitPlace(text: string, isThere: (place: string) => boolean): { place: string; tag: string | undefined } {
  const colon = text.indexOf(':');
  if (colon < 0 || isThere(text)) return { place: text, tag: undefined };
  for (let at = colon; at >= 0; at = text.indexOf(':', at + 1))
    if (isThere(text.slice(0, at))) return { place: text.slice(0, at), tag: text.slice(at + 1) };
  return { place: text.slice(0, colon), tag: text.slice(colon + 1) };
}

/** A folder, if that is what it is; otherwise `oci:NAME` is an image of a registry. */
function layoutReference(text: string): FileReference | undefined {
  const { place, tag } = splitPlace(text, (folder) => fs.existsSync(path.join(folder, 'oci-layout')));
  const there = fs.existsSync(path.join(place, 'oci-layout'));
  if (!there && !/^(\.{0,2}\/|\.{1,2}$|$)/.test(place) && !fs.existsSync(place)) return undefined;
  if (place === '') throw wrong('oci:', 'it names no folder');
  return { kind: 'layout', path: path.resolve(place), tag: tag === '' ? undefined : tag };
}

function parseRegistry(name: string): RegistryReference {
  const at = name.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(name, name.slice(at + 1));
  const withTag = at < 0 ? name : name.slice(0, at);
  const colon = withTag.lastIndexOf(':');
  const tagged = colon > withTag.lastIndexOf('/');
  const tag = tagged ? withTag.slice(colon + 1) : undefined;
  const whole = tagged ? withTag.slice(0, colon) : withTag;
  const slash = whole.indexOf('/');
  const first = slash < 0 ? '' : whole.slice(0, slash);
  // Docker's rule: a registry has a dot, a port, capitals, or is called localhost.
  const hasRegistry = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const registry = hasRegistry ? first : DEFAULT_REGISTRY;
  let repository = hasRegistry ? whole.slice(slash + 1) : whole;
  if (!REGISTRY.test(registry)) throw wrong(name, 'the registry in it is no host');
  if (!repository.split('/').every((component) => COMPONENT.test(component)))
    throw wrong(name, 'names are small letters, digits, and . _ - between them');
  if (tag !== undefined && !TAG.test(tag)) throw wrong(name, 'the tag behind the colon is none');
  const isDefault = registry === DEFAULT_REGISTRY || registry === 'index.docker.io';
  if (isDefault && !repository.includes('/')) repository = `library/${repository}`;
  if (registry.length + 1 + repository.length > MAX_NAME) throw wrong(name, 'it is too long');
  return {
    kind: 'registry',
    registry: isDefault ? DEFAULT_REGISTRY : registry,
    repository,
    tag: tag ?? (digest === undefined ? DEFAULT_TAG : undefined),
    digest,
  };
}

function parseDigest(name: string, text: string): Digest {
  try {
    return checkDigest(text);
  } catch (cause) {
    throw new OciError('name', `${JSON.stringify(name)} is no name of an image: its digest is none`, { cause });
  }
}

/** One name for one image: what the cache knows it by. */
export function canonicalName(reference: ImageReference): string {
  if (reference.kind !== 'registry') {
    const transport = reference.kind === 'layout' ? 'oci' : reference.kind;
    return `${transport}:${reference.path}${reference.tag === undefined ? '' : `:${reference.tag}`}`;
  }
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** As people write it. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(library\/(?=[^/]+$))?/, '');
}

/** What the cache knows an image by whose canonical name has been given to another one. */
export function untaggedName(name: string, digest: Digest): string {
  const bare = hasTransport(name) ? name : name.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  return `${bare}@${digest}`;
}

/** What an image was built for, as in `--platform linux/arm64/v8`, and which entry of an index suits a machine. */
import { TsboxError } from '../errors.ts';

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
  /** What a system must be able to do beyond the ordinary. Nothing here can do more. */
  'os.features'?: readonly string[] | null;
}

/** Other names of architectures, as people and `uname -m` write them. */
const SYNONYMS: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  x64: ['amd64'],
  aarch64: ['arm64'],
  i386: ['386'],
  i486: ['386'],
  i586: ['386'],
  i686: ['386'],
  ia32: ['386'],
  armhf: ['arm', 'v7'],
  armv7l: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  armv6l: ['arm', 'v6'],
  ppc64: ['ppc64le'],
};

const ARCHITECTURES = new Set(
  ['386', 'amd64', 'arm', 'arm64', 'loong64', 'mips64', 'mips64le', 'ppc64le', 'riscv64', 's390x'].concat(
    Object.keys(SYNONYMS),
  ),
);

/** One spelling for each platform: synonyms replaced, and the variant that each architecture implies left out. */
export function normalizePlatform(platform: Platform): Platform {
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = Object.hasOwn(SYNONYMS, given) ? SYNONYMS[given]! : [given];
  let variant = (platform.variant ?? implied ?? '').toLowerCase();
  if (/^[0-9]/.test(variant)) variant = `v${variant}`;
  if (architecture === 'arm64' && variant === 'v8') variant = '';
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  if (architecture === 'arm' && variant === '') variant = 'v7';
  const normal: Platform = { os: platform.os.toLowerCase(), architecture };
  if (variant !== '') normal.variant = variant;
  return normal;
}

/** Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`. Pure; normalized.
 *  @throws ERR_TSBOX_SPEC for another shape */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length > 3 || parts.some((part) => !/^[A-Za-z0-9_.-]+$/.test(part))) {
    throw new TsboxError('ERR_TSBOX_SPEC', `invalid platform "${text.slice(0, 100)}"`, {
      hint: 'A platform looks like linux/amd64 or linux/arm64/v8.',
    });
  }
  const [first = '', second, third] = parts;
  if (second !== undefined) {
    const platform: Platform = { os: first, architecture: second };
    return normalizePlatform(third === undefined ? platform : { ...platform, variant: third });
  }
  if (ARCHITECTURES.has(first.toLowerCase())) return normalizePlatform({ os: 'linux', architecture: first });
  return normalizePlatform({ os: first, architecture: defaultPlatform().architecture });
}

/** The platform of this process. tsbox runs Linux images only. @param arch as in `process.arch` */
export function defaultPlatform(arch: string = process.arch): Platform {
  return normalizePlatform({ os: 'linux', architecture: arch });
}

/** `linux/arm64/v8`: the variant is written where it is not implied. */
export function formatPlatform(platform: Platform): string {
  const variant = platform.variant === undefined || platform.variant === '' ? '' : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
}

/** Everything that a machine of the platform can run, the best first: a newer variant runs the older ones, 64 bits run 32. */
function runnable(wanted: Platform): string[] {
  const { os, architecture, variant } = normalizePlatform(wanted);
  const level = Number(variant?.slice(1) ?? 0);
  const lower = (name: string, from: number, to: number): string[] =>
    Array.from({ length: Math.max(from - to + 1, 0) }, (_, index) => `${os}/${name}/v${from - index}`);
  const itself = formatPlatform(variant === undefined ? { os, architecture } : { os, architecture, variant });
  if (architecture === 'amd64') {
    return [itself, ...lower('amd64', Math.min(level, 9) - 1, 2), `${os}/amd64`, `${os}/386`];
  }
  if (architecture === 'arm64') return [itself, `${os}/arm64`, ...lower('arm', 8, 5)];
  if (architecture === 'arm') return [itself, ...lower('arm', Math.min(level, 9) - 1, 5)];
  return [itself];
}

/** Can a machine of the platform `wanted` run what was built for `offered`? */
export function platformMatches(wanted: Platform, offered: Platform): boolean {
  return (
    (offered['os.features'] ?? []).length === 0 && runnable(wanted).includes(formatPlatform(normalizePlatform(offered)))
  );
}

/** The entry of an index that suits `wanted` best, the first of equals; undefined when none does. An entry without a platform suits only
 *  when the index has no other, attestations apart; one that asks for features of the system never does.
 *  @see image-spec image-index.md, `os.features` */
export function selectPlatform<T extends { platform?: Platform | null }>(
  entries: readonly T[],
  wanted: Platform,
): T | undefined {
  const order = runnable(wanted);
  let best: T | undefined;
  let bestRank = order.length;
  const images = entries.filter(({ platform }) => platform?.os !== 'unknown');
  if (images.length === 1 && !images[0]!.platform) return images[0];
  for (const entry of images) {
    if (!entry.platform || (entry.platform['os.features'] ?? []).length > 0) continue;
    const rank = order.indexOf(formatPlatform(normalizePlatform(entry.platform)));
    if (rank >= 0 && rank < bestRank) [best, bestRank] = [entry, rank];
  }
  return best;
}

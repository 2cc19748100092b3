/** Settings of registries by host: mirrors and `insecure`. The format is in this folder's README. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { parseUntrustedJson } from '../spec/json.ts';

export interface HostSettings {
  /** Tried in this order before the registry itself: `https://mirror.example`, `http://10.0.0.1:5000`, `mirror.example:5000`. */
  mirrors: string[];
  /** The certificate is not checked, and plain http is used when https does not answer. */
  insecure: boolean;
}

/** By host with port, as in references: `docker.io`, `registry.example:5000`. */
export type RegistryConfig = ReadonlyMap<string, HostSettings>;

type Environment = Readonly<Record<string, string | undefined>>;

const schema = v.strictObject({
  registries: v.record(
    v.string(),
    v.strictObject({ mirrors: v.optional(v.array(v.string()), []), insecure: v.optional(v.boolean(), false) }),
  ),
});

/** `~/.config/tsbox`, where the user's own settings are. */
export function userConfigDirectory(environment: Environment = process.env): string {
  const base = environment['XDG_CONFIG_HOME'];
  if (base?.startsWith('/')) return join(base, 'tsbox');
  return join(environment['HOME'] || homedir(), '.config', 'tsbox');
}

/** Directories with `registries.json` and `certs.d/`; a later one has precedence. */
export function configDirectories(environment: Environment = process.env): string[] {
  return ['/etc/tsbox', userConfigDirectory(environment)];
}

/** Reads and joins the `registries.json` of the directories. A missing file is no settings.
 *  @throws ERR_TSBOX_DAMAGED for a file that is not what the README says, unknown fields included */
export function readRegistryConfig(directories: readonly string[] = configDirectories()): RegistryConfig {
  const config = new Map<string, HostSettings>();
  for (const directory of directories) {
    const file = join(directory, 'registries.json');
    let bytes: Buffer;
    try {
      bytes = readFileSync(file);
    } catch (error) {
      if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) continue;
      throw wrapError(`read ${file}`, error);
    }
    const parsed = v.safeParse(schema, parseUntrustedJson(bytes, `read ${file}`));
    if (!parsed.success) {
      const issue = parsed.issues[0];
      throw new TsboxError(
        'ERR_TSBOX_DAMAGED',
        `read ${file}: ${v.getDotPath(issue) ?? 'document'}: ${issue.message}`,
        {
          hint: 'The file looks like {"registries": {"docker.io": {"mirrors": ["https://mirror.example"]}}}.',
        },
      );
    }
    for (const [host, settings] of Object.entries(parsed.output.registries)) config.set(host, settings);
  }
  return config;
}

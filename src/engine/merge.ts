/** What the image says and what the user asked for, merged as Docker merges them. Pure. @see image-spec config.md */
import { TsboxError } from '../errors.ts';
import type { ContainerConfig, GoSet } from '../spec/container.ts';
import type { ContainerConfig as ImageContainerConfig } from '../spec/oci-image.ts';
import { portSet } from '../spec/ports.ts';
import { parseSignal } from '../spec/signals.ts';
import type { ContainerRequest } from './api.ts';
import { anonymousPaths } from './binds.ts';
import { checkHealthcheck, mergeHealthcheck } from './health.ts';

const nameOf = (variable: string) => variable.split('=', 1)[0];

/** The user's variables first, then those of the image that the user did not set. */
function mergeEnv(image: readonly string[], user: readonly string[]): string[] {
  const last = new Map<string | undefined, string>();
  for (const variable of user) last.set(nameOf(variable), variable);
  const merged = [...last.values()];
  for (const variable of image) if (!last.has(nameOf(variable))) merged.push(variable);
  return merged;
}

/** `--entrypoint` drops the image's command with its entrypoint; arguments replace the command. */
function mergeCommand(request: ContainerRequest, image: ImageContainerConfig) {
  const reset = request.entrypoint !== undefined;
  const entrypoint = reset
    ? request.entrypoint === ''
      ? null
      : [request.entrypoint ?? '']
    : (image.Entrypoint ?? null);
  const given = request.command.length > 0 ? [...request.command] : null;
  return { Entrypoint: entrypoint, Cmd: given ?? (reset ? null : (image.Cmd ?? null)) };
}

function goSet(value: Record<string, unknown> | null | undefined): GoSet {
  return Object.fromEntries(Object.keys(value ?? {}).map((key) => [key, {}]));
}

/** Those of the image, and `-v /path`. */
function volumesOf(request: ContainerRequest, image: ImageContainerConfig): GoSet | null {
  const paths = [...Object.keys(image.Volumes ?? {}), ...anonymousPaths(request)];
  if (paths.length === 0) return image.Volumes === undefined || image.Volumes === null ? null : {};
  return goSet(Object.fromEntries(paths.map((path) => [path, {}])));
}

/** @param hostname for a container that was not given one
 *  @throws ERR_TSBOX_USAGE on a bad signal, a relative working directory, or when there is nothing to run */
export function mergeConfig(hostname: string, request: ContainerRequest, image: ImageContainerConfig): ContainerConfig {
  const workdir = request.workdir ?? image.WorkingDir ?? '';
  if (workdir !== '' && !workdir.startsWith('/')) {
    const message = `the working directory '${workdir}' is invalid, it needs to be an absolute path`;
    throw new TsboxError('ERR_TSBOX_USAGE', message);
  }
  const config: ContainerConfig = {
    Hostname: request.hostname ?? hostname,
    Domainname: request.domainname ?? '',
    User: request.user ?? image.User ?? '',
    AttachStdin: request.attached && (request.openStdin || request.attach?.includes('stdin') === true),
    AttachStdout: request.attached && (request.attach?.includes('stdout') ?? true),
    AttachStderr: request.attached && (request.attach?.includes('stderr') ?? true),
    Tty: request.tty,
    OpenStdin: request.openStdin,
    StdinOnce: request.attached && request.openStdin,
    Env: mergeEnv(image.Env ?? [], request.env),
    Image: request.image,
    Volumes: volumesOf(request, image),
    WorkingDir: workdir,
    OnBuild: null,
    Labels: { ...(image.Labels ?? {}), ...request.labels },
    ...mergeCommand(request, image),
  };
  if (image.ExposedPorts || request.exposedPorts !== undefined) {
    config.ExposedPorts = portSet([...Object.keys(image.ExposedPorts ?? {}), ...(request.exposedPorts ?? [])]);
  }
  const signal = request.stopSignal ?? image.StopSignal;
  if (signal !== undefined && signal !== '') {
    parseSignal(signal);
    config.StopSignal = signal;
  }
  const timeout = request.stopTimeout ?? image.StopTimeout ?? undefined;
  if (timeout !== undefined) config.StopTimeout = timeout;
  const health = mergeHealthcheck(request.healthcheck, image.Healthcheck);
  if (health !== undefined) {
    checkHealthcheck(health);
    config.Healthcheck = health;
  }
  if (commandLine(config).length === 0) {
    throw new TsboxError('ERR_TSBOX_USAGE', 'no command specified', {
      exitCode: 125,
      hint: 'The image names no command: give one behind the image.',
    });
  }
  return config;
}

/** Entrypoint and command as they are executed. */
export function commandLine(config: Pick<ContainerConfig, 'Entrypoint' | 'Cmd'>): string[] {
  return [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
}

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The environment of a process without what only its user knows. */
function variablesOf(config: ContainerConfig, extra: readonly string[], tty: boolean): Map<string | undefined, string> {
  const variables = new Map<string | undefined, string>();
  const set = (variable: string) => void variables.set(nameOf(variable), variable);
  set(`PATH=${DEFAULT_PATH}`);
  set(`HOSTNAME=${config.Hostname}`);
  if (tty) set('TERM=xterm');
  for (const variable of [...config.Env, ...extra]) {
    if (variable.includes('=')) set(variable);
    else variables.delete(variable);
  }
  // An empty HOME is none, as with runc.
  if (variables.get('HOME') === 'HOME=') variables.delete('HOME');
  return variables;
}

/** The environment of a process: PATH, HOSTNAME and, with a terminal, TERM as defaults, then the configured variables over them, then
 *  HOME when nobody set it to anything. */
export function processEnv(
  config: ContainerConfig,
  home: string,
  extra: readonly string[] = [],
  tty = config.Tty,
): string[] {
  const variables = variablesOf(config, extra, tty);
  if (!variables.has('HOME')) variables.set('HOME', `HOME=${home}`);
  return [...variables.values()];
}

/** Does the container say nothing of HOME? Then it stands behind all other variables. */
export const homeIsDefault = (config: ContainerConfig): boolean => !variablesOf(config, [], false).has('HOME');

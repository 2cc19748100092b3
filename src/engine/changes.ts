/** `--change` of commit and import: Dockerfile instructions that alter an image's configuration. Pure.
 *  @see docs.docker.com/reference/cli/docker/container/commit */
import { posix } from 'node:path';
import { TsboxError } from '../errors.ts';
import type { ContainerConfig } from '../spec/oci-image.ts';
import { parseSignal } from '../spec/signals.ts';
import { exposedPorts } from './changes-expose.ts';
import { parseHealthcheck } from './changes-healthcheck.ts';
import {
  expandWord,
  instructionLines,
  jsonWords,
  lookupIn,
  nameValues,
  splitWords,
  syntaxError,
} from './dockerfile-words.ts';

interface State {
  config: ContainerConfig;
  /** An ENTRYPOINT takes the image's command away, but not one that was given beside it. */
  commandSet: boolean;
}

type Change = (state: State, rest: string, instruction: string) => void;

const SHELL = ['/bin/sh', '-c'];

function expanded({ config }: State, word: string): string {
  return expandWord(word, lookupIn(config.Env ?? []));
}

/** The JSON form as it is, anything else as a command for the shell. */
function commandWords({ config }: State, rest: string): string[] {
  const words = jsonWords(rest);
  if (words !== undefined) return words;
  return rest === '' ? [] : [...(config.Shell ?? SHELL), rest];
}

function oneArgument(rest: string, instruction: string): string {
  if (rest === '') throw syntaxError(`${instruction} requires exactly one argument`);
  return rest;
}

function changeEnv(state: State, rest: string): void {
  const env = [...(state.config.Env ?? [])];
  // All values of one instruction see the environment as it was before it.
  for (const [rawName, rawValue] of nameValues(rest, 'ENV')) {
    const name = expanded(state, rawName);
    if (name === '') throw syntaxError('ENV names can not be blank');
    const variable = `${name}=${expanded(state, rawValue)}`;
    const at = env.findIndex((one) => one === name || one.startsWith(`${name}=`));
    if (at < 0) env.push(variable);
    else env[at] = variable;
  }
  state.config.Env = env;
}

function changeLabel(state: State, rest: string): void {
  const labels = { ...state.config.Labels };
  for (const [rawName, rawValue] of nameValues(rest, 'LABEL')) {
    const name = expanded(state, rawName);
    if (name === '') throw syntaxError('LABEL names can not be blank');
    labels[name] = expanded(state, rawValue);
  }
  state.config.Labels = labels;
}

function changeVolume(state: State, rest: string): void {
  const paths = jsonWords(rest) ?? rest.split(/\s+/).filter((path) => path !== '');
  if (paths.length === 0) throw syntaxError('VOLUME requires at least one argument');
  const volumes = { ...state.config.Volumes };
  for (const path of paths) {
    const volume = expanded(state, path).trim();
    if (volume === '') throw syntaxError('VOLUME specified can not be an empty string');
    volumes[volume] = {};
  }
  state.config.Volumes = volumes;
}

function changeOnbuild({ config }: State, rest: string): void {
  if (rest === '') throw syntaxError('ONBUILD requires at least one argument');
  const trigger = /^\S+/.exec(rest)![0].toUpperCase();
  if (trigger === 'ONBUILD') throw syntaxError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (trigger === 'FROM' || trigger === 'MAINTAINER') {
    throw syntaxError(`${trigger} isn't allowed as an ONBUILD trigger`);
  }
  config.OnBuild = [...(config.OnBuild ?? []), rest];
}

const CHANGES: Readonly<Record<string, Change>> = {
  CMD(state, rest) {
    state.config.Cmd = commandWords(state, rest);
    if (state.config.Cmd.length > 0) state.commandSet = true;
  },
  ENTRYPOINT(state, rest) {
    state.config.Entrypoint = commandWords(state, rest);
    if (!state.commandSet) state.config.Cmd = null;
  },
  ENV: changeEnv,
  EXPOSE(state, rest) {
    const words = splitWords(rest).flatMap((word) => splitWords(expanded(state, word)));
    if (words.length === 0) throw syntaxError('EXPOSE requires at least one argument');
    const ports = words.flatMap(exposedPorts).map((port) => [port, {}] as const);
    state.config.ExposedPorts = { ...state.config.ExposedPorts, ...Object.fromEntries(ports) };
  },
  HEALTHCHECK({ config }, rest) {
    config.Healthcheck = parseHealthcheck(rest);
  },
  LABEL: changeLabel,
  ONBUILD: changeOnbuild,
  STOPSIGNAL(state, rest, instruction) {
    const signal = expanded(state, oneArgument(rest, instruction));
    parseSignal(signal);
    state.config.StopSignal = signal;
  },
  USER(state, rest, instruction) {
    state.config.User = expanded(state, oneArgument(rest, instruction));
  },
  VOLUME: changeVolume,
  WORKDIR(state, rest, instruction) {
    const directory = expanded(state, oneArgument(rest, instruction));
    const { WorkingDir: before = '' } = state.config;
    state.config.WorkingDir = directory.startsWith('/') ? directory : posix.join('/', before, directory);
  },
};

/** The configuration with the instructions applied in their order; the given one stays as it is.
 *  @throws ERR_TSBOX_USAGE on an instruction that may not stand here or has wrong arguments */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  const state: State = { config: { ...config }, commandSet: false };
  const lines = instructionLines(changes.join('\n'));
  if (changes.length > 0 && lines.length === 0) throw new TsboxError('ERR_TSBOX_USAGE', 'file with no instructions');
  for (const line of lines) {
    const name = /^\S+/.exec(line)![0];
    const instruction = name.toUpperCase();
    if (!Object.hasOwn(CHANGES, instruction)) {
      throw new TsboxError('ERR_TSBOX_USAGE', `${name.toLowerCase()} is not a valid change command`, {
        hint: `A change is one of these Dockerfile instructions: ${Object.keys(CHANGES).join(', ')}.`,
      });
    }
    CHANGES[instruction]!(state, line.slice(name.length).trim(), instruction);
  }
  return state.config;
}

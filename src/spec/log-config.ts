/** Log drivers and their options, as Docker names them. Pure. @see moby, daemon/logger/jsonfilelog, loggerutils/log_tag.go */
import { TsboxError } from '../errors.ts';

export interface LogConfig {
  Type: string;
  Config: Record<string, string>;
}

/** What the options say of the container, and so may be written beside each line. */
export interface LogSubject {
  id: string;
  /** Without a slash. */
  name: string;
  /** `sha256:...` */
  imageId: string;
  image: string;
  labels: Readonly<Record<string, string>>;
  /** `NAME=value` */
  env: readonly string[];
}

/** The log file of a container. */
export interface LogFile {
  /** Bytes; -1: never rotated. */
  maxSize: number;
  maxFiles: number;
  /** A JSON object that stands in each line; empty for none. */
  attrs: string;
}

/** Drivers of Docker that send lines elsewhere, or write a format of their own. */
const ELSEWHERE = 'awslogs etwlogs fluentd gcplogs gelf journald local logentries splunk syslog'.split(' ');
const JSON_FILE = 'max-file max-size compress labels labels-regex env env-regex tag mode max-buffer-size'.split(' ');
const FAILED = 125;

const refuse = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: FAILED });
const unsupported = (message: string) => new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { exitCode: FAILED });
const atStart = (what: string) => refuse(`failed to initialize logging driver: ${what}`);

/** `--log-driver` and `--log-opt`. @param driver empty for the usual one
 *  @throws ERR_TSBOX_USAGE in Docker's words; ERR_TSBOX_UNSUPPORTED for what only Docker has */
export function logConfig(driver: string, options: readonly string[]): LogConfig {
  const Type = driver === '' ? 'json-file' : driver;
  const Config = Object.fromEntries(
    options.map((option) => {
      const equals = option.indexOf('=');
      return equals < 0 ? [option, ''] : [option.slice(0, equals), option.slice(equals + 1)];
    }),
  );
  if (Type === 'none') {
    if (options.length > 0) throw refuse('invalid logging opts for driver none');
    return { Type, Config };
  }
  if (ELSEWHERE.includes(Type)) throw unsupported(`logging driver ${Type}: not supported: json-file and none are`);
  if (Type !== 'json-file')
    throw refuse(`error looking up logging plugin ${Type}: plugin ${JSON.stringify(Type)} not found`);
  for (const name of Object.keys(Config)) {
    if (!JSON_FILE.includes(name)) throw refuse(`unknown log opt '${name}' for json-file log driver`);
  }
  const { mode = '' } = Config;
  if (mode === 'non-blocking') throw unsupported('--log-opt mode=non-blocking: not supported: no line is thrown away');
  if (mode !== '' && mode !== 'blocking') throw refuse(`logger: logging mode not supported: ${mode}`);
  if (Config['max-buffer-size'] !== undefined) {
    throw refuse("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  limits(Config);
  return { Type, Config };
}

/** @throws ERR_TSBOX_USAGE in Docker's words */
function limits(config: Readonly<Record<string, string>>): Pick<LogFile, 'maxSize' | 'maxFiles'> {
  const { 'max-size': size, 'max-file': files, compress = '' } = config;
  const maxSize = size === undefined ? -1 : bytes(size);
  if (maxSize === 0) throw atStart('max-size must be a positive number');
  if (files !== undefined && !/^[+-]?\d+$/.test(files)) {
    throw atStart(`strconv.Atoi: parsing ${JSON.stringify(files)}: invalid syntax`);
  }
  const maxFiles = Number(files ?? 1);
  if (maxFiles < 1) throw atStart('max-file cannot be less than 1');
  if (/^(1|t|true)$/i.test(compress)) {
    if (maxFiles < 2 || maxSize < 0) {
      throw atStart('compress cannot be true when max-file is less than 2 or max-size is not set');
    }
    throw unsupported('--log-opt compress=true: not supported: rotated files stay as they are');
  }
  if (compress !== '' && !/^(0|f|false)$/i.test(compress)) {
    throw atStart(`strconv.ParseBool: parsing ${JSON.stringify(compress)}: invalid syntax`);
  }
  return { maxSize, maxFiles };
}

/** Powers of 1000, as Docker reads it. */
function bytes(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (number === undefined) throw atStart(`invalid size: '${text}'`);
  return Math.floor(Number(number) * 1000 ** ['', 'k', 'm', 'g', 't', 'p'].indexOf(unit.toLowerCase()));
}

/** Where and how the lines are kept; undefined for a container that has no log.
 *  @throws ERR_TSBOX_USAGE, ERR_TSBOX_UNSUPPORTED */
export function logFile({ Type, Config }: LogConfig, subject: LogSubject): LogFile | undefined {
  if (Type === 'none') return undefined;
  const attrs: Record<string, string> = { ...labelled(Config, subject), ...tagged(Config['tag'] ?? '', subject) };
  const names = Object.keys(attrs).sort();
  const text = names.length === 0 ? '' : JSON.stringify(Object.fromEntries(names.map((name) => [name, attrs[name]!])));
  return { ...limits(Config), attrs: text };
}

function labelled(config: Readonly<Record<string, string>>, { labels, env }: LogSubject): Record<string, string> {
  const variables = env.map((entry) => {
    const equals = entry.indexOf('=');
    return [entry.slice(0, equals), entry.slice(equals + 1)] as const;
  });
  const chosen = (
    from: Iterable<readonly [string, string]>,
    names: string | undefined,
    pattern: string | undefined,
  ) => {
    const wanted = new Set(names?.split(',').filter((name) => name !== ''));
    const matching = pattern === undefined || pattern === '' ? undefined : new RegExp(pattern);
    return [...from].filter(([name]) => wanted.has(name) || matching?.test(name) === true);
  };
  return Object.fromEntries([
    ...chosen(Object.entries(labels), config['labels'], config['labels-regex']),
    ...chosen(variables, config['env'], config['env-regex']),
  ]);
}

/** `{{.Name}}` and the like; no other template is known. */
function tagged(tag: string, subject: LogSubject): { tag?: string } {
  const short = (id: string) => id.replace(/^sha256:/, '').slice(0, 12);
  const fields: Readonly<Record<string, string>> = {
    ID: short(subject.id),
    FullID: subject.id,
    Name: subject.name,
    FullName: `/${subject.name}`,
    ImageID: short(subject.imageId),
    ImageFullID: subject.imageId,
    ImageName: subject.image,
    DaemonName: 'docker',
  };
  const text = tag.replace(/\{\{\s*\.?(.*?)\s*\}\}/g, (whole, name: string) => {
    if (Object.hasOwn(fields, name)) return fields[name]!;
    throw unsupported(`--log-opt tag: ${whole}: only {{.ID}}, {{.Name}} and other fields are supported`);
  });
  return text === '' ? {} : { tag: text };
}

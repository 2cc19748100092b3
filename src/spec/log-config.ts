/** Log drivers and their options, as Docker names them. Pure.
 *  @see moby, daemon/logger/jsonfilelog, daemon/logger/local, daemon/logger/factory.go, loggerutils/log_tag.go */
import { TsboxError } from '../errors.ts';
import { escapeAsGo } from './json.ts';

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

/** The drivers that keep a file, by which its format is known. */
export type LogFormat = 'json-file' | 'local';

/** The log file of a container. */
export interface LogFile {
  /** Bytes; -1: never rotated. */
  maxSize: number;
  maxFiles: number;
  /** gzip(1) compresses the files that are rotated. */
  compress: boolean;
  /** Bytes that may wait to be written before what comes is thrown away; 0: the container waits. */
  buffer: number;
  format: LogFormat;
  /** A JSON object that stands in each line; empty for none. */
  attrs: string;
}

/** Drivers of Docker that send lines elsewhere. */
const ELSEWHERE = 'awslogs etwlogs fluentd gcplogs gelf journald logentries splunk syslog'.split(' ');
const SIZES = 'max-file max-size compress'.split(' ');
/** As each names itself when it refuses an option. */
const OPTIONS: Readonly<Record<LogFormat, { known: readonly string[]; name: string }>> = {
  'json-file': {
    known: [...SIZES, ...'labels labels-regex env env-regex tag'.split(' ')],
    name: 'json-file log driver',
  },
  local: { known: SIZES, name: 'log driver local' },
};
const ANY = ['mode', 'max-buffer-size'];
/** Docker's: of the entries that may wait. */
const BUFFER = 1_000_000;
/** Docker's, of the driver `local`. */
const LOCAL_SIZE = 20 << 20;
const LOCAL_FILES = 5;

const refuse = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);
const unsupported = (message: string) => new TsboxError('ERR_TSBOX_UNSUPPORTED', message);
const atStart = (what: string) => refuse(`failed to initialize logging driver: ${what}`);

/** `--log-driver` and `--log-opt`. @param driver empty for the usual one
 *  @throws ERR_TSBOX_USAGE in Docker's words; ERR_TSBOX_UNSUPPORTED for what only Docker has */
export function logConfig(driver: string, options: readonly string[]): LogConfig {
  const Type = driver === '' ? 'json-file' : driver;
  const given = options.map((option): [string, string] => {
    const equals = option.indexOf('=');
    return equals < 0 ? [option, ''] : [option.slice(0, equals), option.slice(equals + 1)];
  });
  // In Docker's order, which is that of the names; of two with one name the last counts.
  const Config = Object.fromEntries(given.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  if (Type === 'none') {
    if (options.length > 0) throw refuse('invalid logging opts for driver none');
    return { Type, Config };
  }
  if (ELSEWHERE.includes(Type))
    throw unsupported(`logging driver ${Type}: not supported: json-file, local and none are`);
  if (!isFormat(Type))
    throw refuse(`error looking up logging plugin ${Type}: plugin ${JSON.stringify(Type)} not found`);
  buffered(Config);
  const { known, name } = OPTIONS[Type];
  for (const option of Object.keys(Config)) {
    if (!known.includes(option) && !ANY.includes(option)) throw refuse(`unknown log opt '${option}' for ${name}`);
  }
  LIMITS[Type](Config);
  return { Type, Config };
}

const isFormat = (type: string): type is LogFormat => Object.hasOwn(OPTIONS, type);

/** @returns bytes; 0 when the container waits. @throws ERR_TSBOX_USAGE in Docker's words */
function buffered({ mode = '', 'max-buffer-size': size }: Readonly<Record<string, string>>): number {
  if (mode !== '' && mode !== 'blocking' && mode !== 'non-blocking') {
    throw refuse(`logger: logging mode not supported: ${mode}`);
  }
  if (mode !== 'non-blocking') {
    if (size === undefined) return 0;
    throw refuse("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  const invalid = (text: string) => refuse(`error parsing option max-buffer-size: ${text}`);
  // One entry always has room.
  return size === undefined ? BUFFER : Math.max(1, binaryBytes(size, invalid));
}

type Limits = Pick<LogFile, 'maxSize' | 'maxFiles' | 'compress'>;

/** @throws ERR_TSBOX_USAGE in the words of Docker's driver */
const LIMITS: Readonly<Record<LogFormat, (config: Readonly<Record<string, string>>) => Limits>> = {
  'json-file': ({ 'max-size': size, 'max-file': files, compress }) => {
    const maxSize = size === undefined ? -1 : bytes(size, atStart);
    if (maxSize === 0) throw atStart('max-size must be a positive number');
    const maxFiles = files === undefined ? 1 : count(files, atStart);
    if (maxFiles < 1) throw atStart('max-file cannot be less than 1');
    const packs = compress !== undefined && compress !== '' && flag(compress, atStart);
    if (packs && (maxFiles < 2 || maxSize < 0)) {
      throw atStart('compress cannot be true when max-file is less than 2 or max-size is not set');
    }
    return { maxSize, maxFiles, compress: packs };
  },
  local: ({ 'max-size': size, 'max-file': files, compress }) => {
    const within = (what: string) => (text: string) => atStart(`${what}: ${text}`);
    const maxSize = size === undefined ? LOCAL_SIZE : bytes(size, within(`invalid value for max-size: ${size}`));
    const maxFiles = files === undefined ? LOCAL_FILES : count(files, within(`invalid value for max-file: ${files}`));
    const packs = compress === undefined || flag(compress, within('error reading compress log option'));
    if (packs && maxFiles < 2) throw atStart('compression cannot be enabled when max file count is 1');
    // Docker takes 0: a file for each entry.
    return { maxSize: Math.max(1, maxSize), maxFiles: Math.max(1, maxFiles), compress: packs };
  },
};

type Refusal = (text: string) => Error;

function count(text: string, refusal: Refusal): number {
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw refusal(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function flag(text: string, refusal: Refusal): boolean {
  if (/^(1|t|true|0|f|false)$/i.test(text)) return /^(1|t)/i.test(text);
  throw refusal(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

const UNITS = ['', 'k', 'm', 'g', 't', 'p'];

function sized(text: string, base: number, refusal: Refusal): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (number === undefined) throw refusal(`invalid size: '${text}'`);
  return Math.floor(Number(number) * base ** UNITS.indexOf(unit.toLowerCase()));
}

/** Powers of 1000, as Docker reads the sizes of files. */
const bytes = (text: string, refusal: Refusal) => sized(text, 1000, refusal);
/** And of buffers: powers of 1024. */
const binaryBytes = (text: string, refusal: Refusal) => sized(text, 1024, refusal);

/** Where and how the lines are kept; undefined for a container that has no log.
 *  @throws ERR_TSBOX_USAGE, ERR_TSBOX_UNSUPPORTED */
export function logFile({ Type, Config }: LogConfig, subject: LogSubject): LogFile | undefined {
  if (!isFormat(Type)) return undefined;
  const attrs: Record<string, string> = { ...labelled(Config, subject), ...tagged(Config['tag'] ?? '', subject) };
  const names = Object.keys(attrs).sort();
  const text =
    names.length === 0 ? '' : escapeAsGo(JSON.stringify(Object.fromEntries(names.map((name) => [name, attrs[name]!]))));
  return { ...LIMITS[Type](Config), attrs: text, format: Type, buffer: buffered(Config) };
}

function expression(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw atStart(`error parsing regexp: ${(error as Error).message}`);
  }
}

function labelled(config: Readonly<Record<string, string>>, { labels, env }: LogSubject): Record<string, string> {
  // One without a value is a variable that the container has not.
  const variables = env.flatMap((entry) => {
    const equals = entry.indexOf('=');
    return equals < 0 ? [] : [[entry.slice(0, equals), entry.slice(equals + 1)] as const];
  });
  const chosen = (
    from: Iterable<readonly [string, string]>,
    names: string | undefined,
    pattern: string | undefined,
  ) => {
    const wanted = new Set(names?.split(',').filter((name) => name !== ''));
    const matching = pattern === undefined || pattern === '' ? undefined : expression(pattern);
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
  // Also what is begun and has no end: Docker refuses that too.
  const text = tag.replace(/\{\{(?:\s*\.(\w+)\s*\}\}|.*)/gs, (whole, name: string | undefined) => {
    if (name !== undefined && Object.hasOwn(fields, name)) return fields[name]!;
    throw unsupported(`--log-opt tag: ${whole}: only {{.ID}}, {{.Name}} and other fields are supported`);
  });
  return text === '' ? {} : { tag: text };
}

import assert from 'node:assert/strict';
import test from 'node:test';
import { checkCount, type FlagTable, parseFlags, UsageError } from '../../src/cli/args.ts';

const flags = {
  all: { kind: 'bool', short: 'a', help: '' },
  env: { kind: 'list', short: 'e', help: '' },
  interactive: { kind: 'bool', short: 'i', help: '' },
  last: { kind: 'int', short: 'n', default: -1, help: '' },
  name: { kind: 'string', help: '' },
  message: { kind: 'string', short: 'm', default: '', help: '' },
  network: { kind: 'string', default: 'none', help: '', aliases: ['net'] },
  pause: { kind: 'bool', short: 'p', default: true, help: '' },
  tty: { kind: 'bool', short: 't', help: '' },
} as const satisfies FlagTable;

const run = { flags, unsupported: 'memory/M publish-all', stopAtArgument: true };
const ps = { flags, unsupported: 'memory/M publish-all' };

const parsed = (line: readonly string[], grammar: typeof ps = run) => {
  const { values, args } = parseFlags(grammar, line);
  const changed = Object.entries(values).filter(([name, value]) => {
    const spec: { kind: string; default?: unknown } = flags[name as keyof typeof flags];
    const usual = spec.default ?? (spec.kind === 'bool' ? false : spec.kind === 'list' ? [] : undefined);
    return JSON.stringify(value) !== JSON.stringify(usual);
  });
  return { ...Object.fromEntries(changed), args };
};

const ACCEPTED: [string, string[], object][] = [
  ['a value in the next word', ['--name', 'x'], { name: 'x', args: [] }],
  ['a value behind =', ['--name=x'], { name: 'x', args: [] }],
  ['an empty value behind =', ['--name='], { name: '', args: [] }],
  ['a value with = in it', ['--name=a=b'], { name: 'a=b', args: [] }],
  ['a value that begins with a dash', ['-m', '- fix', '--name', '--x'], { message: '- fix', name: '--x', args: [] }],
  ['a value that is a flag', ['--name', '--tty', 'c'], { name: '--tty', args: ['c'] }],
  ['a short flag with its value', ['-eA=B', '-e', 'C=D', '-e=E=F'], { env: ['A=B', 'C=D', 'E=F'], args: [] }],
  ['bools together', ['-it', 'c'], { interactive: true, tty: true, args: ['c'] }],
  ['bools and a value together', ['-itmtext', 'c'], { interactive: true, tty: true, message: 'text', args: ['c'] }],
  ['bools and a value in the next word', ['-itm', '-x'], { interactive: true, tty: true, message: '-x', args: [] }],
  ['a bool with a value', ['--all=true', '--pause=false', '-t=1'], { all: true, pause: false, tty: true, args: [] }],
  ['the last of two values', ['--name', 'a', '--name', 'b'], { name: 'b', args: [] }],
  ['numbers', ['-n', '-3'], { last: -3, args: [] }],
  ['hexadecimal numbers', ['-n0x10'], { last: 16, args: [] }],
  ['another spelling', ['--net', 'host'], { network: 'host', args: [] }],
  ['a bool does not take the next word', ['--all', 'false'], { all: true, args: ['false'] }],
  ['a single dash is an argument', ['-', '-t'], { args: ['-', '-t'] }],
  ['-- ends the flags', ['-t', '--', '-i', '--name'], { tty: true, args: ['-i', '--name'] }],
  ['an empty argument', ['', '-t'], { args: ['', '-t'] }],
];

for (const [name, line, expected] of ACCEPTED) {
  test(`args: ${name}`, () => assert.deepEqual(parsed(line), expected));
}

test("args: the container's own flags are not eaten", () => {
  const line = ['-i', 'ubuntu', 'ls', '-t', '--name', 'x', '--', '--foo'];
  assert.deepEqual(parsed(line), { interactive: true, args: ['ubuntu', 'ls', '-t', '--name', 'x', '--', '--foo'] });
});

test('args: where nothing belongs to a container, flags may stand behind arguments', () => {
  assert.deepEqual(parsed(['a', '-t', 'b', '--', '-i'], ps), { tty: true, args: ['a', 'b', '-i'] });
});

const REFUSED: [string[], RegExp][] = [
  [['--foo'], /^unknown flag: --foo$/],
  [['--foo=x'], /^unknown flag: --foo$/],
  [['-tx'], /^unknown shorthand flag: 'x' in -tx$/],
  [['--name'], /^flag needs an argument: --name$/],
  [['-tm'], /^flag needs an argument: 'm' in -tm$/],
  [['--all=maybe'], /^invalid argument "maybe" for "-a, --all" flag: /],
  [['-n', 'x'], /^invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax$/],
  [['-n', '99999999999999999999'], /out of range$/],
  [['---x'], /^bad flag syntax: ---x$/],
  [['--=x'], /^bad flag syntax: --=x$/],
  [['--memory', '1g'], /^--memory: not supported yet$/],
  [['--memory=1g'], /^--memory: not supported yet$/],
  [['-tM', '1g'], /^-M: not supported yet$/],
  [['--publish-all'], /^--publish-all: not supported yet$/],
];

for (const [line, message] of REFUSED) {
  test(`args: refuses ${line.join(' ')} with exit code 125`, () => {
    assert.throws(
      () => parseFlags(run, line),
      (error) => error instanceof UsageError && message.test(error.message) && error.exitCode === 125,
    );
  });
}

test('args: --help is asked for wherever a flag may stand, and -h where it is no other flag', () => {
  assert.equal(parseFlags(run, ['-t', '--help', '--foo']).help, true);
  assert.equal(parseFlags(run, ['-h']).help, true);
  assert.equal(parseFlags(run, ['ubuntu', '--help']).help, false);
  assert.equal(parseFlags({ flags: { host: { kind: 'string', short: 'h', help: '' } } }, ['-h', 'x']).values.host, 'x');
});

test('args: too few or too many arguments end with exit code 1', () => {
  const message = (count: number, min: number, max: number) => {
    try {
      checkCount('tsbox x', Array<string>(count).fill('a'), min, max);
      return undefined;
    } catch (error) {
      assert.equal((error as UsageError).exitCode, 1);
      return (error as Error).message;
    }
  };
  assert.equal(message(1, 1, Number.POSITIVE_INFINITY), undefined);
  assert.equal(message(0, 1, Number.POSITIVE_INFINITY), "'tsbox x' requires at least 1 argument");
  assert.equal(message(1, 2, 2), "'tsbox x' requires 2 arguments");
  assert.equal(message(1, 0, 0), "'tsbox x' accepts no arguments");
  assert.equal(message(3, 1, 2), "'tsbox x' requires at least 1 and at most 2 arguments");
  assert.equal(message(2, 0, 1), "'tsbox x' requires at most 1 argument");
});

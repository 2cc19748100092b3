import assert from 'node:assert/strict';
import test from 'node:test';
import { command } from '../../src/cli/command.ts';
import { commandHelp, groupHelp, mainHelp } from '../../src/cli/help.ts';
import { VERBS } from '../../src/cli/verbs.ts';

const verb = command({
  usage: '[OPTIONS] THING [THING...]',
  summary: 'Do things',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    tail: { kind: 'string', short: 'n', default: 'all', help: 'Number of lines' },
    env: { kind: 'list', short: 'e', help: 'A description that is so long that it must go on in the line below' },
    last: { kind: 'int', default: -1, help: 'How many', aliases: ['hidden'] },
    force: { kind: 'bool', short: 'f', default: false, help: 'By force' },
    pause: { kind: 'bool', default: true, help: 'Pause' },
    filter: { kind: 'list', value: 'filter', help: 'Filter' },
  },
  unsupported: 'secret',
  run: async () => 0,
});

test('help: flags are sorted and aligned as in Docker, with kinds, defaults and wrapped descriptions', () => {
  assert.equal(
    commandHelp('things', verb, 60),
    [
      'Usage:  tsbox things [OPTIONS] THING [THING...]',
      '',
      'Do things',
      '',
      'Options:',
      '  -e, --env list        A description that is so long that',
      '                        it must go on in the line below',
      '      --filter filter   Filter',
      '  -f, --force           By force',
      '      --help            Print this help',
      '      --last int        How many (default -1)',
      '      --pause           Pause (default true)',
      '  -n, --tail string     Number of lines (default "all")',
      '',
    ].join('\n'),
  );
});

test('help: the other spellings of a verb are named, whichever was used', async () => {
  const { verb: ps } = await VERBS['ps']!();
  const aliases = 'Aliases:\n  tsbox container ls, tsbox container list, tsbox container ps, tsbox ps\n';
  assert.ok(commandHelp('ps', ps, 80).includes(aliases));
  const long = commandHelp('container ls', ps, 80);
  assert.ok(long.includes(aliases));
  assert.ok(long.startsWith('Usage:  tsbox container ls [OPTIONS]\n'));
});

test('help: a verb without flags has no table of them', async () => {
  const { verb: tag } = await VERBS['tag']!();
  assert.equal(
    commandHelp('tag', tag, 80),
    'Usage:  tsbox tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\nGive an image a further name\n\nAliases:\n  tsbox image tag, tsbox tag\n',
  );
});

test('help: no line is wider than the terminal', async () => {
  for (const [name, load] of Object.entries(VERBS)) {
    for (const line of commandHelp(name, (await load()).verb, 80).split('\n')) {
      assert.ok(line.length <= 80 || line.startsWith('  tsbox '), `${name}: ${line}`);
    }
  }
});

test('help: the main help lists every verb with its summary; that of a group each verb once', async () => {
  const text = await mainHelp({}, 80);
  for (const [name, load] of Object.entries(VERBS).filter(([each]) => !each.includes(' '))) {
    assert.ok(text.includes(`  ${name.padEnd(11)} ${(await load()).verb.summary}\n`), name);
  }
  const group = await groupHelp('image');
  assert.match(group, /^ {2}ls +List images$/m);
  assert.doesNotMatch(group, /^ {2}list /m);
});

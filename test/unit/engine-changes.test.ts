// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how variables look in a Dockerfile
/** `--change`: Dockerfile instructions as Docker reads them. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { applyChanges } from '../../src/engine/changes.ts';
import { exposedPorts } from '../../src/engine/changes-expose.ts';
import { expandWord, splitWords } from '../../src/engine/dockerfile-words.ts';

const change = (...changes: string[]) => applyChanges({}, changes);

test('changes: CMD and ENTRYPOINT have a JSON form and a shell form', () => {
  assert.deepEqual(change('CMD ["a", "b c"]').Cmd, ['a', 'b c']);
  assert.deepEqual(change('CMD echo "a  b" $HOME').Cmd, ['/bin/sh', '-c', 'echo "a  b" $HOME']);
  assert.deepEqual(change('cmd [a, b]').Cmd, ['/bin/sh', '-c', '[a, b]']);
  assert.deepEqual(change('ENTRYPOINT ["/init"]').Entrypoint, ['/init']);
  assert.deepEqual(change('ENTRYPOINT /init -x').Entrypoint, ['/bin/sh', '-c', '/init -x']);
  assert.deepEqual(applyChanges({ Shell: ['/bin/ash', '-ec'] }, ['CMD x']).Cmd, ['/bin/ash', '-ec', 'x']);
  assert.throws(() => change('CMD ["a", 1]'), /comprised of strings only/);
});

test("changes: ENTRYPOINT takes the image's command away, but not one that is given beside it", () => {
  assert.equal(applyChanges({ Cmd: ['sh'] }, ['ENTRYPOINT ["/init"]']).Cmd, null);
  assert.deepEqual(applyChanges({ Cmd: ['sh'] }, ['CMD ["x"]', 'ENTRYPOINT ["/init"]']).Cmd, ['x']);
  assert.deepEqual(applyChanges({ Cmd: ['sh'] }, ['ENTRYPOINT ["/init"]', 'CMD ["x"]']).Cmd, ['x']);
});

test('changes: ENV replaces and adds, expands variables, knows quotes and the old form', () => {
  const env = { Env: ['PATH=/bin', 'A=1'] };
  assert.deepEqual(applyChanges(env, ['ENV PATH=$PATH:/opt']).Env, ['PATH=/bin:/opt', 'A=1']);
  assert.deepEqual(applyChanges(env, ['ENV A=2 B="b $A" C=\'c $A\'']).Env, ['PATH=/bin', 'A=2', 'B=b 1', 'C=c $A']);
  assert.deepEqual(change('ENV a b   c').Env, ['a=b   c']);
  assert.deepEqual(change('ENV a=b\\ c d="e\\"f"').Env, ['a=b c', 'd=e"f']);
  assert.deepEqual(change('ENV x=${y:-d} z=${y:+set}').Env, ['x=d', 'z=']);
  assert.deepEqual(env.Env, ['PATH=/bin', 'A=1']);
  assert.throws(() => change('ENV a'), /ENV must have two arguments/);
  assert.throws(() => change('ENV'), /ENV requires at least one argument/);
  assert.throws(() => change('ENV a=b c'), /can't find = in "c"/);
  assert.throws(() => change('ENV =b'), /ENV names can not be blank/);
});

test('changes: LABEL, USER, WORKDIR, STOPSIGNAL, VOLUME, ONBUILD', () => {
  const labels = applyChanges({ Labels: { a: '1' } }, ['LABEL a=2 "b c"="d e"']).Labels;
  assert.deepEqual(labels, { a: '2', 'b c': 'd e' });
  assert.equal(change('USER 1:2').User, '1:2');
  assert.equal(change('WORKDIR a').WorkingDir, '/a');
  assert.equal(applyChanges({ WorkingDir: '/a' }, ['WORKDIR b/../c', 'WORKDIR d']).WorkingDir, '/a/c/d');
  assert.equal(change('STOPSIGNAL SIGUSR1').StopSignal, 'SIGUSR1');
  assert.deepEqual(change('VOLUME /a /b', 'VOLUME ["/d e"]').Volumes, { '/a': {}, '/b': {}, '/d e': {} });
  assert.deepEqual(change('ONBUILD run  make x').OnBuild, ['run  make x']);
  assert.throws(() => change('STOPSIGNAL SIGNONSENSE'), /invalid signal/i);
  assert.throws(() => change('ONBUILD ONBUILD RUN x'), /Chaining ONBUILD/);
  assert.throws(() => change('ONBUILD FROM x'), /FROM isn't allowed as an ONBUILD trigger/);
});

test('changes: EXPOSE takes ports, ranges and protocols', () => {
  assert.deepEqual(Object.keys(change('EXPOSE 80 53/udp 8000-8002').ExposedPorts ?? {}), [
    '80/tcp',
    '53/udp',
    '8000/tcp',
    '8001/tcp',
    '8002/tcp',
  ]);
  assert.deepEqual(Object.keys(applyChanges({ Env: ['P=80 81'] }, ['EXPOSE $P']).ExposedPorts ?? {}), [
    '80/tcp',
    '81/tcp',
  ]);
  for (const bad of ['x', '80/xyz', '99999', '81-80', '-1', '']) assert.throws(() => exposedPorts(bad), bad);
});

test('changes: HEALTHCHECK with its flags', () => {
  assert.deepEqual(change('HEALTHCHECK NONE').Healthcheck, { Test: ['NONE'] });
  assert.deepEqual(change('HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f x').Healthcheck, {
    Interval: 90e9,
    Timeout: 0.5e9,
    Retries: 3,
    Test: ['CMD-SHELL', 'curl -f x'],
  });
  assert.deepEqual(change('HEALTHCHECK CMD ["a", "b"]').Healthcheck, { Test: ['CMD', 'a', 'b'] });
  for (const bad of ['', 'CMD', 'NONE x', 'RUN x', '--interval=5 CMD x', '--retries=0 CMD x', '--nonsense=1 CMD x']) {
    assert.throws(() => change(`HEALTHCHECK ${bad}`), { code: 'ERR_TSBOX_USAGE' }, bad);
  }
});

test('changes: continued lines and comments', () => {
  assert.deepEqual(change('# nothing\nENV a=1 \\\n  # inside\n  b=2\nUSER x').Env, ['a=1', 'b=2']);
});

test('changes: one without an instruction is refused', () => {
  for (const none of ['', ' ', '# only this'])
    assert.throws(() => change(none), { message: 'file with no instructions' });
  assert.deepEqual(applyChanges({}, ['', 'USER x']), { User: 'x' });
  assert.deepEqual(applyChanges({}, []), {});
});

test('changes: other instructions are refused by name', () => {
  for (const bad of ['RUN x', 'FROM y', 'COPY a b', 'constructor x']) {
    assert.throws(() => change(bad), {
      code: 'ERR_TSBOX_USAGE',
      message: `${bad.split(' ')[0]!.toLowerCase()} is not a valid change command`,
    });
  }
});

test('words: white space splits outside of quotes only', () => {
  assert.deepEqual(splitWords('a "b c" \'d e\' f\\ g'), ['a', '"b c"', "'d e'", 'f\\ g']);
});

test('words: quotes, escapes and variables', () => {
  const lookup = (name: string) => ({ a: '1', empty: '' })[name];
  const cases: [string, string][] = [
    ['$a', '1'],
    ['${a}b', '1b'],
    ['$ab', ''],
    ['\\$a', '$a'],
    ['"\\$a $a \\n"', '$a 1 \\n'],
    ["'$a\\'", '$a\\'],
    ['${empty:-x}${empty-y}', 'x'],
    ['${a:+yes}${b+no}', 'yes'],
    ['${b:-${a}}', '1'],
    ['$', '$'],
    ['a\\', 'a'],
  ];
  for (const [text, wanted] of cases) assert.equal(expandWord(text, lookup), wanted, text);
  for (const bad of ['"a', "'a", '${a', '${}', '${a:x}', '${b:?is missing}']) {
    assert.throws(() => expandWord(bad, lookup), { code: 'ERR_TSBOX_USAGE' }, bad);
  }
});

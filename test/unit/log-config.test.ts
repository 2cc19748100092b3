/** Log drivers and their options; the words are those of docker 20.10. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { logConfig, logFile } from '../../src/spec/log-config.ts';

const subject = {
  id: 'a'.repeat(64),
  name: 'one',
  imageId: `sha256:${'b'.repeat(64)}`,
  image: 'busybox',
  labels: { x: '1', app: '"2"' },
  env: ['A=b=c', 'D='],
};
const json = (...options: string[]) => logFile(logConfig('', options), subject);

test('log options: what is refused, in the words of docker', () => {
  const start = 'failed to initialize logging driver: ';
  const refused: [driver: string, option: string, words: string][] = [
    ['nope', '', 'error looking up logging plugin nope: plugin "nope" not found'],
    ['none', 'a=b', 'invalid logging opts for driver none'],
    ['', 'a=b', "unknown log opt 'a' for json-file log driver"],
    ['', 'mode=x', 'logger: logging mode not supported: x'],
    ['', 'max-size=x', `${start}invalid size: 'x'`],
    ['', 'max-size=-1', `${start}invalid size: '-1'`],
    ['', 'max-size=0', `${start}max-size must be a positive number`],
    ['', 'max-file=0', `${start}max-file cannot be less than 1`],
    ['', 'max-file=x', `${start}strconv.Atoi: parsing "x": invalid syntax`],
    ['', 'compress=x', `${start}strconv.ParseBool: parsing "x": invalid syntax`],
    ['', 'compress=true', `${start}compress cannot be true when max-file is less than 2 or max-size is not set`],
    ['', 'max-buffer-size=1m', "logger: max-buffer-size option is only supported with 'mode=non-blocking'"],
    ['syslog', '', 'logging driver syslog: not supported: json-file and none are'],
    ['', 'mode=non-blocking', '--log-opt mode=non-blocking: not supported: no line is thrown away'],
  ];
  for (const [driver, option, message] of refused) {
    assert.throws(() => logConfig(driver, option === '' ? [] : [option]), { message, exitCode: 125 });
  }
  const both = ['compress=true', 'max-file=2', 'max-size=1m'];
  assert.throws(() => logConfig('', both), /compress=true: not supported: rotated files stay as they are/);
});

test('log options: sizes are powers of 1000', () => {
  assert.deepEqual(json(), { maxSize: -1, maxFiles: 1, attrs: '' });
  assert.deepEqual(json('max-size=10m', 'max-file=3', 'compress=false'), { maxSize: 1e7, maxFiles: 3, attrs: '' });
  assert.deepEqual(
    ['1.5k', '2KB', '3 MiB', '7'].map((size) => json(`max-size=${size}`)!.maxSize),
    [1500, 2000, 3e6, 7],
  );
  assert.equal(logFile(logConfig('none', []), subject), undefined);
});

test('log options: what stands beside each line, in order', () => {
  const attrs = (...options: string[]) => json(...options)!.attrs;
  assert.equal(attrs('labels=x,gone,app', 'env=D'), '{"D":"","app":"\\"2\\"","x":"1"}');
  assert.equal(attrs('labels-regex=^a', 'env-regex=A'), '{"A":"b=c","app":"\\"2\\""}');
  assert.equal(attrs('tag={{.Name}}/{{ .ID }}'), '{"tag":"one/aaaaaaaaaaaa"}');
  assert.throws(() => attrs('tag={{upper .Name}}'), /--log-opt tag: {{upper .Name}}: only/);
});

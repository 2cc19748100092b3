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
    ['local', 'max-buffer-size=1m', "logger: max-buffer-size option is only supported with 'mode=non-blocking'"],
    ['syslog', '', 'logging driver syslog: not supported: json-file, local and none are'],
    ['local', 'labels=a', "unknown log opt 'labels' for log driver local"],
    ['local', 'tag=a', "unknown log opt 'tag' for log driver local"],
    ['local', 'max-size=x', `${start}invalid value for max-size: x: invalid size: 'x'`],
    ['local', 'max-file=x', `${start}invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax`],
    ['local', 'max-file=1', `${start}compression cannot be enabled when max file count is 1`],
    ['local', 'compress=', `${start}error reading compress log option: strconv.ParseBool: parsing "": invalid syntax`],
  ];
  for (const [driver, option, message] of refused) {
    assert.throws(() => logConfig(driver, option === '' ? [] : [option]), { message });
  }
  const buffer = ['mode=non-blocking', 'max-buffer-size=x'];
  assert.throws(() => logConfig('local', buffer), {
    message: "error parsing option max-buffer-size: invalid size: 'x'",
  });
});

test('log options: sizes are powers of 1000', () => {
  const usual = { maxSize: -1, maxFiles: 1, compress: false, attrs: '', format: 'json-file', buffer: 0 };
  assert.deepEqual(json(), usual);
  assert.deepEqual(json('max-size=10m', 'max-file=3', 'compress=true', 'mode=non-blocking'), {
    ...usual,
    ...{ maxSize: 1e7, maxFiles: 3, compress: true, buffer: 1_000_000 },
  });
  assert.deepEqual(
    ['1.5k', '2KB', '3 MiB', '7'].map((size) => json(`max-size=${size}`)!.maxSize),
    [1500, 2000, 3e6, 7],
  );
  assert.equal(logFile(logConfig('none', []), subject), undefined);
  const local = (...options: string[]) => logFile(logConfig('local', options), subject);
  const docker = { maxSize: 20 << 20, maxFiles: 5, compress: true, attrs: '', format: 'local', buffer: 0 };
  assert.deepEqual(local(), docker);
  assert.deepEqual(local('max-size=1m', 'max-file=1', 'compress=f', 'mode=non-blocking', 'max-buffer-size=4k'), {
    ...docker,
    ...{ maxSize: 1e6, maxFiles: 1, compress: false, buffer: 4096 },
  });
});

test('log options: what stands beside each line, in order', () => {
  const attrs = (...options: string[]) => json(...options)!.attrs;
  assert.equal(attrs('labels=x,gone,app', 'env=D'), '{"D":"","app":"\\"2\\"","x":"1"}');
  assert.equal(attrs('labels-regex=^a', 'env-regex=A'), '{"A":"b=c","app":"\\"2\\""}');
  assert.equal(attrs('tag={{.Name}}/{{ .ID }}'), '{"tag":"one/aaaaaaaaaaaa"}');
  for (const tag of ['{{upper .Name}}', '{{ID}}', '{{.ID'])
    assert.throws(() => attrs(`tag=a${tag}`), new RegExp(`--log-opt tag: ${tag}: only`));
  assert.throws(() => attrs('labels-regex=('), /^.*: failed to initialize logging driver: error parsing regexp: /);
  const labels = { a: '<x & y>' };
  const written = logFile(logConfig('', ['labels=a', 'env=B']), { ...subject, labels, env: ['B'] })!;
  assert.equal(written.attrs, '{"a":"\\u003cx \\u0026 y\\u003e"}');
});

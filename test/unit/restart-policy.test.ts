import assert from 'node:assert/strict';
import test from 'node:test';
import { checkRestartPolicy, type Ended, nextRestart, parseRestartPolicy } from '../../src/engine/restart-policy.ts';

const ENDED: Ended = { exitCode: 1, ran: 50, restarts: 0, manuallyStopped: false, delay: 0 };
const next = (policy: string, ended: Partial<Ended> = {}) =>
  nextRestart({ RestartPolicy: parseRestartPolicy(policy) }, { ...ENDED, ...ended });

test('restart: the delay doubles from 100 ms to a minute', () => {
  const delays: number[] = [];
  while (delays.length < 12) delays.push(next('always', { delay: delays.at(-1) ?? 0 })!);
  assert.deepEqual(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
});

test('restart: who ran for ten seconds waits for 100 ms again', () => {
  assert.equal(next('always', { delay: 60_000, ran: 10_000 }), 100);
  assert.equal(next('always', { delay: 400, ran: 9_999 }), 800);
});

test('restart: which end each policy follows', () => {
  const follows = (policy: string, ended: Partial<Ended>) => next(policy, ended) !== undefined;
  assert.deepEqual(
    ['no', '', 'on-failure', 'always', 'unless-stopped'].map((policy) => [
      follows(policy, { exitCode: 0 }),
      follows(policy, { exitCode: 1 }),
      follows(policy, { manuallyStopped: true }),
    ]),
    [
      [false, false, false],
      [false, false, false],
      [false, true, true],
      [true, true, true],
      [true, true, false],
    ],
  );
  assert.equal(nextRestart({}, ENDED), undefined);
});

test('restart: on-failure:n counts', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((restarts) => next('on-failure:2', { restarts }) !== undefined),
    [true, true, false, false],
  );
});

test('restart: what is no policy is refused as Docker does', () => {
  const refused = (text: string, message: string) =>
    assert.throws(() => checkRestartPolicy(parseRestartPolicy(text)), { message });
  assert.deepEqual(parseRestartPolicy('on-failure:'), { Name: 'on-failure', MaximumRetryCount: 0 });
  refused('a:b:c', 'invalid restart policy format: maximum retry count must be an integer');
  refused(':1', 'invalid restart policy format: no policy provided before colon');
  refused('on-failure:x', 'invalid restart policy format: maximum retry count must be an integer');
  refused('on-failure:-1', 'maximum retry count cannot be negative');
  refused('always:2', "maximum retry count cannot be used with restart policy 'always'");
  refused('sometimes', "invalid restart policy 'sometimes'");
});

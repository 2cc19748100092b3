/** The clock is set by hours while containers run: nothing waits for hours, nothing is lost. It is the machine's own, so only in here. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { type Sandbox, sandbox, until } from '../../system/harness.ts';

/** What the machine's first process leaves there. */
const isMachine = existsSync('/run/vm/guest.sh');
const HOUR = 3_600_000;

function setClock(time: number): void {
  assert.ok(isMachine, 'the clock of the host is nobody’s to set');
  const { status, stderr } = spawnSync('date', ['--set', `@${time / 1000}`], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** Sets the clock forward, runs `work`, sets it back to before it was, runs `work` again; in the end it is right again. */
async function withJumps(work: (when: string) => Promise<void>): Promise<void> {
  const offset = Date.now() - performance.now();
  const now = () => offset + performance.now();
  try {
    for (const [when, hours] of [
      ['forward', 6],
      ['back', -6],
    ] as const) {
      setClock(now() + hours * HOUR);
      await work(when);
    }
  } finally {
    setClock(now());
  }
}

const field = (box: Sandbox, name: string, text: string) => box.ok(['inspect', '--format', text, name]);

test('clock: set while containers run: stop, wait, kill, exec, ps and logs do not wait for it', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  if (!isMachine) return t.skip('sets the clock');
  const box = sandbox(t);
  const image = box.image();
  const deaf = ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.2; done'];
  await withJumps(async (when) => {
    box.ok(['run', '--detach', '--name', when, image, ...deaf]);
    await until('its trap', () => box.ok(['logs', when]) === 'ready');
    const waiting = box.start(['wait', when]);
    const stopping = box.start(['stop', '--time', '3', when]);
    const following = box.start(['logs', '--follow', when]);
    const soon = new Date(Date.now() + 20_000).toISOString();
    const watching = box.start(['events', '--until', soon]);
    // They have begun: the clock is set under them.
    await new Promise((wake) => setTimeout(wake, 10_000));
    const late = Date.now() + (when === 'forward' ? 3 : -3) * HOUR;
    setClock(late);
    assert.equal((await stopping.done).stdout, `${when}\n`);
    assert.equal((await waiting.done).stdout, '137\n');
    assert.equal((await following.done).stdout, 'ready\n');
    assert.equal((await watching.done).status, 0);
    assert.match(
      box.ok(['ps', '--all', '--format', '{{.Names}} {{.Status}}']),
      new RegExp(`^${when} Exited \\(137\\)`, 'm'),
    );
    box.ok(['start', when]);
    assert.equal(box.ok(['exec', when, 'echo', 'here']), 'here');
    assert.match(box.ok(['ps', '--format', '{{.Names}} {{.Status}}']), new RegExp(`^${when} Up `, 'm'));
    box.ok(['rm', '--force', when]);
  });
});

test('clock: set while containers run: health checks and restarts go on, logs and events have everything', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  if (!isMachine) return t.skip('sets the clock');
  const box = sandbox(t);
  const image = box.image();
  const probe = ['--health-cmd', '! test -e /ill', '--health-interval', '1s', '--health-retries', '1'];
  box.ok(['run', '--detach', '--name', 'probed', ...probe, image, 'sleep', '100000']);
  const loop = 'while [ ! -e /go ]; do sleep 0.2; done; rm /go; echo again; exit 1';
  box.ok(['run', '--detach', '--name', 'again', '--restart', 'always', image, 'sh', '-c', loop]);
  const talk = 'i=0; while :; do i=$((i + 1)); echo line $i; sleep 1; done';
  box.ok(['run', '--detach', '--name', 'talks', image, 'sh', '-c', talk]);
  const events = box.start(['events', '--filter', 'type=container']);
  const following = box.start(['logs', '--follow', 'talks']);
  const health = () => field(box, 'probed', '{{.State.Health.Status}}');
  let restarts = 0;
  await until('the first check', () => health() === 'healthy', 30_000);
  await withJumps(async (when) => {
    box.ok(['exec', 'probed', 'touch', '/ill']);
    await until(`${when}: a check that fails`, () => health() === 'unhealthy', 30_000);
    box.ok(['exec', 'probed', 'rm', '/ill']);
    await until(`${when}: a check that does not`, () => health() === 'healthy', 30_000);
    box.tsbox(['exec', 'again', 'touch', '/go']); // may be killed by the end that it brings about
    restarts++;
    await until(
      `${when}: run ${restarts}`,
      () => field(box, 'again', '{{.RestartCount}} {{.State.Status}}') === `${restarts} running`,
      30_000,
    );
    const seen = box.ok(['logs', '--tail', '1', 'talks']);
    await until(`${when}: more lines`, () => box.ok(['logs', '--tail', '1', 'talks']) !== seen, 30_000);
  });
  box.ok(['stop', '--time', '0', 'talks']);
  const lines = box.ok(['logs', 'talks']).split('\n');
  assert.deepEqual(
    lines,
    lines.map((_, index) => `line ${index + 1}`),
  );
  assert.equal((await following.done).stdout.trim(), lines.join('\n'));
  assert.equal(
    box.ok(['logs', '--since', '24h', '--until', new Date(Date.now() + 24 * HOUR).toISOString(), 'talks']).split('\n')
      .length,
    lines.length,
  );
  await until('its end', () => / die .*name=talks/.test(events.stdout()), 30_000);
  events.child.kill('SIGINT');
  await events.done.catch(() => {});
  const deaths = events
    .stdout()
    .split('\n')
    .filter((line) => / die .*name=again/.test(line));
  assert.equal(deaths.length, restarts);
  assert.match(box.ok(['events', '--since', '24h', '--until', '1s']), / die .*name=talks/);
  box.ok(['rm', '--force', 'probed', 'again', 'talks']);
});

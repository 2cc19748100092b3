/** An ordinary user's restart policies and health checks: his monitors are followed by his own tsbox. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { user } from './user.ts';

test('rootless: restart policies, restart and health checks', async (t) => {
  if (!requires(t, 'root', 'overlay', 'userns', 'command:useradd', 'command:newuidmap')) return;
  const he = user(t);
  const image = he.image();
  const status = () => he.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}']);
  he.ok(['run', '-d', '--name', 'fails', '--restart', 'on-failure:1', image, 'sh', '-c', 'echo x; exit 3']);
  await until('the last end', () => /^fails Exited \(3\)/m.test(status()));
  await until('both runs', () => he.ok(['logs', 'fails']) === 'x\nx');
  const probe = ['--health-interval', '200ms', '--health-cmd', 'test "$(id -u)" = 0'];
  he.ok(['run', '-d', '--name', 'probed', '--init', ...probe, image, 'sleep', '1000']);
  await until('its health', () => /^probed Up .* \(healthy\)$/m.test(status()));
  he.ok(['restart', 'probed']);
  assert.match(status(), /^probed Up/m);
  he.ok(['rm', '-f', 'probed', 'fails']);
});

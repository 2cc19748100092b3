/** Image references beside docker's client, which reads them before it looks for its daemon. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { requires } from '../requires.ts';
import { BAD, GOOD } from '../unit/reference-vectors.ts';

test("reference: Docker's own parser agrees on every vector", { timeout: 120_000 }, (context) => {
  if (!requires(context, 'command:docker')) return;
  const ask = (text: string): string => {
    const environment = { ...process.env, DOCKER_HOST: 'unix:///nonexistent/docker.sock' };
    const { stderr } = spawnSync('docker', ['pull', '--', text], { encoding: 'utf8', env: environment });
    return stderr.trim().split('\n').at(-1) ?? '';
  };
  // Clients before version 23 know neither addresses of IPv6 nor hosts in capitals without a dot, and count the host as part of the name.
  const old = !/Cannot connect/.test(ask('[::1]:5000/x'));
  for (const [text] of GOOD) {
    if (old && /^(\[|HOST\/|x\.y\/)/.test(text)) continue;
    assert.match(ask(text), /Cannot connect to the Docker daemon/, text);
  }
  // The words differ between Docker's versions; that it is refused does not.
  for (const [text] of BAD) assert.doesNotMatch(ask(text), /Cannot connect to the Docker daemon/, JSON.stringify(text));
});

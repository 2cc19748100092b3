/** A list as a container has it: all namespaces, a root of its own. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Step } from '../../src/plan/step.ts';
import { EXECUTOR, finish, launch, piped, spawning } from '../executor.ts';
import { requires } from '../requires.ts';

const why = 'for a test';
const BUSYBOX = '/bin/busybox';

function steps(root: string, script: string): Step[] {
  const mount = (
    source: string,
    target: string,
    type: string,
    flags: (Step & { op: 'mount' })['flags'] = [],
  ): Step => ({
    op: 'mount',
    source,
    target,
    type,
    flags,
    data: '',
    why,
  });
  return [
    {
      op: 'unshare',
      flags: ['CLONE_NEWPID', 'CLONE_NEWNS', 'CLONE_NEWUTS', 'CLONE_NEWIPC', 'CLONE_NEWNET', 'CLONE_NEWCGROUP'],
      why,
    },
    { op: 'fork', why },
    { op: 'setsid', why },
    mount('', '/', '', ['MS_REC', 'MS_PRIVATE']),
    mount('tmpfs', root, 'tmpfs', ['MS_NOSUID']),
    { op: 'mkdir', path: `${root}/bin`, mode: 0o755, why },
    { op: 'mkdir', path: `${root}/proc`, mode: 0o755, why },
    { op: 'write', path: `${root}/bin/busybox`, data: '', flags: ['O_CREAT'], mode: 0o755, why },
    mount(`${root}.busybox`, `${root}/bin/busybox`, '', ['MS_BIND']),
    { op: 'symlink', target: 'busybox', path: `${root}/bin/sh`, why },
    mount('proc', `${root}/proc`, 'proc', ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC']),
    { op: 'sethostname', name: 'inside', why },
    { op: 'link_up', name: 'lo', why },
    { op: 'chdir', path: root, why },
    { op: 'pivot_root', root: '.', old: '.', why },
    { op: 'umount', target: '.', flags: ['MNT_DETACH'], why },
    { op: 'chdir', path: '/', why },
    { op: 'exec', args: ['sh', '-c', script], env: ['PATH=/bin'], why },
  ];
}

test('executor: a container-like list makes process 1 in a root of its own', async (context) => {
  if (!requires(context, `file:${EXECUTOR}`, `file:${BUSYBOX}`, 'root')) return;
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-container-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  copyFileSync(BUSYBOX, `${root}.busybox`);
  try {
    const script =
      'echo $$; busybox hostname; busybox ls /; busybox ps | busybox wc -l; busybox wc -l < /proc/mounts; kill -9 $$; exit 3';
    const launched = launch({ monitor: [piped(), spawning(...steps(root, script))] });
    const result = await finish(launched);
    assert.deepEqual(result.failed, []);
    assert.equal(result.stdout, '1\ninside\nbin\nproc\n4\n3\n');
    assert.equal(result.stderr, '');
    assert.equal(result.code, 3, 'process 1 does not hear its own SIGKILL');
    assert.ok((launched.started ?? 0) > 1);
    const killed = launch({ monitor: [piped(), spawning(...steps(root, 'busybox sleep 60; exit 0'))] });
    await killed.until((client) => client.started !== undefined);
    process.kill(killed.started!, 'SIGKILL');
    const { stderr, code } = await finish(killed);
    assert.deepEqual([stderr, code], ['', 137]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

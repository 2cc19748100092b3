/** Names and DNS servers of containers without a network and with the host's, beside docker: the same flags, the same files. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { besideDocker } from './beside-docker.ts';

const FILES = [
  'busybox:offline',
  'sh',
  '-c',
  'cat /etc/hosts /etc/resolv.conf; hostname; cat /proc/sys/kernel/domainname',
];
const named = ['--hostname', 'foo'];

test('flags of names: the files of /etc are those of docker', async (context) => {
  if (!requires(context, 'root', 'overlay', 'command:dockerd', 'command:docker')) return;
  const { box, both, same } = await besideDocker(context);
  box.image();
  await both('import', `${import.meta.dirname}/../../rootfs-fixtures/build/busybox.tar`, 'busybox:offline');
  const none = (...flags: string[]) => same('run', '--rm', '--network', 'none', ...named, ...flags, ...FILES);
  await none();
  const hosts = ['--add-host', 'a:1.2.3.4', '--add-host', 'b:[2001:db8::1]', '--add-host', 'c=::1'];
  assert.match((await none('--domainname', 'ex.org', ...hosts)).stdout, /^::1\tc$/m);
  await none('--dns', '9.9.9.9', '--dns', '2001:db8::53', '--dns-search', '.', '--dns-option', 'ndots:3');
  await none('--dns', '9.9.9.9', '--dns-search', 'x.y.', '--dns-search', 'z', '--dns-opt', '');
  const shared = (...flags: string[]) => same('run', '--rm', '--network', 'host', ...named, ...flags, ...FILES);
  await shared('--domainname', 'bar');
  await shared('--dns', '9.9.9.9', '--dns-search', 'x.y', '--add-host', 'a:1.2.3.4');
  for (const words of [
    ['--network', 'none', '--network-alias', 'x'],
    ['--network', 'none', '--link', 'nope'],
    ['--network', 'host', '--link', 'nope'],
    ['--network', 'none', '--add-host', 'foo'],
    ['--network', 'none', '--add-host', 'foo:1.2.3'],
    ['--network', 'none', '--dns', '1.2.3'],
    ['--network', 'none', '--dns-search', '-x'],
    ['--network', 'none', '--link', 'a:b:c'],
  ]) {
    assert.equal((await same('run', ...words, 'busybox:offline', 'true')).status, 125, words.join(' '));
  }
});

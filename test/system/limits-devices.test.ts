/** Devices by trying to make and to open them, on both versions of cgroups. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox } from './harness.ts';

/** Makes a node and opens it; says what became of it. Nothing is read: of the kernel's log that fails when it overflows meanwhile. */
const TRY = `try() { mknod /tmp/node$1$2$3 $1 $2 $3 || { echo "$4: no node"; return; }
  if (: < /tmp/node$1$2$3) 2>/tmp/why; then echo "$4: open"; else echo "$4: $(sed 's/.*: //' /tmp/why)"; fi; }
mkdir -p /tmp`;

test('devices: what Docker allows can be opened', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = `${TRY}; try c 1 5 zero; try c 1 9 urandom; try c 1 7 full; echo x > /dev/null && echo null; ls /dev/pts`;
  assert.match(
    box.ok(['run', '--rm', box.image(), 'sh', '-c', script]),
    /^zero: open\nurandom: open\nfull: open\nnull\n/,
  );
});

test('devices: a node of a disk, of memory or of the kernel log can be made and not be opened', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = `${TRY}; try b 7 0 loop; try b 8 0 disk; try c 1 1 mem; try c 1 11 kmsg; try c 10 229 fuse; try c 10 200 tun`;
  const refused = (name: string) => `${name}: Operation not permitted`;
  assert.equal(
    box.ok(['run', '--rm', box.image(), 'sh', '-c', script]),
    ['loop', 'disk', 'mem', 'kmsg', 'fuse', 'tun'].map(refused).join('\n'),
  );
});

test('devices: an exec is under the same rules', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'guarded', box.image(), 'sleep', '100']);
  const said = box.ok(['exec', 'guarded', 'sh', '-c', `${TRY}; try b 8 0 disk; try c 1 5 zero`]);
  assert.equal(said, 'disk: Operation not permitted\nzero: open');
});

test('devices: a terminal and the console are there', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-dt', '--name', 'typed', box.image(), 'sh', '-c', 'echo hello > /dev/console; sleep 100']);
  const shown = box.ok(['exec', '-t', 'typed', 'sh', '-c', 'echo hi > /dev/tty; exec 3<>/dev/ptmx && echo ptmx']);
  assert.match(shown, /hi\r\nptmx/);
});

test('devices: --privileged opens what the host has', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = `${TRY}; try c 1 11 kmsg; try c 1 5 zero`;
  assert.equal(box.ok(['run', '--rm', '--privileged', box.image(), 'sh', '-c', script]), 'kmsg: open\nzero: open');
});

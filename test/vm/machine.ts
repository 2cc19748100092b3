/**
 * A virtual machine with a kernel of its own, cgroup version 2, and this machine's root file system: read-only from here, writable in
 * there, where what is written is gone with the machine. So a command in there is the same command as here, and the repository is at
 * the same path.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { type Conversation, converse } from './converse.ts';

export const REPOSITORY = resolve(import.meta.dirname, '../..');
const BUILD = join(import.meta.dirname, 'build');
const EVERYWHERE = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;

/** In qemu's package (7.2), or in one of its own that knows the same options. */
const VIRTIOFSD = ['/usr/lib/qemu/virtiofsd', '/usr/libexec/virtiofsd'];
const BOOT_MS = 120_000;
/** A kernel without anything to do takes one second. */
const KERNEL_MS = 10_000;

/** Without AVX, which qemu emulates slowly and the C library would use: Node starts twice as fast. */
const EMULATED = ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'Nehalem'];
/** Without the one register (MSR 0x10a) that qemu cannot set where this machine is a virtual one itself. */
const VIRTUAL = ['-accel', 'kvm', '-cpu', 'host,arch-capabilities=off'];

/** What the kernel does without, to boot sooner: tests of its own ciphers, and hiding from attackers and from the processor's faults.
 *  After a panic it restarts, and so ends qemu. */
const KERNEL_ARGUMENTS =
  'console=ttyS0 loglevel=4 panic=-1 reboot=t cryptomgr.notests mitigations=off nokaslr tsc=reliable';

export interface Machine extends Conversation {
  /** The process of qemu, and the one that serves files to it. */
  readonly pids: readonly number[];
  /** Ends it. */
  close(): Promise<void>;
}

function which(name: string): string | undefined {
  return EVERYWHERE.split(delimiter)
    .map((directory) => join(directory, name))
    .find(existsSync);
}

/** Why there can be no machine here, or undefined. */
export function missing(): string | undefined {
  if (process.arch !== 'x64') return 'the virtual machine is made for x86_64';
  if (process.getuid?.() !== 0) return 'needs root';
  const command = ['qemu-system-x86_64', 'setpriv', 'unshare'].find((name) => which(name) === undefined);
  if (command !== undefined) return `needs the command ${command}`;
  if (!VIRTIOFSD.some(existsSync)) return `needs the file ${VIRTIOFSD[0]}`;
  if (!existsSync(join(BUILD, 'disk'))) return 'needs a kernel: make vm';
  return undefined;
}

/** Of setpriv(1): what it starts ends with us. */
const TIED = ['--pdeathsig', 'KILL', '--'];

/** Does a kernel come up on this machine's own processor? The device alone says little: machines that are virtual themselves have it, too,
 *  and then qemu may end at once, or the kernel stand still at its first page table. This one finds no root file system, and ends. */
function hasKvm(): boolean {
  if (!existsSync('/dev/kvm')) return false;
  const bare = ['-m', '512M', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'];
  const kernel = ['-kernel', join(BUILD, 'kernel/vmlinuz'), '-append', 'panic=-1 reboot=t mitigations=off'];
  const argv = [...TIED, 'qemu-system-x86_64', ...VIRTUAL, ...bare, ...kernel];
  const env = { ...process.env, PATH: EVERYWHERE };
  return spawnSync('setpriv', argv, { env, timeout: KERNEL_MS, killSignal: 'SIGKILL' }).status === 0;
}

let processor: readonly string[] | undefined;

/** Starts what ends with us, whatever way we end. */
const tied = (...argv: string[]): ChildProcess =>
  spawn('setpriv', [...TIED, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: EVERYWHERE },
  });

/** Serves the root file system read-only, from a mount namespace of its own: without whatever else is mounted, but with the repository. */
function startVirtiofsd(directory: string): ChildProcess {
  const script =
    'mount --bind / "$1" && mount --bind "$2" "$1$2" && mount -o remount,bind,ro "$1$2" && mount -o remount,bind,ro "$1" && ' +
    'exec "$3" --socket-path="$4" -o source="$1",cache=always,sandbox=chroot';
  const places = [join(directory, 'root'), REPOSITORY, VIRTIOFSD.find(existsSync)!, join(directory, 'virtiofs')];
  mkdirSync(places[0]!);
  const daemon = tied('unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...places);
  daemon.stdout!.resume();
  daemon.stderr!.resume();
  return daemon;
}

const PORTS = ['commands', 'stdout', 'stderr'] as const;

function qemuArguments(directory: string): string[] {
  processor ??= hasKvm() ? VIRTUAL : EMULATED;
  const socket = (name: string) => ['-chardev', `socket,id=${name},path=${join(directory, name)}`];
  const ports = PORTS.flatMap((name, index) => [
    ...socket(name),
    ...['-device', `virtserialport,chardev=${name},nr=${index + 1}`],
  ]);
  return [
    ...['-machine', 'q35,memory-backend=memory', '-smp', '2', ...processor],
    ...['-m', '2G', '-object', 'memory-backend-memfd,id=memory,size=2G,share=on'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', join(BUILD, 'kernel/vmlinuz'), '-initrd', join(BUILD, 'initramfs')],
    ...['-append', `${KERNEL_ARGUMENTS} TREE=${REPOSITORY}`],
    ...[...socket('virtiofs'), '-device', 'vhost-user-fs-pci,chardev=virtiofs,tag=host'],
    ...['-drive', `file=${join(BUILD, 'disk')},format=raw,if=virtio,cache=unsafe,snapshot=on`],
    ...['-device', 'virtio-serial-pci,max_ports=4', ...ports],
  ];
}

/** A socket that waits for qemu. */
async function listen(path: string): Promise<{ server: Server; connected: Promise<Socket> }> {
  const server = createServer();
  const connected = once(server, 'connection').then(([socket]) => socket as Socket);
  server.listen(path);
  await once(server, 'listening');
  return { server, connected };
}

async function untilThere(path: string, owner: ChildProcess): Promise<void> {
  for (let tries = 0; !existsSync(path); tries++) {
    if (owner.exitCode !== null || tries > 1000) throw new Error(`virtiofsd does not serve ${path}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

/** Starts everything in `directory`. @param processes what must be ended, added as it is started */
async function start(directory: string, processes: ChildProcess[], servers: Server[]): Promise<Conversation> {
  const daemon = startVirtiofsd(directory);
  processes.push(daemon);
  const ports: Promise<Socket>[] = [];
  for (const name of PORTS) {
    const { server, connected } = await listen(join(directory, name));
    servers.push(server);
    ports.push(connected);
  }
  await untilThere(join(directory, 'virtiofs'), daemon);
  const qemu = tied('qemu-system-x86_64', ...qemuArguments(directory));
  processes.push(qemu);
  const said: Buffer[] = [];
  qemu.stderr!.on('data', (data: Buffer) => said.push(data));
  const failed = once(qemu, 'close').then(() => {
    throw new Error(`qemu does not start: ${Buffer.concat(said)}`);
  });
  failed.catch(() => {}); // every machine ends
  const [commands, stdout, stderr] = await Promise.race([Promise.all(ports), failed]);
  return converse(qemu, [commands!, stdout!, stderr!]);
}

/** Boots a machine. @param options.timeout milliseconds it may take @throws Error with the kernel's messages when it does not come up */
export async function boot(options: { timeout?: number } = {}): Promise<Machine> {
  const reason = missing();
  if (reason !== undefined) throw new Error(`boot the virtual machine: ${reason}`);
  const directory = mkdtempSync(join(tmpdir(), 'tsb-vm-'));
  const processes: ChildProcess[] = [];
  const servers: Server[] = [];
  const close = async () => {
    const running = processes.filter((one) => one.exitCode === null && one.signalCode === null);
    const ended = running.map((one) => once(one, 'close'));
    for (const one of running) one.kill('SIGKILL');
    for (const one of servers) one.close();
    await Promise.all(ended);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const conversation = await start(directory, processes, servers);
    await conversation.run({ argv: ['true'], timeout: options.timeout ?? BOOT_MS });
    return { ...conversation, pids: processes.map((one) => one.pid!), close };
  } catch (error) {
    await close();
    throw error;
  }
}

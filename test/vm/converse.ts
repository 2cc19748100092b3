/** Commands for a machine and what it answers; guest.sh is the other end. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { untilMark } from './marked.ts';

/** Of the kernel's messages as many bytes are kept. */
const CONSOLE_BYTES = 64 * 1024;

export interface Command {
  argv: readonly string[];
  env?: Record<string, string>;
  /** `/` when absent. */
  cwd?: string;
  /** Milliseconds, after which the whole machine is ended. */
  timeout: number;
  /** What it prints, as it comes. */
  onStdout?: (data: Buffer) => void;
  onStderr?: (data: Buffer) => void;
}

export interface Conversation {
  /** Runs a command to its end, one at a time. All that it has printed has been given to `onStdout` and `onStderr` before.
   *  @returns its exit status, 128+n for signal n
   *  @throws Error with the kernel's last messages when the machine ends before the command, or the time is over */
  run(command: Command): Promise<number>;
  /** The kernel's messages so far. */
  console(): string;
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** The command as a shell script. */
export function scriptOf({ argv, env = {}, cwd = '/' }: Command): string {
  const settings = Object.entries(env).map(([name, value]) => quoted(`${name}=${value}`));
  return `cd ${quoted(cwd)} && exec env ${[...settings, ...argv.map(quoted)].join(' ')}`;
}

function keepConsole(qemu: ChildProcess): () => string {
  let text = '';
  for (const stream of [qemu.stdout!, qemu.stderr!]) {
    stream.on('data', (data: Buffer) => {
      text = (text + data.toString('latin1')).slice(-CONSOLE_BYTES);
    });
  }
  return () => text.replaceAll('\r', '');
}

/** Passes on what a port brings until `mark`, or until the port closes. @returns what comes behind the mark up to `end` */
function listenTo(port: Socket, mark: Buffer, end: string, sink: (data: Buffer) => void): Promise<string> {
  const marked = untilMark(mark, sink);
  return new Promise((fulfil) => {
    const onData = (data: Buffer) => {
      const after = marked.feed(data)?.toString();
      if (after === undefined || !after.endsWith(end)) return;
      port.off('data', onData);
      port.off('close', onClose);
      fulfil(after);
    };
    const onClose = () => marked.flush();
    port.on('data', onData);
    port.once('close', onClose);
  });
}

/** @param ports commands, standard output, standard error */
export function converse(qemu: ChildProcess, ports: readonly [Socket, Socket, Socket]): Conversation {
  const text = keepConsole(qemu);
  const [commands, stdout, stderr] = ports;
  for (const port of ports) port.on('error', () => {}); // it closes then
  const ended = Promise.all([qemu, ...ports].map((one) => new Promise((fulfil) => one.once('close', fulfil))));
  const run = async (command: Command) => {
    const mark = `--vm-${randomBytes(16).toString('hex')}--`;
    const answers = Promise.all([
      listenTo(stdout, Buffer.from(mark), '\n', command.onStdout ?? (() => {})),
      listenTo(stderr, Buffer.from(mark), '', command.onStderr ?? (() => {})),
    ]);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      qemu.kill('SIGKILL');
    }, command.timeout);
    commands.write(`${mark} ${Buffer.from(scriptOf(command)).toString('base64')}\n`);
    const first = await Promise.race([answers, ended.then(() => undefined)]);
    clearTimeout(timer);
    if (first !== undefined) return Number(first[0]);
    const what = late
      ? `took longer than ${command.timeout / 1000} s, and the virtual machine was ended`
      : /Kernel panic/.test(text())
        ? 'the kernel of the virtual machine panicked'
        : 'the virtual machine ended';
    throw new Error(`${command.argv.join(' ')}: ${what}; its console:\n${text()}`);
  };
  return { run, console: text };
}

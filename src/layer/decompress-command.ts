/** bzip2 and xz, which Node does not know: unpacked by the commands of these names, as Docker does it for xz. */
import { TsboxError } from '../errors.ts';
import { refusal } from '../sys/node-error.ts';

export type CommandCompression = 'bzip2' | 'xz';

/** xz is held to the memory that its largest ordinary dictionary (`xz -9`, 64 MiB) needs. */
const COMMANDS: Readonly<Record<CommandCompression, readonly string[]>> = {
  bzip2: ['bzip2', '-d', '-c'],
  xz: ['xz', '-d', '-c', '--memlimit-decompress=128MiB'],
};
const MOST_WORDS = 300;

type End = { code: number | null } | NodeJS.ErrnoException;

/** The unpacked bytes of `input`, which is read to its end.
 *  @throws ERR_TSBOX_DAMAGED for a stream that is cut off, wrong, or has something else after its end; ERR_TSBOX_UNSUPPORTED when the
 *  command is not installed; and what `input` itself throws, unchanged */
export async function* runDecompressor(
  kind: CommandCompression,
  input: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void, undefined> {
  const { spawn } = process.getBuiltinModule('node:child_process');
  const [command = '', ...args] = COMMANDS[kind];
  // Their settings in the environment are not meant for us.
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<End>((resolve) => {
    child.once('error', resolve).once('close', (code) => resolve({ code }));
  });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString('latin1')).slice(0, MOST_WORDS);
  });
  let failure: unknown;
  const left = new AbortController();
  const feeding = feed(input, child.stdin, left.signal).catch((error: unknown) => {
    failure = error;
    child.kill('SIGKILL');
  });
  try {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) yield chunk;
    const [end] = await Promise.all([ended, feeding]);
    if (failure !== undefined) throw failure;
    check(kind, end, words);
  } finally {
    left.abort();
    child.kill('SIGKILL');
  }
}

/** Gives the command all that it takes. What comes behind is read all the same: it belongs to what is verified. */
async function feed(input: AsyncIterable<Buffer>, stdin: NodeJS.WritableStream, left: AbortSignal): Promise<void> {
  let over = false;
  let wake = (): void => {};
  stdin.on('drain', () => wake());
  for (const event of ['error', 'close']) {
    stdin.on(event, () => {
      over = true;
      wake();
    });
  }
  for await (const chunk of input) {
    if (left.aborted) return;
    if (over || stdin.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (over) resolve();
    });
  }
  stdin.end();
}

function check(kind: CommandCompression, end: End, words: string): void {
  if (end instanceof Error) {
    if (end.code !== 'ENOENT') throw refusal(`run ${kind}`, end);
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `read an archive: ${kind} compression without the command ${kind}`, {
      hint: `Install ${kind === 'xz' ? 'xz-utils' : 'bzip2'}.`,
    });
  }
  const { code } = end;
  const line = words.split('\n').find((each) => each.trim() !== '') ?? '';
  const said = line
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/^[^:]*: (?:\(stdin\): )?/, '')
    .trim();
  if (code === 0 && said === '') return;
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${kind} stream: ${said || `${kind} ended with ${code}`}`);
}

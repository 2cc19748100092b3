/**
 * Test files in a virtual machine, all of them in one boot, printed by Node's own reporter as if they had been run here.
 * usage: test.ts FILE... ; environment: REPORTER (spec, dot, tap), TSBOX_VM_SECONDS (time limit), TSBOX_VM_ONLY (pattern of test names)
 */
import { relative, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { dot, spec, tap } from 'node:test/reporters';
import { readyStore } from '../system/ready-stores.ts';
import { guestEnvironment } from './environment.ts';
import { type Event, fromLine } from './events.ts';
import { boot, missing, REPOSITORY } from './machine.ts';

const SECONDS = Number(process.env['TSBOX_VM_SECONDS'] ?? 1800);
const MACHINE = 'the virtual machine';

/** Gives events of tests to a reporter, which prints them. The exit status is 1 as soon as one of them is a failure. */
function reporting(): { tell: (event: Event) => void; end: () => void } {
  const events = new PassThrough({ objectMode: true });
  const name = process.env['REPORTER'] ?? 'spec';
  events.compose(name === 'dot' ? dot : name === 'tap' ? tap : new spec()).pipe(process.stdout);
  return {
    tell(event) {
      if (event.type === 'test:fail' && event.data['todo'] === undefined) process.exitCode = 1;
      events.write(event);
    },
    end: () => void events.end(),
  };
}

/** A result that is not of a test in there, but of the machine. */
function ownResult(type: 'test:pass' | 'test:fail', more: object, details: object = {}): Event {
  const place = { file: import.meta.filename, line: 1, column: 1, nesting: 0, testNumber: 1 };
  return { type, data: { name: MACHINE, ...place, details: { duration_ms: 0, type: 'test', ...details }, ...more } };
}

function failure(reason: string): Event {
  const cause = Object.assign(new Error(reason), { stack: `Error: ${reason}\n    at ${MACHINE}` });
  const error = Object.assign(new Error(reason, { cause }), {
    code: 'ERR_TEST_FAILURE',
    failureType: 'testCodeFailure',
  });
  return ownResult('test:fail', {}, { error });
}

/**
 * Of V8: WebAssembly by its quick compiler alone. Node strips types with WebAssembly, and on an emulated processor the threads that compile
 * it a second time, better, ended 20 of 300 processes that read a test of 50 files (SIGSEGV, or "Check failed: it->second.Size() > offset");
 * with this none of 280. Node hands it on to the process of each file.
 */
const STEADY = '--liftoff-only';

function testCommand(files: readonly string[]): string[] {
  const only = process.env['TSBOX_VM_ONLY'] ?? '';
  const pattern = only === '' ? [] : [`--test-name-pattern=${only}`];
  const reporter = `--test-reporter=${resolve(import.meta.dirname, 'events.ts')}`;
  return [process.execPath, STEADY, '--test', reporter, '--test-concurrency=2', ...pattern, ...files];
}

/** Runs the files in a machine of their own and tells what happens, event by event. */
async function runFiles(files: readonly string[], tell: (event: Event) => void): Promise<void> {
  readyStore('busybox'); // an emulated processor needs seconds to import it, and less than one to copy it
  const began = performance.now();
  const machine = await boot();
  const message = `${MACHINE} booted in ${((performance.now() - began) / 1000).toFixed(1)} s`;
  tell({ type: 'test:diagnostic', data: { nesting: 0, message } });
  let pending = '';
  let complaints = '';
  try {
    const status = await machine.run({
      argv: testCommand(files),
      env: guestEnvironment(),
      cwd: REPOSITORY,
      timeout: SECONDS * 1000,
      onStdout: (data) => {
        const lines = (pending + data.toString()).split('\n');
        pending = lines.pop()!;
        for (const line of lines) tell(fromLine(line));
      },
      onStderr: (data) => {
        complaints += data.toString();
      },
    });
    if (status !== 0 && process.exitCode !== 1) tell(failure(`node --test: exit ${status}\n${complaints}`));
  } finally {
    await machine.close();
  }
}

const files = process.argv.slice(2).map((file) => relative(REPOSITORY, resolve(file)));
const { tell, end } = reporting();
const reason = missing();
if (reason !== undefined && process.env['TSBOX_MUST_RUN'] !== '1') tell(ownResult('test:pass', { skip: reason }));
else await runFiles(files, tell).catch((error: Error) => tell(failure(error.message)));
end();

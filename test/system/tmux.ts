/** A terminal for tests: a shell in tmux, with a server of its own. What is typed and seen there is what a person would type and see. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from './harness.ts';

export interface Terminal {
  /** Types text and Enter. */
  type(line: string): void;
  /** Presses keys by tmux's names: `C-c`, `C-p`, `Enter`, `Escape`, `Up`. */
  press(...keys: string[]): void;
  /** Text without Enter. */
  write(text: string): void;
  /** What is to be seen, without blank lines at the end. */
  screen(): string;
  /** Waits until the screen matches, and gives the match. @throws Error with the screen in it, after `timeout` milliseconds */
  see(pattern: RegExp, timeout?: number): Promise<RegExpExecArray>;
  clear(): void;
  /** Comes back when the programs of the terminal are told of the size: tmux makes two changes in a quarter of a second one. */
  resize(columns: number, rows: number): Promise<void>;
  /** What `stty -a` says of the outer terminal. */
  settings(): string;
}

export interface TerminalOptions {
  columns?: number;
  rows?: number;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
}

/** A bash with the prompt `outside$ ` in a terminal that lasts as long as the test. */
export function terminal(context: TestContext, options: TerminalOptions = {}): Terminal {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-tmux-'));
  const env: NodeJS.ProcessEnv = { ...process.env, ...options.env, TERM: 'xterm' };
  delete env['TMUX'];
  const tmux = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('tmux', ['-S', join(directory, 's'), '-f', '/dev/null', ...args], {
      env,
    });
    assert.equal(status, 0, `tmux ${args.join(' ')}: ${stderr}`);
    return stdout.toString();
  };
  const size = ['-x', String(options.columns ?? 80), '-y', String(options.rows ?? 24)];
  tmux('new-session', '-d', ...size, '-c', options.cwd ?? '/', "PS1='outside$ ' exec bash --norc --noprofile");
  const tty = tmux('display-message', '-p', '#{pane_tty}').trim();
  context.after(() => {
    tmux('kill-server');
    rmSync(directory, { recursive: true, force: true });
  });
  const screen = () => tmux('capture-pane', '-p').trimEnd();
  const write = (text: string) => void tmux('send-keys', '-l', '--', text);
  const press = (...keys: string[]) => void tmux('send-keys', ...keys);
  const stty = (...args: string[]) => spawnSync('stty', ['-F', tty, ...args]).stdout.toString();
  return {
    write,
    press,
    screen,
    type(line) {
      write(line);
      press('Enter');
    },
    async see(pattern, timeout = 30_000) {
      const shown = () => pattern.exec(screen()) ?? undefined;
      return until(`${pattern}`, shown, timeout).catch((error: Error) => {
        throw new Error(`${error.message}; the terminal shows:\n${screen()}`);
      });
    },
    clear() {
      press('C-l');
      tmux('clear-history');
    },
    async resize(columns, rows) {
      tmux('resize-window', '-x', String(columns), '-y', String(rows));
      await until(`a window of ${columns} columns`, () => stty('size').trim() === `${rows} ${columns}`);
    },
    settings: () => stty('-a'),
  };
}

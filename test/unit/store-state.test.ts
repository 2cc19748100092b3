import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import type { ContainerRecord } from '../../src/spec/container.ts';
import { saveContainer } from '../../src/store/change-container.ts';
import { readContainer } from '../../src/store/containers.ts';
import { containerState, foldState, runIds, stateAtRest } from '../../src/store/state.ts';
import { containerDirectory, runDirectory, type Store } from '../../src/store/store.ts';
import { type Lock, lock } from '../../src/sys/lock.ts';
import { makeContainer, makeImage, temporaryStore } from './store-fixture.ts';

const START = '2024-05-01T10:00:00.123456789Z';
const END = '2024-05-01T10:00:09.000000000Z';
const NOW = new Date('2024-05-01T11:00:00Z');

interface World {
  store: Store;
  record: ContainerRecord;
  /** As the monitor does when the process exists. */
  start(startedAt?: string): Lock;
  /** As the monitor does at the end, before it lets go of its lock. */
  finish(code: number, finishedAt?: string, pid?: number): void;
  state(): ReturnType<typeof containerState>;
}

async function world(t: TestContext): Promise<World> {
  const store = temporaryStore(t);
  const image = await makeImage(store, []);
  const { record } = makeContainer(store, image, 'web');
  const run = runDirectory(store, record.ID);
  return {
    store,
    record,
    start(startedAt = START) {
      mkdirSync(run, { recursive: true });
      writeFileSync(`${run}/lock`, '');
      const held = lock(`${run}/lock`);
      t.after(() => held.release());
      writeFileSync(`${run}/state.json`, JSON.stringify({ Pid: 42, Monitor: 41, StartedAt: startedAt }));
      return held;
    },
    finish(code, finishedAt = END, pid = 42) {
      const exit = { Pid: pid, ExitCode: code, FinishedAt: finishedAt };
      writeFileSync(`${containerDirectory(store, record.ID)}/exit.json`, JSON.stringify(exit));
    },
    state: () => containerState(store, readContainer(store, record.ID), false, NOW),
  };
}

test('state: created until the monitor says otherwise', async (t) => {
  const { state } = await world(t);
  assert.equal(state().Status, 'created');
});

test('state: running while the monitor lives, also when an earlier end is on record', async (t) => {
  const { state, start, finish } = await world(t);
  finish(1, '2024-05-01T09:00:00Z');
  start();
  const { Status, Running, Pid, StartedAt, ExitCode } = state();
  assert.deepEqual(
    { Status, Running, Pid, StartedAt, ExitCode },
    { Status: 'running', Running: true, Pid: 42, StartedAt: START, ExitCode: 0 },
  );
});

test('state: paused when the mark is there', async (t) => {
  const { state, start, store, record } = await world(t);
  start();
  writeFileSync(`${runDirectory(store, record.ID)}/paused`, '');
  assert.deepEqual([state().Status, state().Paused, state().Running], ['paused', true, true]);
});

test('state: exited with the code that the monitor left, with and without its run directory', async (t) => {
  const { state, start, finish, store, record } = await world(t);
  const held = start();
  finish(3);
  assert.equal(state().Status, 'running', 'until the monitor is through');
  held.release();
  const exited = () => [
    state().Status,
    state().Running,
    state().ExitCode,
    state().FinishedAt,
    state().Pid,
    state().Error,
  ];
  assert.deepEqual(exited(), ['exited', false, 3, END, 0, '']);
  assert.equal(state().StartedAt, START);
  rmSync(runDirectory(store, record.ID), { recursive: true });
  assert.deepEqual(exited(), ['exited', false, 3, END, 0, '']);
});

test('state: a monitor that died without a word', async (t) => {
  const { state, start, finish, store, record } = await world(t);
  finish(0, '2024-05-01T09:00:00Z', 30);
  start().release();
  const died = () => [state().Status, state().ExitCode, state().Error, state().FinishedAt];
  assert.deepEqual(died(), ['exited', 137, 'monitor died', NOW.toISOString()]);
  rmSync(runDirectory(store, record.ID), { recursive: true });
  rmSync(`${containerDirectory(store, record.ID)}/exit.json`);
  assert.equal(state().Status, 'created');
  saveContainer(store, {
    ...record,
    State: { ...record.State, Status: 'running', Running: true, Pid: 42, StartedAt: START },
  });
  assert.deepEqual(died(), ['exited', 137, 'monitor died', NOW.toISOString()], 'after a reboot');
});

test('state: the end counts even when the clock was set back before it', async (t) => {
  const { state, start, finish } = await world(t);
  start().release();
  finish(3, '2024-05-01T09:00:00Z');
  assert.deepEqual([state().Status, state().ExitCode, state().Error], ['exited', 3, '']);
});

test('state: folded into the record once, and what the monitor left is taken away', async (t) => {
  const { state, start, finish, store, record } = await world(t);
  assert.equal(foldState(store, record.ID).State.Status, 'created');
  const held = start();
  assert.equal(foldState(store, record.ID).State.Status, 'running');
  assert.equal(readContainer(store, record.ID).State.Status, 'created', 'a running one is not written down');
  finish(7);
  held.release();
  assert.equal(foldState(store, record.ID).State.ExitCode, 7);
  assert.equal(existsSync(`${containerDirectory(store, record.ID)}/exit.json`), false);
  assert.equal(existsSync(`${runDirectory(store, record.ID)}/state.json`), false);
  assert.deepEqual(
    [readContainer(store, record.ID).State, state()].map((one) => [one.ExitCode, one.StartedAt]),
    [
      [7, START],
      [7, START],
    ],
  );
});

test('state: a container that somebody is changing is not folded', async (t) => {
  const { start, finish, store, record } = await world(t);
  start().release();
  finish(7);
  const busy = lock(containerDirectory(store, record.ID));
  assert.equal(foldState(store, record.ID).State.ExitCode, 7);
  assert.equal(existsSync(`${containerDirectory(store, record.ID)}/exit.json`), true);
  busy.release();
});

test('state: half-written and damaged records of the monitor count as none', async (t) => {
  const { state, start, store, record } = await world(t);
  start();
  writeFileSync(`${runDirectory(store, record.ID)}/state.json`, '{"Pid":');
  writeFileSync(`${containerDirectory(store, record.ID)}/exit.json`, '[]');
  assert.equal(state().Status, 'created');
});

test('state: of one without a run directory one look tells the same, unless it was lost', async (t) => {
  const { store, record, state, start, finish } = await world(t);
  const atRest = () => stateAtRest(store, readContainer(store, record.ID));
  assert.deepEqual(atRest(), state());
  saveContainer(store, { ...record, State: { ...record.State, Running: true, StartedAt: START } });
  assert.equal(atRest(), undefined, 'it runs by its record and has left no word');
  finish(3);
  assert.deepEqual(atRest(), state());
  assert.equal(runIds(store).has(record.ID), false);
  start();
  assert.ok(runIds(store).has(record.ID));
});

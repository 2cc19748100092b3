/** The tests that every storage driver must pass (test/conformance/driver.ts), run by an ordinary user. */
import { once } from 'node:events';
import { chownSync } from 'node:fs';
import { join } from 'node:path';
import type { Box, Who } from '../conformance/driver.ts';
import { REPOSITORY } from '../system/harness.ts';
import { type FixtureName, fixtureImage, importWords } from '../system/ready-stores.ts';
import { user } from './user.ts';

export const USERNS = join(REPOSITORY, 'native-bindings/build/tsbox-userns');

export const ORDINARY: Who = {
  prefix: 'rootless ',
  isRoot: false,
  needs: (driver) => [
    ...(['root', 'userns', 'command:useradd', 'command:newuidmap'] as const),
    ...(driver === 'overlay2' ? (['overlay'] as const) : driver === 'fuse' ? (['file:/dev/fuse'] as const) : []),
  ],
  box(t, driver): Box {
    const he = user(t, undefined, { fuse: driver === 'fuse' });
    he.env['TSBOX_STORAGE_DRIVER'] = driver;
    const images = new Set<FixtureName>();
    const { dataRoot, home, uid, gid, tsbox, ok } = he;
    return {
      directory: home,
      dataRoot,
      runRoot: join(he.env['XDG_RUNTIME_DIR']!, 'tsbox'),
      isRoot: false,
      tsbox,
      ok,
      quick: async (args) => ok(args),
      image(name = 'busybox') {
        if (!images.has(name)) ok(importWords(name));
        images.add(name);
        return fixtureImage(name);
      },
      start(args) {
        const child = he.start(args);
        child.stdout?.resume();
        child.stderr?.resume();
        return { child, done: once(child, 'close') };
      },
      give(path) {
        chownSync(path, uid, gid);
        return path;
      },
      files(name) {
        const pid = ok(['inspect', '--format', '{{.State.Pid}}', name]);
        const as = ['setpriv', '--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', USERNS, 'join', pid];
        return { path: `/proc/${pid}/root`, command: (...words) => [...as, ...words] };
      },
    };
  },
};

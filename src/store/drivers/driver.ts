/**
 * What a storage driver does: it says how the layers of a container become one tree. It emits steps and does nothing itself, so
 * that a mount can be shown, compared in a test, and run by whichever interpreter has the right to.
 */
import type { Step } from '../../plan/step.ts';
import type { Text } from '../../plan/text.ts';

/** The layers of one container, as a driver needs them. Text, because the first run's values may be holes in a plan. */
export interface LayerMount {
  /** Name of the read-write layer's directory in overlay2/. */
  mountId: Text;
  /** `l/A:l/B:..`, nearest first: the file `lower` of that directory. */
  lower: Text;
  /** What is written need not survive the mount: the layer is removed after it. Then nothing has to be brought to the disk. */
  discard?: boolean;
  /** Whoever mounts it is root of a user namespace only: marks in the layers are attributes of the kind that he may set. */
  userxattr?: boolean;
  /** A file that does not matter where the kernel has the files; a process that serves them keeps it locked while it lives. */
  lock?: Text;
  /** It is mounted by the container's first process, in the mount namespace of that. */
  inside?: true;
  /** The container has a user namespace of its own: its files are on disk with the owners that it sees, and mapped when mounted. */
  mapped?: MappedMount;
  /** The same where the file system cannot map them: copies of the layers have the owners of outside, and so has what is written. */
  shifted?: ShiftedMount;
  /** The read-write layer is all of the container's files, a copy: the driver vfs made it, and no other can mount it. */
  whole?: true;
}

/** How the layers of a container get the owners that its user namespace gives them. */
export interface MappedMount {
  /** `/proc/PID/ns/user` of a process in it. */
  userns: Text;
  /** Its root, as the host knows it. */
  uid: number;
  gid: number;
  /** A directory that is made, holds the mapped layers while the tree is mounted, and is removed again. */
  place: Text;
}

/** Layers whose owners are on disk as they are outside of the container's user namespace. */
export interface ShiftedMount {
  /** The directory in which {@link LayerMount.lower} names copies of the layers. */
  home: Text;
  /** The container's root, as the host knows it. */
  uid: number;
  gid: number;
}

/** Layers that are only to be read. */
export interface LayerView extends Pick<LayerMount, 'userxattr'> {
  /** The directory in which {@link lower} names layers. */
  home: string;
  /** All of them, nearest first; the container's own too. */
  lower: string;
  /** Where the tree is to appear. */
  place: string;
}

/** `--storage-driver`, and what `info` shows. Layers are in the form of Docker's overlay2 for all. So are the containers of `overlay2` and
 *  `fuse`: what one has written the other goes on with, and in records their driver is {@link LAYOUT}, whoever mounts them. A container of
 *  `vfs` stays one. */
export type DriverName = 'overlay2' | 'fuse' | 'vfs';

/** The form of what lies on disk, by Docker's name for it. */
export const LAYOUT = 'overlay2';

/** What a container's record says of the driver that it is made under. */
export const recordedDriver = ({ copies }: Driver): string => (copies ? 'vfs' : LAYOUT);

export interface Driver {
  readonly name: DriverName;
  /** Why it was chosen: half a sentence. */
  readonly reason: string;
  /** It can show layers with the owners that a user namespace gives them ({@link MappedMount}); else it takes copies that have them. */
  readonly mapsOwners: boolean;
  /** A container that is made under it gets a copy of all its files ({@link LayerMount.whole}). */
  readonly copies: boolean;
  /** Where the tree of a container is when it is mounted: `<data-root>/overlay2/<mount-id>/merged`. */
  mergedPath(mountId: Text): Text;
  /** Makes the container's tree appear at {@link mergedPath}. Changes the working directory of whoever runs it.
   *  @throws ERR_TSBOX_LIMIT when the layers are too many for one mount; ERR_TSBOX_UNSUPPORTED for what it cannot do */
  mountSteps(layer: LayerMount): Step[];
  /** Takes the tree away again; also when it is not there. `place` is that of a mapped mount: it is empty unless mounting was cut short. */
  umountSteps(mountId: Text, place?: Text): Step[];
  /** The same where the tree was mounted in the container's own mount namespace, and is gone with it.
   *  @param lock see {@link LayerMount.lock} */
  unplaceSteps(mountId: Text, lock: Text): Step[];
  /** Makes the tree of these layers appear, read-only. Changes the working directory. It is gone with its last mount and descriptor. */
  viewSteps(view: LayerView): Step[];
}

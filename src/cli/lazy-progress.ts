/** Progress that costs nothing until there is some: a run of an image that is here never loads the printing. */
import type { OnProgress } from '../engine/api.ts';
import type { ProgressView } from './progress.ts';

/** @param fd 1 or 2: where it is shown */
export function lazyProgress(fd: 1 | 2, quiet: boolean): { update: OnProgress; finish(): Promise<void> } {
  let view: Promise<ProgressView> | undefined;
  return {
    update(event) {
      if (quiet) return;
      view ??= import('./progress.ts').then(({ openProgress }) => openProgress(fd));
      void view.then((opened) => opened.update(event));
    },
    async finish() {
      (await view)?.finish();
    },
  };
}

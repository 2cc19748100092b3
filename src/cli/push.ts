/** `tsbox push` */
import { canonicalString, DEFAULT_TAG, parseNamed } from '../spec/reference.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { CONTENT_TRUST_FLAG, refuseContentTrust } from './content-trust.ts';
import { lazyProgress } from './lazy-progress.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] NAME[:TAG]',
  summary: 'Put an image into a registry',
  count: [1, 1],
  flags: {
    'all-tags': { kind: 'bool', short: 'a', help: 'Push every tag that the repository has here' },
    ...CONTENT_TRUST_FLAG,
    quiet: { kind: 'bool', short: 'q', help: 'Print nothing but the name' },
  },
  ownsFiles: true,
  async run(context, flags, [name]) {
    const { 'all-tags': allTags, quiet } = flags;
    refuseContentTrust(flags['disable-content-trust']);
    const reference = parseNamed(name!);
    if (allTags && reference.tag !== undefined) throw new UsageError("tag can't be used with --all-tags/-a", 1);
    if (!allTags && reference.tag === undefined && reference.digest === undefined) {
      if (!quiet) print(`Using default tag: ${DEFAULT_TAG}\n`);
      reference.tag = DEFAULT_TAG;
    }
    const engine = await context.engine();
    const { pushImage } = await import('../engine/push.ts');
    const progress = lazyProgress(1, quiet);
    await pushImage(engine, name!, { allTags, quiet }, progress.update).finally(progress.finish);
    if (quiet) print(`${canonicalString(reference)}\n`);
    return 0;
  },
});

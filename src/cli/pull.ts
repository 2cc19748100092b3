/** `tsbox pull` */
import { canonicalString, DEFAULT_TAG, parseNamed } from '../spec/reference.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { CONTENT_TRUST_FLAG, refuseContentTrust } from './content-trust.ts';
import { lazyProgress } from './lazy-progress.ts';
import { print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  summary: 'Get an image from a registry',
  count: [1, 1],
  flags: {
    'all-tags': { kind: 'bool', short: 'a', help: 'Get every tag of the repository' },
    ...CONTENT_TRUST_FLAG,
    platform: { kind: 'string', help: 'Platform of the image: os/arch[/variant]' },
    quiet: { kind: 'bool', short: 'q', help: 'Print nothing but the name' },
  },
  ownsFiles: true,
  async run(context, flags, [name]) {
    const { 'all-tags': allTags, platform, quiet } = flags;
    refuseContentTrust(flags['disable-content-trust']);
    const reference = parseNamed(name!);
    const isWhole = reference.tag !== undefined || reference.digest !== undefined;
    if (allTags && isWhole) throw new UsageError("tag can't be used with --all-tags/-a", 1);
    if (!allTags && !isWhole) {
      if (!quiet) print(`Using default tag: ${DEFAULT_TAG}\n`);
      reference.tag = DEFAULT_TAG;
    }
    const engine = await context.engine();
    const { pullImage } = await import('../engine/pull.ts');
    const progress = lazyProgress(1, quiet);
    const options = { allTags, quiet, ...(platform !== undefined && { platform }) };
    await pullImage(engine, name!, options, progress.update).finally(progress.finish);
    print(`${canonicalString(reference)}\n`);
    return 0;
  },
});

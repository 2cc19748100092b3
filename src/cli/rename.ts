/** `tsbox rename` */
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { report } from './report.ts';

export const verb = command({
  usage: 'CONTAINER NEW_NAME',
  summary: 'Give a container another name',
  count: [2, 2],
  flags: {},
  async run(context, _, [from = '', to = '']) {
    const [oldName, newName] = [from.trim(), to.trim()];
    if (oldName === '' || newName === '') {
      throw new TsboxError('ERR_TSBOX_USAGE', 'Neither old nor new names may be empty', { exitCode: 1 });
    }
    const engine = await context.engine();
    const { renameContainer } = await import('../engine/rename.ts');
    try {
      renameContainer(engine, oldName, newName);
    } catch (error) {
      report(error);
      throw new TsboxError('ERR_TSBOX_CONFLICT', `failed to rename container named ${oldName}`, { exitCode: 1 });
    }
    return 0;
  },
});

/** `tsbox doctor`: what of tsbox works on this host. Changes nothing that stays, and opens no store. */
import type { Finding } from '../../spec/doctor.ts';
import type { EngineOptions } from '../api.ts';
import { gatherFacts } from './gather.ts';
import { judge } from './judge.ts';

/** In the order of reading. An `error` keeps `run` from working for the caller. */
export async function examine(options: EngineOptions): Promise<Finding[]> {
  return judge(await gatherFacts(options));
}

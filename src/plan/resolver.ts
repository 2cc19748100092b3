/** The step that starts the DNS server of a container. Pure. @see docs/network.md, Names */
import type { Step } from './step.ts';
import { hole, text } from './text.ts';

export interface ResolverInput {
  /** Path of tsbox-resolver. */
  program: string;
  runRoot: string;
  /** Of the container. */
  id: string;
  /** Whom it asks for names of outside, in this order; none: nobody. */
  upstreams: readonly string[];
}

/** For a list `outside` of the new process, when that has its network namespace: the server is there when the step is done. */
export function resolverStep({ program, runRoot, id, upstreams }: ResolverInput): Step {
  const asked = upstreams.length > 0 ? ['--upstream', upstreams.join(',')] : ['--no-forward'];
  const args = [program, '--pid', text`${hole('pid')}`, '--run-root', runRoot, '--id', id, ...asked];
  return {
    op: 'run',
    args,
    why: 'names of the containers in its networks are answered at 127.0.0.11',
    see: 'docs/network.md',
  };
}

/** The flags of `run` and `create` that are about ports. The parsing is loaded when one is given. */
import type { ContainerRequest } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { FLAG_ERROR, type FlagTable, type FlagValues, UsageError } from './args.ts';

export const PORT_FLAGS = {
  expose: { kind: 'list', value: 'port', help: 'Say that a port is of use: PORT[-END][/tcp|udp|sctp]' },
  publish: {
    kind: 'list',
    short: 'p',
    value: 'port',
    help: 'Let a port of the host lead to one of the container: [[IP:][HOSTPORT]:]PORT[/tcp|udp]',
  },
  'publish-all': { kind: 'bool', short: 'P', help: 'Let ports of the host, any, lead to all that are exposed' },
} as const satisfies FlagTable;

type Values = FlagValues<typeof PORT_FLAGS>;

/** The request with what the flags ask for. @throws UsageError on a value that is none */
export async function withPorts(request: ContainerRequest, flags: Values): Promise<ContainerRequest> {
  const { publish, expose, 'publish-all': publishAll } = flags;
  const all = publishAll ? { publishAllPorts: true } : {};
  if (publish.length === 0 && expose.length === 0) return { ...request, ...all };
  const { portsAsked } = await import('../spec/ports.ts');
  try {
    const { exposed, bindings } = portsAsked(publish, expose);
    return { ...request, ...all, exposedPorts: exposed, portBindings: bindings };
  } catch (error) {
    if (error instanceof TsboxError) throw new UsageError(error.message, FLAG_ERROR);
    throw error;
  }
}

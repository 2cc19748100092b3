/** What a person would type for a step about networks: lines of ip(8) and nft(8) that do the same. Pure. */
import type { OpName } from './ops.ts';
import type { Step, StepOf } from './step.ts';
import { show } from './text.ts';

type Commands = { readonly [Name in OpName]?: (step: StepOf<Name>) => readonly string[] };

/** Command lines for a shell, none for most steps. Holes that are still open stand in braces. */
export function commandLines(step: Step): readonly string[] {
  const lines = COMMANDS[step.op] as ((step: Step) => readonly string[]) | undefined;
  return lines === undefined ? [] : lines(step);
}

/** A process by its number, as ip(8) takes it; else the path of the file. */
const netns = (path: string): string => /^\/proc\/(\d+|\{pid\})\/ns\/net$/.exec(path)?.[1] ?? path;

function addLink(step: StepOf<'link_add'>): string {
  const [name, type, peer, place, mac] = [step.name, step.type, step.peer, step.netns, step.mac].map(show) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const address = mac === '' ? '' : ` address ${mac}`;
  const mtu = step.mtu === 0 ? '' : ` mtu ${step.mtu}`;
  if (peer === '') return `ip link add ${name}${address}${mtu} type ${type}`;
  const where = place === '' ? '' : ` netns ${netns(place)}`;
  return `ip link add ${name}${mtu} type ${type} peer name ${peer}${where}${address}${mtu}`;
}

function addAddress(step: StepOf<'address_add'>): string {
  const address = show(step.address);
  return `ip addr add ${address} ${address.includes(':') ? 'nodad' : 'brd +'} dev ${show(step.link)}`;
}

function addRoute(step: StepOf<'route_add'>): string {
  const [to, via] = [show(step.to), show(step.via)];
  return `ip route add ${to}${via === '' ? '' : ` via ${via}`} dev ${show(step.link)}`;
}

const COMMANDS: Commands = {
  link_up: (step) => [`ip link set ${show(step.name)} up`],
  link_add: (step) => [addLink(step)],
  link_set: (step) => {
    const master = show(step.master);
    return [`ip link set ${show(step.name)} ${master === '' ? 'nomaster' : `master ${master}`}`];
  },
  link_delete: (step) => [`ip link delete ${show(step.name)}`],
  address_add: (step) => [addAddress(step)],
  route_add: (step) => [addRoute(step)],
};

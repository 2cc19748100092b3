/** Ports of EXPOSE: `80`, `80/udp`, `8000-8010`. Pure. */
import { syntaxError } from './dockerfile-words.ts';

const HIGHEST = 65535;

/** `80/tcp` and the like for one word. A published form, `8080:80` or `127.0.0.1:8080:80`, exposes its container's part, as in Docker.
 *  @throws ERR_TSBOX_USAGE */
export function exposedPorts(word: string): string[] {
  const slash = word.indexOf('/');
  const protocol = slash < 0 ? 'tcp' : word.slice(slash + 1).toLowerCase();
  const ports = (slash < 0 ? word : word.slice(0, slash)).split(':').at(-1) ?? '';
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw syntaxError(`Invalid proto: ${protocol}`);
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports);
  if (match === null) throw syntaxError(`Invalid containerPort: ${ports}`);
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (last > HIGHEST || first > last) throw syntaxError(`Invalid containerPort: ${ports}`);
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

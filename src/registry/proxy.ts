/** Proxies from the environment, by the rules of Go's net/http, which Docker's users know. */
import { BlockList, isIP } from 'node:net';
import { TsboxError } from '../errors.ts';
import { isLoopback } from './endpoint.ts';

type Environment = Readonly<Record<string, string | undefined>>;

function setting(environment: Environment, name: string): string {
  return environment[name] || environment[name.toLowerCase()] || '';
}

/** The proxy to ask for a URL; undefined to ask directly: no proxy is set, NO_PROXY excepts the host, or it is this machine. `ALL_PROXY` is
 *  for what the others say nothing of.
 *  @throws ERR_TSBOX_UNSUPPORTED for another kind of proxy than http, https and socks5
 *  @see golang.org/x/net/http/httpproxy; curl(1), ALL_PROXY */
export function proxyFor(url: URL, environment: Environment): string | undefined {
  const own = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const name = setting(environment, own) === '' ? 'ALL_PROXY' : own;
  const proxy = setting(environment, name);
  if (proxy === '' || isLoopback(url.host) || isExcepted(url, setting(environment, 'NO_PROXY'))) return undefined;
  const full = proxy.includes('://') ? proxy : `http://${proxy}`;
  if (!/^(?:https?|socks5h?):\/\//i.test(full) || !URL.canParse(full)) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `use the proxy of ${name}: not an http, https or socks5 URL`, {
      hint: `Set ${name} to a value like http://proxy.example:3128 or socks5://proxy.example:1080, or add ${url.hostname} to NO_PROXY.`,
    });
  }
  return full;
}

/** Is the host on the list? Entries: `*`, `example.com` (with what is below it), `.example.com` (only what is below it),
 *  an address, a range as `10.0.0.0/8`, each with an optional port. */
function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  for (const raw of list.split(',')) {
    let entry = raw.trim().toLowerCase();
    if (entry === '*') return true;
    if (isRange(entry, host)) return true;
    const withPort = /^(.*[^:]|\[.*\]):(\d+)$/.exec(entry);
    if (withPort !== null && isIP(entry) === 0) {
      if (withPort[2] !== port) continue;
      entry = withPort[1] ?? '';
    }
    entry = entry.replace(/^\[|\]$/g, '').replace(/^\*(?=\.)/, '');
    if (entry === '') continue;
    if (host === entry || host.endsWith(entry.startsWith('.') ? entry : `.${entry}`)) return true;
  }
  return false;
}

function isRange(entry: string, host: string): boolean {
  const [network = '', bits = '', rest] = entry.split('/');
  const family = isIP(network);
  if (rest !== undefined || !/^\d{1,3}$/.test(bits) || family === 0 || isIP(host) !== family) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const block = new BlockList();
  block.addSubnet(network, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  return block.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

/** The value of `--network`: a mode, or in its long form `name=NETWORK,alias=NAME,ip=ADDRESS`. */
import type { EndpointRequest } from '../engine/api.ts';
import { FLAG_ERROR, UsageError } from './args.ts';

function wrong(value: string, why: string): UsageError {
  return new UsageError(`invalid argument ${JSON.stringify(value)} for "--network" flag: ${why}`, FLAG_ERROR);
}

/** @throws UsageError in Docker's words */
export function parseNetworkValue(value: string): EndpointRequest {
  if (!value.includes('=') || value.startsWith('container:')) return { network: value };
  const fields = value.split(',').map((field): [string, string] => {
    const equals = field.indexOf('=');
    if (equals < 1) throw wrong(value, `invalid field ${field}`);
    return [field.slice(0, equals).trim().toLowerCase(), field.slice(equals + 1).trim()];
  });
  const known = ['name', 'alias', 'ip', 'ip6', 'mac-address', 'driver-opt'];
  const unknown = fields.find(([key]) => !known.includes(key));
  if (unknown !== undefined) throw wrong(value, `invalid field key ${unknown[0]}`);
  const all = (key: string) => fields.filter(([name]) => name === key).map(([, text]) => text);
  const [network] = all('name');
  if (network === undefined || network === '') throw wrong(value, 'network name/id is not specified');
  const one = (key: string) => all(key).at(-1);
  const [ip, ip6, mac] = [one('ip'), one('ip6'), one('mac-address')];
  return {
    network,
    ...(all('alias').length > 0 && { aliases: all('alias') }),
    ...(ip !== undefined && { ip }),
    ...(ip6 !== undefined && { ip6 }),
    ...(mac !== undefined && { mac }),
    ...(all('driver-opt').length > 0 && { driverOptions: driverOptions(value, all('driver-opt')) }),
  };
}

function driverOptions(value: string, given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((option) => {
      const equals = option.indexOf('=');
      if (equals < 1) throw wrong(value, 'invalid key value pair format in driver options');
      return [option.slice(0, equals), option.slice(equals + 1)];
    }),
  );
}

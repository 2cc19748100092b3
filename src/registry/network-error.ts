/** What can go wrong before an HTTP answer is there, and what to do about it. */
import { TsboxError } from '../errors.ts';

/** Codes that the C library's table of errno does not have, or that need other words here. */
const TEXT: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  EPIPE: 'Broken pipe',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EACCES: 'Permission denied',
};

const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
]);
const PASSING = new Set([...UNREACHABLE, 'ECONNRESET', 'EPIPE', 'ECONNABORTED']);

/** The code of what Node met below a registry error: `ECONNREFUSED`, `ETIMEDOUT`, ...; undefined when it was no network error. */
export function networkCode(error: unknown): string | undefined {
  const cause = error instanceof TsboxError && error.code === 'ERR_TSBOX_REGISTRY' ? error.cause : undefined;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Is nobody there, as far as we can see? Asking again at once would not help, unless there was somebody a moment ago. */
export function isUnreachable(error: unknown): boolean {
  return UNREACHABLE.has(networkCode(error) ?? '');
}

/** May the same request go well a moment later? */
export function isPassing(error: unknown): boolean {
  return PASSING.has(networkCode(error) ?? '');
}

/** A time-out in the form of Node's other network errors. @param what `no answer` @param milliseconds waited for it */
export function timeoutError(what: string, milliseconds: number): Error {
  const seconds = milliseconds < 1000 ? milliseconds / 1000 : Math.round(milliseconds / 1000);
  return Object.assign(new Error(`${what} for ${seconds} s`), { code: 'ETIMEDOUT' });
}

function isCertificateCode(code: string): boolean {
  return /CERT|^ERR_TLS|^UNABLE_TO|^HOSTNAME_MISMATCH/.test(code);
}

function hintFor(code: string, host: string): string {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `The name ${host} has no address here. Check the name and the network, set HTTPS_PROXY, or name a mirror with --registry-mirror.`;
  }
  if (isCertificateCode(code)) {
    return `The certificate of ${host} is not trusted. Put its authority into /etc/tsbox/certs.d/${host}/ca.crt, or mark the host insecure in /etc/tsbox/registries.json.`;
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) {
    return `${host} does not speak https. If it is meant to be plain http, mark the host insecure in /etc/tsbox/registries.json.`;
  }
  if (code.startsWith('HPE_')) return `What listens at ${host} does not speak HTTP.`;
  return `${host} cannot be reached. Check the network and the proxy settings, or name a mirror with --registry-mirror.`;
}

/** Query strings of storage servers carry signatures: they stay out of messages. */
export function showUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** A failure of Node's in our form; its own error is the cause. */
export function networkError(method: string, url: URL, error: unknown): TsboxError {
  if (error instanceof TsboxError) return error;
  const { code = 'ERR', message } = error as NodeJS.ErrnoException;
  // OpenSSL's messages are whole dumps with a source line; its reason is what stands before the last colon.
  const reason = (error as { reason?: string }).reason ?? message.trim().split('\n')[0] ?? '';
  const text = TEXT[code] ?? reason.replace(/;.*/s, '').slice(0, 200);
  return new TsboxError('ERR_TSBOX_REGISTRY', `${method} ${showUrl(url)}: ${code} (${text})`, {
    cause: error,
    hint: hintFor(code, url.host),
  });
}

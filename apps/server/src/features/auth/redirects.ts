import { AppError } from '#platform/errors.ts';
import { isPublicAddress } from '#platform/outgoing/addresses.ts';

/** What decides where sign-in and mails may lead. */
export interface RedirectPolicy {
  /** The allow list, with `*` standing for anything. */
  allowed: readonly string[];
  /** The URL under which clients reach this server. */
  apiBaseUrl: string;
}

const MAX_LENGTH = 2048;
const MAX_SHOWN = 20;
const WEB = new Set(['http:', 'https:']);
/** Schemes that run, read or show something instead of opening an app. */
const HARMFUL = new Set([
  'javascript:',
  'data:',
  'vbscript:',
  'file:',
  'blob:',
  'about:',
  'filesystem:',
  'view-source:',
]);

/**
 * Checks an address that a client wants a browser to be sent to, with a token or a code in its query. Only
 * addresses that every parser reads in the same way are accepted.
 *
 * With an empty list, everything is allowed while this server is reached at an address of the developer's own
 * machine or network. Once it has a public one, only its own origin is: a link that hands somebody's reset token to
 * any site that asked for it, or to whatever listens on a port of their machine, would be an open door. The pages of
 * this server itself (`/auth/*`) are always allowed.
 * @param field how the client called it, for the message
 * @returns the address to store and to redirect to
 * @throws AppError INVALID_INPUT with the address, the list, and the command that adds it
 */
export function checkRedirect(field: string, written: string, policy: RedirectPolicy): URL {
  const parsed = parsePlain(written);
  if (typeof parsed === 'string') throw new AppError('INVALID_INPUT', `${field}: ${parsed}`, { nextActions: PLAIN });
  if (isAllowed(parsed, policy)) return parsed;
  const { allowed, apiBaseUrl } = policy;
  const why =
    allowed.length > 0 ? 'is not on the list of allowed addresses' : 'is elsewhere, and no address is allowed yet';
  throw new AppError('INVALID_INPUT', `${field}: ${parsed.href} ${why}`, {
    details: { url: parsed.href, allowedRedirectUrls: allowed },
    nextActions: howToAllow(parsed, allowed, apiBaseUrl),
  });
}

const PLAIN = 'Write it as the app is opened, such as https://app.example.com/callback or myapp://callback.';

/** The address with our parameters in its query. What it already has under these names goes. */
export function withParameters(url: URL | string, parameters: Readonly<Record<string, string>>): string {
  const target = new URL(url);
  for (const name of OUR_PARAMETERS) target.searchParams.delete(name);
  for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value);
  return target.href;
}

/** Whoever wrote the address must not be able to put words into our mouth. */
const OUR_PARAMETERS = ['insforge_code', 'insforge_status', 'insforge_type', 'insforge_error', 'token', 'error'];

const HOST = /^(?:(?:[a-z\d_-]+\.)*[a-z\d_-]+|\[[\da-f:]+\])$/;

/** Parses an address, or says what is wrong with the way it is written. */
function parsePlain(written: string): URL | string {
  if (written.length > MAX_LENGTH) return `must have at most ${MAX_LENGTH} characters`;
  if (!/^[\x21-\x7e]+$/.test(written))
    return 'must be plain ASCII: encode other characters, and host names as punycode';
  if (written.includes('\\')) return 'must not contain a backslash';
  if (written.includes('#')) return 'must not contain a fragment (#)';
  const [, scheme = '', authority, path = ''] = /^([a-z][a-z\d+.-]*):(?:\/\/([^/?]*))?([^?]*)/i.exec(written) ?? [];
  if (!URL.canParse(written) || (authority === undefined && !path.startsWith('/'))) return 'must be a complete address';
  const url = new URL(written);
  if (HARMFUL.has(url.protocol)) return `must not have the scheme ${scheme}`;
  if (authority?.includes('@')) return 'must not contain a user name or password';
  if (/(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(path)) return 'must not contain . or .. in its path';
  if (/%(?:2e|2f|5c|[01][\da-f]|7f)/i.test(path)) return 'must not contain encoded dots, slashes or control characters';
  if (path.includes('//')) return 'must not contain // in its path';
  const { host, port } = splitAuthority(authority ?? '');
  const isPlainHost = HOST.test(host) || (host === '' && !WEB.has(url.protocol));
  const isPlainPort = port === undefined || (Number(port) > 0 && isPortOf(port, url));
  if (!isPlainHost || !isPlainPort || host !== url.hostname.toLowerCase()) {
    return 'must name its host and port in their usual form';
  }
  return url;
}

function isPortOf(port: string, url: URL): boolean {
  return String(Number(port)) === url.port || (url.port === '' && Number(port) === DEFAULT_PORTS[url.protocol]);
}

const DEFAULT_PORTS: Record<string, number> = { 'http:': 80, 'https:': 443 };

function splitAuthority(authority: string): { host: string; port: string | undefined } {
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}|\*))?$/.exec(authority) ?? [];
  return { host: host.toLowerCase(), port };
}

function isAllowed(url: URL, { allowed, apiBaseUrl }: RedirectPolicy): boolean {
  // Our own pages, which check in turn where they lead to.
  if (url.href.startsWith(`${apiBaseUrl}/auth/`)) return true;
  const own = new URL(apiBaseUrl);
  if (allowed.length > 0) return allowed.some((pattern) => matches(pattern, url));
  return (WEB.has(url.protocol) && url.origin === own.origin) || isDevelopment(own.hostname);
}

/** True for an address at which only the developer can reach the server. */
function isDevelopment(host: string): boolean {
  if (/^(?:[a-z\d-]+\.)*localhost$/.test(host)) return true;
  const address = host.replace(/^\[|\]$/g, '');
  return /^[\d.]+$|:/.test(address) && !isPublicAddress(address);
}

const PATTERN = /^([a-z][a-z\d+.-]*:)(\/\/[^/?]*)?([^?]*)(\?.*)?$/i;

/** Compares scheme, host, port and path each for itself, so that a `*` in one cannot reach into another. */
function matches(pattern: string, url: URL): boolean {
  const [, scheme = '', authority, path = '', query] = PATTERN.exec(pattern) ?? [];
  if (scheme.toLowerCase() !== url.protocol) return false;
  if ((authority === undefined) !== !url.href.startsWith(`${url.protocol}//`)) return false;
  // An app scheme is the app's own, whatever follows.
  if (authority === '//**' && path === '' && query === undefined && !WEB.has(url.protocol)) return true;
  const { host, port } = splitAuthority(authority?.slice(2) ?? '');
  if (!matchesHost(host, url.hostname.toLowerCase())) return false;
  const isPort = port === '*' || (port === undefined ? url.port === '' : isPortOf(port, url));
  if (!isPort) return false;
  // The query decides nothing unless the pattern says so: what must not be in it, we take out.
  return matchesGlob(path || '/', url.pathname || '/') && (query === undefined || matchesGlob(query, url.search));
}

/** `*.` in front stands for one or more labels, `*` elsewhere for a part of one, and `*` alone for every host. */
function matchesHost(pattern: string, host: string): boolean {
  if (pattern === '*') return host !== '';
  const wanted = pattern.split('.');
  const labels = host.split('.');
  if (wanted[0] === '*') {
    const rest = wanted.slice(1);
    return (
      labels.length > rest.length && rest.every((label, index) => matchesGlob(label, labels.at(index - rest.length)))
    );
  }
  return wanted.length === labels.length && wanted.every((label, index) => matchesGlob(label, labels[index]));
}

/** `*` stands for any text. Goes back to the last star only: a regular expression could be made to take ages. */
function matchesGlob(pattern: string, text = ''): boolean {
  let [at, star, resume] = [0, -1, 0];
  let index = 0;
  while (index < text.length) {
    if (pattern[at] === '*') {
      star = at++;
      resume = index;
    } else if (pattern[at] === text[index]) {
      at++;
      index++;
    } else if (star >= 0) {
      at = star + 1;
      index = ++resume;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}

function howToAllow(url: URL, allowed: readonly string[], apiBaseUrl: string): string {
  const address = url.href.slice(0, url.href.length - url.search.length);
  if (allowed.length > MAX_SHOWN) {
    return `An admin can add ${address} to allowedRedirectUrls: read the list with GET /api/auth/config, send it back with PUT.`;
  }
  const body = JSON.stringify({ allowedRedirectUrls: [...allowed, address] }).replaceAll("'", "'\\''");
  return `An admin can allow it: curl -X PUT '${apiBaseUrl}/api/auth/config' -H "x-api-key: $ACCESS_API_KEY" -H 'content-type: application/json' -d '${body}'`;
}

import { isIP } from 'node:net';
import { AppError } from '#platform/errors.ts';
import { isPublicAddress } from '#platform/outgoing/addresses.ts';

const PLAIN_ENDPOINTS = ['authorizeUrl', 'tokenUrl', 'userinfoUrl'] as const;
const ENDPOINTS = ['discoveryEndpoint', ...PLAIN_ENDPOINTS] as const;

type Endpoints = Partial<Record<(typeof ENDPOINTS)[number], string | null | undefined>>;

/** Either discovery or all three addresses. @throws AppError INVALID_INPUT */
export function checkCompleteness(endpoints: Endpoints): void {
  const present = PLAIN_ENDPOINTS.filter((name) => endpoints[name]);
  if (endpoints.discoveryEndpoint ? present.length === 0 : present.length === PLAIN_ENDPOINTS.length) return;
  throw new AppError(
    'INVALID_INPUT',
    `discoveryEndpoint: is required, or, without OpenID Connect, ${PLAIN_ENDPOINTS.join(', ')} in its place`,
    { nextActions: 'To change from one kind to the other, set the addresses of the old kind to null.' },
  );
}

/**
 * Tells an admin at once what would fail at every sign-in. What a host name leads to is looked at with every
 * connection, and only then: it can change.
 * @throws AppError INVALID_INPUT
 */
export function checkAddresses(endpoints: Endpoints, allowPrivateNetwork: boolean): void {
  if (allowPrivateNetwork) return;
  for (const name of ENDPOINTS) {
    const { protocol, hostname } = new URL(endpoints[name] ?? 'https://example.com');
    const host = hostname.replace(/^\[|\]$/g, '');
    const isPrivate = /(?:^|\.)localhost\.?$/.test(host) || (isIP(host) !== 0 && !isPublicAddress(host));
    if (protocol === 'https:' && !isPrivate) continue;
    throw new AppError('INVALID_INPUT', `${name}: must be an https address on the public internet`, {
      nextActions: 'For a provider of your own machine or network, start the server with ALLOW_PRIVATE_NETWORK=true.',
    });
  }
}

import { lookup } from 'node:dns';
import { BlockList, connect, isIP, type LookupFunction, type Socket } from 'node:net';

/** Somebody named a host that is not on the public internet: this machine, its network, or the cloud's metadata. */
export class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError';
  readonly code = 'EPRIVATE';

  constructor(host: string, address: string) {
    super(
      host === address ? `${address} is not a public address` : `${host} has the address ${address}, not a public one`,
    );
  }
}

/** https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 sibling. */
const NOT_PUBLIC = {
  ipv4: [
    '0.0.0.0/8',
    '10.0.0.0/8',
    '100.64.0.0/10',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '172.16.0.0/12',
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.88.99.0/24',
    '192.168.0.0/16',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '224.0.0.0/4',
    '240.0.0.0/4',
  ],
  // Beside all outside of 2000::/3. 2002::/16 and 2001::/32 carry IPv4 addresses, which may be private ones.
  ipv6: ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'],
} as const;

const blocked = listOf(NOT_PUBLIC);
const globalUnicast = listOf({ ipv4: [], ipv6: ['2000::/3'] });

function listOf(ranges: Record<'ipv4' | 'ipv6', readonly string[]>): BlockList {
  const list = new BlockList();
  for (const family of ['ipv4', 'ipv6'] as const) {
    for (const range of ranges[family]) {
      const [network = '', prefix] = range.split('/');
      list.addSubnet(network, Number(prefix), family);
    }
  }
  return list;
}

/** True for an IP address that anybody on the internet could reach. Everything else, also nonsense, is not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !blocked.check(address, 'ipv4');
  return family === 6 && globalUnicast.check(address, 'ipv6') && !blocked.check(address, 'ipv6');
}

/**
 * Looks a host up for a socket that is about to connect, and fails with PrivateAddressError when any of its
 * addresses is not public. Checking here, and not when the host was configured, leaves no gap for a name that
 * changes its address. Sockets do not look up literal addresses: check those with `isPublicAddress`.
 */
export const lookupPublic: LookupFunction = (host, options, callback) => {
  lookup(host, { ...options, all: true }, (error, addresses = []) => {
    const [first] = addresses;
    const refused = addresses.find(({ address }) => !isPublicAddress(address));
    if (error || !first) callback(error ?? new Error(`${host} has no address`), '');
    else if (refused) callback(new PrivateAddressError(host, refused.address), '');
    else if (options.all) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

interface Destination {
  host: string;
  port: number;
  /** For servers of the developer's own machine or network. */
  allowPrivate: boolean;
  timeoutMs: number;
}

/** Connects to a host that somebody named. @throws PrivateAddressError, or the error of the network */
export function connectTo({ host, port, allowPrivate, timeoutMs }: Destination): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (!allowPrivate && isIP(host) && !isPublicAddress(host)) throw new PrivateAddressError(host, host);
    const socket = connect({ host, port, ...(allowPrivate ? {} : { lookup: lookupPublic }) });
    const timer = setTimeout(() => {
      socket.destroy(Object.assign(new Error(`no connection within ${timeoutMs / 1000} s`), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    // Stays: an error between now and the moment the caller listens too would end the process.
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { connectTo, isPublicAddress } from './addresses.ts';

test.each([
  '1.1.1.1',
  '8.8.8.8',
  '100.63.255.255',
  '172.15.0.1',
  '172.32.0.1',
  '192.0.1.1',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '2a00:1450:4001::5',
])('%s is public', (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

test.each([
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '127.9.9.9',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.192',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:8.8.8.8',
  '64:ff9b::a9fe:a9fe',
  'fe80::1',
  'fd00:ec2::254',
  'fc00::1',
  'ff02::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '[::1]',
  '0x7f.1',
  'localhost',
  '',
])('%s is not', (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

async function listen(): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => {}).end('hello')).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

// What getaddrinfo makes an address of is checked after it has.
test.each(['127.0.0.1', 'localhost', '127.1', '0x7f000001', '2130706433', '0177.0.0.1', '::ffff:127.0.0.1', '0'])(
  'no connection to %s, whatever listens there',
  async (host) => {
    const port = await listen();
    const connecting = connectTo({ host, port, allowPrivate: false, timeoutMs: 2_000 });
    await expect(connecting).rejects.toThrow(/not a public|ENOTFOUND|EAI_AGAIN/);
  },
);

test('where private hosts are allowed, they are reached', async () => {
  const port = await listen();
  const socket = await connectTo({ host: 'localhost', port, allowPrivate: true, timeoutMs: 2_000 });
  expect(socket.remoteAddress).toMatch(/^(127\.0\.0\.1|::1)$/);
  socket.destroy();
});

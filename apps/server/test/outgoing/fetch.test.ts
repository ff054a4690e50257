import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { createOutgoingFetch, privateAddressBehind } from '../../src/platform/outgoing/fetch.ts';

async function serve(listener: RequestListener): Promise<{ port: number; seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    listener(request, response);
  }).listen(0, '::');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return { port: address.port, seen };
}

function open(allowPrivate: boolean | readonly string[], maxBytes = 10_000) {
  const outgoing = createOutgoingFetch({ allowPrivate, timeoutMs: 2000, maxBytes });
  onTestFinished(() => outgoing.close());
  return outgoing.fetch;
}

test.each([
  '127.0.0.1',
  '127.1',
  '0x7f.0.0.1',
  '0177.0.0.1',
  '2130706433',
  '0.0.0.0',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '169.254.169.254',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '[fe80::1]',
  '[fd00::1]',
  '[fd00:ec2::254]',
  // Names: what counts is where they lead at the moment of the connection, however harmless they look.
  'localhost',
  'any.thing.localhost',
  'LOCALHOST.',
])('%s is not called', async (host) => {
  const { port, seen } = await serve((_request, response) => response.end('secret'));
  const error = await open(false)(`http://${host}:${port}/`).catch((error: unknown) => error);
  const refused = privateAddressBehind(error);
  // A resolver may also know nothing of these names.
  if (!/localhost/i.test(host) || refused) expect(refused?.message).toMatch(/not a public/);
  else expect(String((error as Error).cause)).toMatch(/ENOTFOUND|EAI_AGAIN/);
  expect(seen).toEqual([]);
});

test.each(['127.0.0.2', 'localhost', '[::1]', '0x7f000001'])('a redirect to %s is not followed', async (host) => {
  const inside = await serve((_request, response) => response.end('secret'));
  const outside = await serve((_request, response) =>
    response.writeHead(302, { location: `http://${host}:${inside.port}/latest/meta-data` }).end(),
  );
  // The first server stands for one on the public internet.
  const fetch = open(['127.0.0.3']);
  const error = await fetch(`http://127.0.0.3:${outside.port}/`).catch((error: unknown) => error);
  expect(privateAddressBehind(error)).toBeDefined();
  expect(outside.seen).toEqual(['/']);
  expect(inside.seen).toEqual([]);
});

test('with the switch for development, servers of this machine are called', async () => {
  const { port } = await serve((_request, response) => response.end('hello'));
  const reply = await open(true)(`http://localhost:${port}/`);
  expect(await reply.text()).toBe('hello');
});

test('an answer that would fill the memory is cut off', async () => {
  const { port } = await serve((_request, response) => response.end('x'.repeat(100_000)));
  const reply = await open(true)(`http://localhost:${port}/`);
  await expect(reply.text()).rejects.toThrow(/more than 10000 bytes/);
});

test('a small answer that unpacks to a large one is cut off too', async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  const { port } = await serve((_request, response) => response.setHeader('content-encoding', 'gzip').end(bomb));
  const reply = await open(true, 100_000)(`http://localhost:${port}/`);
  await expect(reply.text()).rejects.toThrow(/more than 100000 bytes/);
});

test('a server that says nothing does not hold a request up', async () => {
  const { port } = await serve(() => {});
  await expect(open(true)(`http://localhost:${port}/`)).rejects.toThrow();
});

import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { ALICE, signUp } from '../auth/client.ts';
import { startApp, type TestApp } from '../harness.ts';

/** The address that a session is said to come from, where the connection comes from `peer` with these headers. */
async function seenFrom({ app, sql }: TestApp, peer: string, headers: Record<string, string>) {
  await sql('delete from auth.sessions');
  const reply = await app.inject({
    method: 'POST',
    url: '/api/auth/sessions',
    payload: ALICE,
    headers,
    remoteAddress: peer,
  });
  expect(reply.statusCode).toBe(200);
  const [row] = await sql<{ address: string }>('select host(ip_address) as address from auth.sessions');
  return row?.address;
}

const STRANGER = '203.0.113.5';
const CLIENT = '198.51.100.7';

test.each([
  { trust: undefined, peer: STRANGER, forwarded: CLIENT, seen: STRANGER, what: 'a stranger is not believed' },
  { trust: undefined, peer: '10.0.0.1', forwarded: CLIENT, seen: '10.0.0.1', what: 'nor a neighbour' },
  { trust: undefined, peer: '127.0.0.1', forwarded: CLIENT, seen: CLIENT, what: 'a proxy on this machine is' },
  { trust: undefined, peer: '::1', forwarded: CLIENT, seen: CLIENT, what: 'also by IPv6' },
  { trust: undefined, peer: '::ffff:127.0.0.1', forwarded: CLIENT, seen: CLIENT, what: 'and in its disguise' },
  {
    trust: undefined,
    peer: `::ffff:${STRANGER}`,
    forwarded: '',
    seen: STRANGER,
    what: 'IPv4 looks the same from both',
  },
  {
    trust: undefined,
    peer: '127.0.0.1',
    forwarded: `${CLIENT}, ${STRANGER}`,
    seen: STRANGER,
    what: 'what a stranger told the proxy is not',
  },
  { trust: 'none', peer: '127.0.0.1', forwarded: CLIENT, seen: '127.0.0.1', what: 'none is nobody' },
  { trust: '10.0.0.0/8', peer: '10.1.2.3', forwarded: CLIENT, seen: CLIENT, what: 'a network' },
  { trust: '10.0.0.0/8', peer: '11.1.2.3', forwarded: CLIENT, seen: '11.1.2.3', what: 'the network beside it' },
  { trust: '10.0.0.0/8', peer: '127.0.0.1', forwarded: CLIENT, seen: '127.0.0.1', what: 'nor this machine then' },
  { trust: 'uniquelocal loopback', peer: 'fd00::9', forwarded: '2001:db8::5', seen: '2001:db8::5', what: 'names' },
  {
    trust: '192.0.2.1, 10.0.0.0/8',
    peer: '192.0.2.1',
    forwarded: `6.6.6.6, ${CLIENT}, 10.9.9.9`,
    seen: CLIENT,
    what: 'a chain, as far as it is trusted',
  },
  {
    trust: '192.0.2.1',
    peer: '192.0.2.1',
    forwarded: `${CLIENT}, 10.9.9.9`,
    seen: '10.9.9.9',
    what: 'a chain that is not trusted to its end',
  },
  { trust: '1', peer: STRANGER, forwarded: `6.6.6.6, ${CLIENT}`, seen: CLIENT, what: 'one proxy, whoever it is' },
  { trust: '2', peer: STRANGER, forwarded: `${CLIENT}, 10.9.9.9`, seen: CLIENT, what: 'two of them' },
  { trust: '2', peer: STRANGER, forwarded: `6.6.6.6, ${CLIENT}, 10.9.9.9`, seen: CLIENT, what: 'and no more' },
  { trust: undefined, peer: '127.0.0.1', forwarded: `${CLIENT}:4711`, seen: CLIENT, what: 'with the port' },
  { trust: undefined, peer: '127.0.0.1', forwarded: '[2001:db8::5]:4711', seen: '2001:db8::5', what: 'and of IPv6' },
])('TRUST_PROXY=$trust: $what', async ({ trust, peer, forwarded, seen }) => {
  const app = await startApp(trust === undefined ? {} : { TRUST_PROXY: trust });
  await signUp(app);
  const headers: Record<string, string> = forwarded === '' ? {} : { 'x-forwarded-for': forwarded };
  expect(await seenFrom(app, peer, headers)).toBe(seen);
});

test('a stranger cannot escape being counted by naming other addresses', async () => {
  const { app, sql } = await startApp();
  for (let index = 0; index < 3; index++) {
    await app.inject({
      method: 'POST',
      url: '/api/auth/sessions',
      payload: { email: `guess${index}@example.com`, password: 'wrong' },
      headers: { 'x-forwarded-for': `198.51.100.${index}`, 'x-real-ip': '6.6.6.6', forwarded: 'for=6.6.6.6' },
      remoteAddress: STRANGER,
    });
  }
  expect(await sql('select network from auth.login_failures where account is null')).toEqual([{ network: STRANGER }]);
});

test.each([
  { peer: '127.0.0.1', secure: true },
  { peer: STRANGER, secure: false },
])('whether the browser came by TLS is said by a proxy that is trusted: $peer', async ({ peer, secure }) => {
  const { app, as } = await startApp({ API_BASE_URL: 'https://api.example.com' });
  const client = await as('admin').post('/api/oauth/v1/clients', {
    name: 'Notes',
    redirectUris: ['https://app.example.com/callback'],
  });
  const reply = await app.inject({
    url: '/api/oauth/v1/authorize',
    query: {
      client_id: client.body.clientId,
      redirect_uri: 'https://app.example.com/callback',
      response_type: 'code',
      scope: 'openid',
      code_challenge: 'a'.repeat(43),
      code_challenge_method: 'S256',
    },
    headers: { 'x-forwarded-proto': 'https' },
    remoteAddress: peer,
  });
  expect(reply.statusCode).toBe(303);
  const cookies = [reply.headers['set-cookie'] ?? []].flat();
  expect(cookies.length).toBeGreaterThan(0);
  for (const cookie of cookies) expect(/; secure/i.test(cookie), cookie).toBe(secure);
});

test.each([
  'true',
  '*',
  '0',
  '10',
  '0.0.0.0/0',
  '::/0',
  '10.0.0.0/33',
  '10.0.0.0/',
  'proxy.example.com',
  '10.0.0',
  ',',
])('the server does not start with TRUST_PROXY=%s', (TRUST_PROXY) => {
  expect(() => loadConfig({ TRUST_PROXY })).toThrow(/TRUST_PROXY must be none, a list of addresses/);
});

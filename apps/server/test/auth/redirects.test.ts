import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { startApp } from '../harness.ts';
import { ADA, configure, endCooldown } from './email-client.ts';

const PATH = '/api/auth/email/send-magic-link';
const OWN = 'https://api.example.com';
const LOCAL = 'http://localhost:7130';

/** What a client wants to be sent back to, under each list and server: true where it may. */
interface Row {
  list: string[];
  api?: string;
  allowed?: string[];
  refused?: string[];
}

const TABLE: (Row & { what: string })[] = [
  {
    what: 'an exact address',
    list: ['https://app.example.com/callback'],
    allowed: [
      'https://app.example.com/callback',
      'https://APP.example.com/callback',
      'HTTPS://app.example.com/callback',
      'https://app.example.com:443/callback',
      'https://app.example.com/callback?next=/a&b=https://evil.example',
    ],
    refused: [
      'http://app.example.com/callback',
      'https://app.example.com/callback/',
      'https://app.example.com/callback/more',
      'https://app.example.com/Callback',
      'https://app.example.com/',
      'https://app.example.com',
      'https://app.example.com:8443/callback',
      'https://www.app.example.com/callback',
      'https://app.example.com.evil.example/callback',
      'https://evil.example/https://app.example.com/callback',
      'https://evil.example/callback',
      'https://app.example.com./callback',
      'https://app-example.com/callback',
      'myapp://app.example.com/callback',
      'http://localhost:3000/',
    ],
  },
  {
    what: 'a host without a path',
    list: ['https://app.example.com'],
    allowed: ['https://app.example.com', 'https://app.example.com/', 'https://app.example.com/?a=b'],
    refused: ['https://app.example.com/callback'],
  },
  {
    what: 'any path',
    list: ['https://app.example.com/*'],
    allowed: [
      'https://app.example.com/',
      'https://app.example.com/a/b?c',
      'https://app.example.com/a@b',
      'https://app.example.com/a:b',
    ],
    refused: ['https://app.example.com.evil.example/a', 'https://evil.example/', 'https://app.example.com:8080/'],
  },
  {
    what: 'a folder',
    list: ['https://app.example.com/auth/*'],
    allowed: ['https://app.example.com/auth/done', 'https://app.example.com/auth/'],
    refused: ['https://app.example.com/authentic', 'https://app.example.com/admin', 'https://app.example.com/auth'],
  },
  {
    what: 'any subdomain',
    list: ['https://*.example.com/*'],
    allowed: ['https://a.example.com/', 'https://a.b.example.com/x', 'https://xn--80ak6aa92e.example.com/'],
    refused: [
      'https://example.com/',
      'https://example.com.evil.example/',
      'https://evilexample.com/',
      'https://evil.example/.example.com/',
      'https://evil.example/?.example.com/',
      'https://.example.com/',
      'https://a.example.com:8443/',
      'https://a.example.com.evil.example/x',
    ],
  },
  {
    what: 'a part of a label, as preview deployments have it',
    list: ['https://app-*-team.vercel.example/*'],
    allowed: ['https://app-abc123-team.vercel.example/'],
    refused: ['https://app-evil.example-team.vercel.example/', 'https://app-x.vercel.example/'],
  },
  {
    what: 'any port of this machine',
    list: ['http://localhost:*/*'],
    allowed: ['http://localhost:3000/', 'http://localhost:8080/a', 'http://localhost/'],
    refused: ['https://localhost:3000/', 'http://localhost.evil.example:3000/', 'http://127.0.0.1:3000/'],
  },
  {
    what: 'one port',
    list: ['http://localhost:3000/*'],
    allowed: ['http://localhost:3000/'],
    refused: ['http://localhost:3001/', 'http://localhost/', 'http://localhost:30000/'],
  },
  {
    what: 'an IPv6 address',
    list: ['http://[::1]:3000/*'],
    allowed: ['http://[::1]:3000/a'],
    refused: ['http://[::2]:3000/a', 'http://[0:0:0:0:0:0:0:1]:3000/a', 'http://[::1]/a'],
  },
  {
    what: 'all of an app scheme, but not of the web',
    list: ['myapp://**', 'exp://**', 'https://**'],
    allowed: ['myapp://callback', 'myapp://auth/callback?x=y', 'myapp:///auth', 'exp://192.168.1.5:8081/--/auth'],
    refused: [
      'myapp:/callback',
      'myapps://auth/callback',
      'myapp://user@auth/callback',
      'myapp://auth/../callback',
      'https://evil.example/callback',
      'https://evil.example/',
    ],
  },
  {
    what: 'an app scheme',
    list: ['myapp://callback', 'other:/done/*'],
    allowed: ['myapp://callback', 'MYAPP://callback', 'myapp://Callback', 'myapp://callback?x=y', 'other:/done/a'],
    refused: [
      'myapp://callback.evil',
      'myapp://evil',
      'myapp:/callback',
      'myapps://callback',
      'other://done/a',
      'other:///done/a',
      'myapp://callback/x',
    ],
  },
  {
    what: 'a query',
    list: ['https://app.example.com/?page=done*'],
    allowed: ['https://app.example.com/?page=done', 'https://app.example.com/?page=done&x=1'],
    refused: ['https://app.example.com/', 'https://app.example.com/?page=evil'],
  },
  {
    what: 'every host with TLS',
    list: ['https://*/*'],
    allowed: ['https://anything.example/x'],
    refused: ['http://anything.example/x', 'https://anything.example:8443/x'],
  },
  {
    what: 'nothing yet, on the developer’s own machine',
    list: [],
    allowed: ['http://localhost:3000/', 'https://app.example.com/x', 'myapp://callback', LOCAL],
    refused: ['javascript:/alert(1)', 'data:/text/html,x', 'file:///etc/passwd'],
  },
  {
    what: 'nothing yet, on a private network',
    list: [],
    api: 'http://192.168.1.5:7130',
    allowed: ['http://localhost:3000/', 'myapp://callback', 'https://app.example.com/'],
  },
  {
    what: 'nothing yet, with a public address',
    list: [],
    api: OWN,
    allowed: [`${OWN}/auth/done`, `${OWN}/mine`],
    refused: [
      'http://localhost:3000/',
      'http://127.0.0.1:5173/a',
      'http://[::1]:3000/',
      'http://app.localhost/',
      'https://app.example.com/',
      'https://api.example.com.evil.example/',
      'https://api.example.com:8443/',
      'http://api.example.com/',
      'http://localhost.evil.example/',
      'http://127.0.0.1.evil.example/',
      'myapp://callback',
    ],
  },
  {
    what: 'nothing yet, with a public address that has no name',
    list: [],
    api: 'http://8.8.8.8:7130',
    allowed: ['http://8.8.8.8:7130/mine'],
    refused: ['http://localhost:3000/', 'http://8.8.8.8:3000/', 'https://app.example.com/', 'myapp://callback'],
  },
  {
    what: 'this machine on the list, with a public address',
    list: ['http://localhost:3000/*'],
    api: OWN,
    allowed: ['http://localhost:3000/', 'http://localhost:3000/a'],
    refused: ['http://localhost:3001/', 'http://127.0.0.1:3000/', `${OWN}/mine`],
  },
  {
    what: 'a list takes the place of all defaults',
    list: ['https://app.example.com/*'],
    api: OWN,
    allowed: [`${OWN}/auth/verify?redirect_to=x`],
    refused: [
      'http://localhost:3000/',
      `${OWN}/functions/mine`,
      `${OWN}/auth`,
      'https://api.example.com.evil.example/auth/x',
    ],
  },
];

test.each(TABLE)('$what', async ({ list, api, allowed = [], refused = [] }) => {
  const app = await startApp({ API_BASE_URL: api ?? LOCAL });
  if (list.length > 0) expect((await configure(app, { allowedRedirectUrls: list })).status).toBe(200);
  const outcomes: Record<string, number> = {};
  for (const redirectTo of [...allowed, ...refused]) {
    await endCooldown(app);
    const body = { email: ADA.email, redirectTo, code_challenge: 'x'.repeat(43) };
    outcomes[redirectTo] = (await app.as('nobody').post(PATH, body)).status;
  }
  expect(outcomes).toEqual(
    Object.fromEntries([...allowed.map((url) => [url, 202]), ...refused.map((url) => [url, 400])]),
  );
});

/** Refused whatever the list says: two programs may read them differently. */
const CUNNING = [
  'https://user@app.example.com/',
  'https://user:password@app.example.com/',
  'https://app.example.com@evil.example/',
  'https://app.example.com:443@evil.example/',
  'https://app.example.com%40evil.example/',
  'https:\\\\app.example.com/',
  'https://evil.example\\@app.example.com/',
  'https://evil.example\\.app.example.com/',
  'https://app.example.com\\@evil.example/',
  'https://app.example.com/\\evil.example',
  'https://app.example.com/#fragment',
  'https://app.example.com/#',
  'https://evil.example#app.example.com/',
  'https://evil.example#@app.example.com/',
  '//app.example.com/',
  '/callback',
  'callback',
  'https:app.example.com',
  'myapp:callback',
  'https:/app.example.com',
  'https:///app.example.com',
  'https://',
  'https:// app.example.com/',
  ' https://app.example.com/',
  'https://app.example.com/ ',
  'https://app.example.com/\r\nSet-Cookie: a=b',
  'https://app.example.com/\n',
  'https://app.example.com/\t',
  'ht\ntps://app.example.com/',
  'https://app.example.com/\0',
  'https://app.example.com/%00',
  'https://app.example.com/%0d%0aSet-Cookie:a=b',
  'https://app.example.com//evil.example',
  'https://app.example.com/a//b',
  'https://app.example.com/../admin',
  'https://app.example.com/auth/../admin',
  'https://app.example.com/auth/./x',
  'https://app.example.com/auth/%2e%2e/admin',
  'https://app.example.com/auth/%2E%2E/admin',
  'https://app.example.com/auth/.%2e/admin',
  'https://app.example.com/auth/..%2fadmin',
  'https://app.example.com/auth%2f..%2fadmin',
  'https://app.example.com/auth%5cadmin',
  'https://аpp.example.com/',
  'https://app.еxample.com/',
  'https://app。example。com/',
  'https://app.example。com/',
  'https://ａｐｐ.example.com/',
  'https://app%2eexample%2ecom/',
  'https://app.example.com%2f@evil.example/',
  'https://app.example.com:/',
  'https://app.example.com:0/',
  'https://app.example.com:99999/',
  'https://app.example.com:80x/',
  'https://app.example.com:443:8443/',
  'http://2130706433/',
  'http://0x7f000001/',
  'http://0177.0.0.1/',
  'http://127.1/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::1',
  'https://*.example.com/',
  'https://app.example.com,evil.example/',
  'javascript:alert(1)',
  'javascript://app.example.com/%0aalert(1)',
  'JaVaScRiPt://app.example.com/x',
  'vbscript:/x',
  'data:text/html,x',
  'blob:https://app.example.com/x',
  'file://app.example.com/x',
  'about:blank',
  `https://app.example.com/${'x'.repeat(2048)}`,
  '',
];

test('what is written so that it could be misread is refused under any list', async () => {
  for (const list of [[], ['https://*/*', 'http://*:*/*'], ['https://app.example.com/*']]) {
    const app = await startApp({ API_BASE_URL: LOCAL });
    if (list.length > 0) await configure(app, { allowedRedirectUrls: list });
    const accepted: string[] = [];
    for (const redirectTo of CUNNING) {
      const body = { email: ADA.email, redirectTo, code_challenge: 'x'.repeat(43) };
      const { status } = await app.as('nobody').post(PATH, body);
      if (status !== 400) accepted.push(redirectTo);
    }
    expect(accepted).toEqual([]);
    expect(await mailsTo(app, ADA.email)).toEqual([]);
  }
});

test('a refusal shows the address, the list, and the command that adds it', async () => {
  const app = await startApp({ API_BASE_URL: OWN });
  await configure(app, { allowedRedirectUrls: ["https://o'hara.example.com/*"] });
  const { body, status } = await app
    .as('nobody')
    .post('/api/auth/email/send-reset-password', { email: ADA.email, redirectTo: 'https://evil.example/reset?a=b' });
  expect({ status, body }).toEqual({
    status: 400,
    body: {
      error: 'INVALID_INPUT',
      message: 'redirectTo: https://evil.example/reset?a=b is not on the list of allowed addresses',
      statusCode: 400,
      url: 'https://evil.example/reset?a=b',
      allowedRedirectUrls: ["https://o'hara.example.com/*"],
      nextActions: `An admin can allow it: curl -X PUT '${OWN}/api/auth/config' -H "x-api-key: $ACCESS_API_KEY" -H 'content-type: application/json' -d '{"allowedRedirectUrls":["https://o'\\''hara.example.com/*","https://evil.example/reset"]}'`,
    },
  });
});

test('with a public address, localhost is refused until the command of the refusal was run', async () => {
  const app = await startApp({ API_BASE_URL: OWN });
  const ask = () =>
    app.as('nobody').post('/api/auth/email/send-reset-password', { email: ADA.email, redirectTo: LOCAL });
  const { body, status } = await ask();
  expect({ status, body }).toMatchObject({ status: 400, body: { url: `${LOCAL}/`, allowedRedirectUrls: [] } });
  const [, list = ''] = /-d '(.*)'$/.exec(body.nextActions) ?? [];
  expect(JSON.parse(list)).toEqual({ allowedRedirectUrls: [`${LOCAL}/`] });
  expect((await configure(app, JSON.parse(list))).status).toBe(200);
  expect((await ask()).status).toBe(202);
});

test('the own pages are known by their address, however the configuration spells it', async () => {
  const app = await startApp({ API_BASE_URL: 'HTTPS://API.example.com:443/base/' });
  await configure(app, { allowedRedirectUrls: ['https://app.example.com/*'] });
  const ask = (redirectTo: string) =>
    app.as('nobody').post('/api/auth/email/send-reset-password', { email: ADA.email, redirectTo });
  expect((await ask('https://api.example.com/base/auth/reset')).status).toBe(202);
  expect((await ask('https://api.example.com.evil.example/base/auth/reset')).status).toBe(400);
});

test('with a long list, it says how to add to it', async () => {
  const app = await startApp({ API_BASE_URL: OWN });
  await configure(app, { allowedRedirectUrls: Array.from({ length: 50 }, (_, n) => `https://app${n}.example.com/*`) });
  const { body } = await app
    .as('nobody')
    .post('/api/auth/email/send-reset-password', { email: ADA.email, redirectTo: 'https://evil.example/' });
  expect(body.nextActions).toMatch(/^An admin can add https:\/\/evil\.example\/ to allowedRedirectUrls/);
});

test.each(['send-verification', 'send-reset-password'])(
  '%s checks it too, for known and unknown alike',
  async (what) => {
    const app = await startApp();
    await configure(app, { allowedRedirectUrls: ['https://app.example.com/*'] });
    const reply = await app
      .as('nobody')
      .post(`/api/auth/email/${what}`, { email: ADA.email, redirectTo: 'https://evil.example/' });
    expect(reply.status).toBe(400);
    expect(await app.sql('select from auth.email_otps')).toEqual([]);
  },
);

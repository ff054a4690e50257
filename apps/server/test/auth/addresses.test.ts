import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { ADA, ask, endCooldown } from './email-client.ts';

const STORED = 'Ada.Lovelace+Work@Example.com';

async function startWithAccount(email = STORED, isVerified: boolean | null = false) {
  const app = await startApp();
  await app.sql('insert into auth.users (email, email_verified) values ($1, $2)', [email, isVerified]);
  return app;
}

/** Whom mails went to so far. */
async function receivers({ as }: TestApp): Promise<string[]> {
  const { body } = await as('admin').get('/api/email/outbox?limit=100');
  return body.data.flatMap(({ to }: { to: string[] }) => to);
}

test.each([
  ['as it is', STORED],
  ['in small letters', STORED.toLowerCase()],
  ['in capitals', STORED.toUpperCase()],
  ['between spaces', ` \t${STORED}\n`],
  ['with a letter that Unicode makes a k of', STORED.replace('k', '\u212a')],
])('an address is found %s, and the mail goes to it as its account spells it', async (_what, asked) => {
  const app = await startWithAccount();
  for (const what of ['send-reset-password', 'send-verification', 'send-otp']) {
    expect((await ask(app, what, { email: asked })).status, what).toBe(202);
  }
  expect(await receivers(app)).toEqual([STORED, STORED, STORED]);
});

test.each([
  ['without its tag', 'ada.lovelace@example.com'],
  ['with another tag', 'ada.lovelace+home@example.com'],
  ['without its dot', 'adalovelace+work@example.com'],
  ['with a dot behind it', `${STORED}.`],
  ['at a host below', 'ada.lovelace+work@mail.example.com'],
  ['with more in front', `x${STORED}`],
  ['with a letter of another script that looks the same', STORED.replace('A', '\u0430')],
  ['with a sign that nobody sees', STORED.replace('Ada', 'Ad\u200da')],
  ['in fullwidth letters', STORED.replace('Ada', '\uff21\uff24\uff21')],
  ['with wildcards of LIKE', 'ada_lovelace%@example.com'],
  ['with nothing but wildcards', '%@%'],
])('an address is another one %s: its account gets no mail, and the answer is the same', async (_what, asked) => {
  const app = await startWithAccount();
  const known = await ask(app, 'send-reset-password', { email: STORED });
  const unknown = await ask(app, 'send-reset-password', { email: asked });
  expect([unknown.status, unknown.text]).toEqual([202, known.text]);
  await ask(app, 'send-verification', { email: asked });
  expect(await receivers(app)).toEqual([STORED]);
});

test.each([
  ['capitals with an accent', 'J\u00dcRGEN@example.com', 'j\u00fcrgen@example.com', true],
  ['an accent composed in another way', 'j\u00fcrgen@example.com', 'ju\u0308rgen@example.com', false],
  ['an ess-zett', 'stra\u00dfe@example.com', 'strasse@example.com', false],
  ['a dotless i', 'd\u0131d@example.com', 'did@example.com', false],
])('of an imported address with %s, %s, the spelling %s is the same: %s', async (_what, stored, asked, isSame) => {
  const app = await startWithAccount(stored);
  await ask(app, 'send-reset-password', { email: asked });
  expect(await receivers(app)).toEqual(isSame ? [stored] : []);
});

test('of several imported spellings, the oldest account gets the mail', async () => {
  const app = await startApp();
  await app.sql(`
    insert into auth.users (email, created_at) values
      ('ada@example.com', '2024-02-01'), ('ADA@example.com', '2024-01-01'), ('Ada@Example.com', '2024-03-01')`);
  await ask(app, 'send-reset-password', { email: ADA.email });
  expect(await receivers(app)).toEqual(['ADA@example.com']);
});

test.each([
  { isVerified: true, gets: [] },
  { isVerified: false, gets: [STORED] },
  // As imports leave it.
  { isVerified: null, gets: [STORED] },
])('an address that is verified: $isVerified gets the mails $gets for verification', async ({ isVerified, gets }) => {
  const app = await startWithAccount(STORED, isVerified);
  await ask(app, 'send-verification', { email: STORED });
  expect(await receivers(app)).toEqual(gets);
});

test('a new address of a user is taken where somebody has it in another spelling', async () => {
  const app = await startWithAccount();
  const { body } = await app.as('anon').post('/api/auth/users?client_type=mobile', ADA);
  const headers = { authorization: `Bearer ${body.accessToken}` };
  const change = async (newEmail: string) => {
    await endCooldown(app);
    const reply = await app
      .as('nobody')
      .put('/api/auth/users/current/email', { newEmail, currentPassword: ADA.password }, headers);
    return [reply.status, await receivers(app)];
  };
  expect(await change(STORED.toUpperCase())).toEqual([202, []]);
  expect(await change('ada.lovelace@example.com')).toEqual([202, ['ada.lovelace@example.com']]);
});

import { scryptSync } from 'node:crypto';
import { hash as argon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';
import { ALICE, signUp } from './client.ts';

const IMPORT = '/api/auth/users/import';
const SIGN_IN = '/api/auth/sessions?client_type=mobile';

const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
const scrypt = (password: string, ln = 14, length = 32) => {
  const salt = Buffer.from('a salt of 16 byt');
  const hash = scryptSync(password, salt, length, { N: 2 ** ln, r: 8, p: 1, maxmem: 2 ** 28 });
  return `$scrypt$ln=${ln},r=8,p=1$${base64(salt)}$${base64(hash)}`;
};

/** `password` under salt `NaCl`-like values of https://www.rfc-editor.org/rfc/rfc7914#section-12. */
const RFC_7914 = {
  password: 'pleaseletmein',
  // scrypt (P="pleaseletmein", S="SodiumChloride", N=16384, r=8, p=1, dkLen=64)
  hash: `$scrypt$ln=14,r=8,p=1$${base64(Buffer.from('SodiumChloride'))}$${base64(
    Buffer.from(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
      'hex',
    ),
  )}`,
};

test.each([
  { scheme: 'bcrypt', password: ALICE.password, hash: () => bcrypt(ALICE.password, { cost: 4 }) },
  {
    scheme: 'argon2id with other parameters',
    password: ALICE.password,
    hash: () => argon2(ALICE.password, { memoryCost: 8192, timeCost: 1 }),
  },
  { scheme: 'scrypt', password: ALICE.password, hash: async () => scrypt(ALICE.password) },
  { scheme: 'scrypt, as RFC 7914 has it', password: RFC_7914.password, hash: async () => RFC_7914.hash },
])('a user with a hash of $scheme signs in with their old password', async ({ password, hash }) => {
  const app = await startApp();
  const passwordHash = await hash();
  const reply = await app.as('admin').post(IMPORT, { users: [{ email: ALICE.email, passwordHash }] });
  expect(reply.body).toMatchObject({ created: 1, rows: [{ row: 0, outcome: 'created' }] });
  expect(reply.text).not.toContain(passwordHash);
  const { post } = app.as('nobody');
  expect((await post(SIGN_IN, { email: ALICE.email, password: 'wrong password' })).status).toBe(401);
  expect((await post(SIGN_IN, { email: ALICE.email, password })).status).toBe(200);
  const [{ stored } = { stored: '' }] = await app.sql<{ stored: string }>('select password as stored from auth.users');
  expect(stored).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect((await post(SIGN_IN, { email: ALICE.email, password })).status, 'hashed anew').toBe(200);
});

const MIXED = [
  {
    id: '11111111-2222-4333-8444-555555555555',
    email: 'Carol@Example.com',
    emailVerified: true,
    name: 'Carol',
    profile: { city: 'Rome' },
    metadata: { from: 'elsewhere' },
    createdAt: '2020-02-03T04:05:06Z',
    providers: [{ provider: 'github', providerAccountId: '42' }],
  },
  { email: 'ALICE@example.com' },
  { email: 'carol@example.com' },
  { email: 'other@example.com', providers: [{ provider: 'github', providerAccountId: '42' }] },
  { email: 'md5@example.com', passwordHash: '5f4dcc3b5aa765d61d8327deb882cf99' },
  { email: 'costly@example.com', passwordHash: scrypt('x').replace('ln=14', 'ln=30') },
  { email: 'not an address' },
  { email: 'typo@example.com', verified: true },
  'no object',
];

const OUTCOMES = ['created', 'exists', 'exists', 'exists', 'invalid', 'invalid', 'invalid', 'invalid', 'invalid'];

test('each row is reported; what is right is taken as it was', async () => {
  const app = await startApp();
  await signUp(app);
  const reply = await app.as('admin').post(IMPORT, { users: MIXED });
  expect(reply.status).toBe(200);
  expect(reply.body).toMatchObject({ dryRun: false, created: 1, exists: 3, invalid: 5 });
  expect(reply.body.rows.map(({ outcome }: { outcome: string }) => outcome)).toEqual(OUTCOMES);
  expect(reply.body.rows[4]).toMatchObject({ email: 'md5@example.com', message: expect.stringContaining('bcrypt') });
  expect(reply.body.rows[7].message).toContain('verified');
  const carol = await app.as('admin').get('/api/auth/users/11111111-2222-4333-8444-555555555555');
  expect(carol.body).toMatchObject({
    email: 'carol@example.com',
    emailVerified: true,
    providers: ['github'],
    createdAt: '2020-02-03T04:05:06.000Z',
    profile: { name: 'Carol', city: 'Rome' },
    metadata: { from: 'elsewhere' },
  });
  expect(await app.sql('select action, details from system.audit_logs')).toEqual([
    { action: 'IMPORT_USERS', details: { dryRun: false, created: 1, exists: 3, invalid: 5 } },
  ]);
});

const argon2Hash = (parameters: string, salt = 'c29tZXNhbHQ') => `$argon2id$${parameters}$${salt}$${'A'.repeat(43)}`;

test.each([
  { what: 'of an unknown version', passwordHash: argon2Hash('v=99$m=8,t=1,p=1') },
  { what: 'without passes', passwordHash: argon2Hash('v=19$m=8,t=0,p=1') },
  { what: 'without lanes', passwordHash: argon2Hash('v=19$m=8,t=1,p=0') },
  { what: 'with more lanes than memory', passwordHash: argon2Hash('v=19$m=8,t=1,p=50') },
  { what: 'that takes a gigabyte', passwordHash: argon2Hash('v=19$m=999999,t=1,p=1') },
  { what: 'that takes minutes', passwordHash: argon2Hash('v=19$m=262144,t=99,p=1') },
  { what: 'of bcrypt with a letter that it does not have', passwordHash: `$2b$04$${'_'.repeat(53)}` },
])('a hash $what is not taken', async ({ passwordHash }) => {
  const app = await startApp();
  const { body } = await app.as('admin').post(IMPORT, { users: [{ email: ALICE.email, passwordHash }] });
  expect(body).toMatchObject({ created: 0, invalid: 1, rows: [{ message: expect.stringMatching(/^passwordHash: /) }] });
});

test.each([
  argon2Hash('v=19$m=8,t=1,p=1', 'A'.repeat(13)),
  argon2Hash('v=19$m=19456,t=2,p=1', `${'A'.repeat(21)}B`),
  argon2Hash('v=99$m=8,t=1,p=1'),
])('a hash that nobody can check is a wrong password, and not a failure: %s', async (passwordHash) => {
  const app = await startApp();
  await app.sql('insert into auth.users (email, password) values ($1, $2)', [ALICE.email, passwordHash]);
  expect((await app.as('nobody').post(SIGN_IN, ALICE)).status).toBe(401);
});

const BETWEEN = (bad: object) => [
  { email: 'first@example.com' },
  { email: 'bad@example.com', ...bad },
  { email: 'last@example.com' },
];

test.each([
  { what: 'a name with a character that PostgreSQL cannot store', bad: { name: 'a\0b' } },
  { what: 'metadata with half a character', bad: { metadata: { note: '\ud800' } } },
  { what: 'a date that PostgreSQL does not know', bad: { createdAt: '0000-01-01T00:00:00Z' } },
  { what: 'a value that a trigger of the admin refuses', bad: { name: 'unwanted' } },
])('$what is the fault of its row, and the others are taken', async ({ bad }) => {
  const app = await startApp();
  await app.sql(`
    create function public.refuse() returns trigger language plpgsql as $$ begin
      if new.profile ->> 'name' = 'unwanted' then raise 'not wanted here'; end if; return new; end $$;
    create trigger refuse before insert on auth.users for each row execute function public.refuse()`);
  for (const dryRun of [true, false]) {
    const reply = await app.as('admin').post(IMPORT, { users: BETWEEN(bad), dryRun });
    expect(reply).toMatchObject({ status: 200, body: { created: 2, invalid: 1 } });
    expect(reply.body.rows[1]).toEqual({
      row: 1,
      email: 'bad@example.com',
      outcome: 'invalid',
      message: expect.stringMatching(/./),
    });
  }
  const emails = await app.sql<{ email: string }>('select email from auth.users order by email');
  expect(emails.map(({ email }) => email)).toEqual(['first@example.com', 'last@example.com']);
});

test('where the database itself fails, nothing is taken', async () => {
  const app = await startApp();
  await app.sql(`
    create function public.fail() returns trigger language plpgsql as $$ begin
      if new.email = 'bad@example.com' then raise 'broken' using errcode = 'XX000'; end if; return new; end $$;
    create trigger fail before insert on auth.users for each row execute function public.fail()`);
  expect((await app.as('admin').post(IMPORT, { users: BETWEEN({}) })).status).toBe(500);
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test('a dry run reports the same and changes nothing', async () => {
  const app = await startApp();
  await signUp(app);
  const reply = await app.as('admin').post(IMPORT, { users: MIXED, dryRun: true });
  expect(reply.body).toMatchObject({ dryRun: true, created: 1, exists: 3, invalid: 5 });
  expect(reply.body.rows.map(({ outcome }: { outcome: string }) => outcome)).toEqual(OUTCOMES);
  expect(reply.body.rows[0].id).toBeUndefined();
  expect(await app.sql('select email from auth.users')).toEqual([{ email: ALICE.email }]);
  expect((await app.as('admin').post(IMPORT, { users: MIXED })).body).toMatchObject({ created: 1 });
});

test.each([
  { what: 'no users', body: { users: [] } },
  { what: 'too many', body: { users: Array.from({ length: 1001 }, () => ({})) } },
  { what: 'a misspelt switch', body: { users: [{ email: 'a@b.c' }], dryrun: true } },
])('refused as import: $what', async ({ body }) => {
  const app = await startApp();
  expect(await app.as('admin').post(IMPORT, body)).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  expect(await app.sql('select from auth.users')).toEqual([]);
});

import * as argon2 from '@node-rs/argon2';
import { beforeEach, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { ADA, configure, register } from './email-client.ts';

// The library works as it does; what it is asked to do is written down.
vi.mock('@node-rs/argon2', { spy: true });
beforeEach(() => {
  vi.clearAllMocks();
});

/** The hashes that were checked, each with how much work that is, and those that were made. */
const hashes = () => ({
  checked: vi.mocked(argon2.verify).mock.calls.map(([hash]) => String(hash).split('$').slice(0, 4).join('$')),
  made: vi.mocked(argon2.hash).mock.calls.map(([, options]) => options),
});

const TODAY = '$argon2id$v=19$m=19456,t=2,p=1';

const signIn = ({ as }: TestApp, email: string) =>
  as('nobody').post('/api/auth/sessions', { email, password: 'incorrect horse' });

test.each([
  { what: 'a user', email: ADA.email },
  { what: 'nobody', email: 'nobody@example.com' },
  { what: 'a user without a password', email: 'provider@example.com' },
  { what: 'a user whose password nobody can check', email: 'broken@example.com' },
])('a wrong password costs one hash, of today’s strength, for the address of $what', async ({ email }) => {
  const app = await startApp();
  await register(app);
  await app.sql(`insert into auth.users (email, password) values
    ('provider@example.com', null), ('broken@example.com', 'plain text')`);
  vi.clearAllMocks();
  expect((await signIn(app, email)).status).toBe(401);
  expect(hashes()).toEqual({ checked: [TODAY], made: [] });
});

test('a user who must verify the address first is told so for the right password only, after the same hash', async () => {
  const app = await startApp();
  await register(app);
  await configure(app, { requireEmailVerification: true });
  vi.clearAllMocks();
  expect((await signIn(app, ADA.email)).status).toBe(401);
  expect(hashes()).toEqual({ checked: [TODAY], made: [] });
  expect((await app.as('nobody').post('/api/auth/sessions', ADA)).status).toBe(403);
  expect(hashes()).toEqual({ checked: [TODAY, TODAY], made: [] });
});

test.each([
  { what: 'a taken', email: ADA.email, status: 409 },
  { what: 'a free', email: 'new@example.com', status: 200 },
])('signing up with $what address costs one hash', async ({ email, status }) => {
  const app = await startApp();
  await register(app);
  await configure(app, { requireEmailVerification: true });
  vi.clearAllMocks();
  expect((await register(app, { ...ADA, email })).status).toBe(status);
  expect(hashes()).toEqual({ checked: [], made: [expect.objectContaining({ memoryCost: 19_456, timeCost: 2 })] });
});

import { createAdminClient, createClient } from '@insforge/sdk';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { ALICE, BOB } from './client.ts';

const anonKey = SECRETS.ACCESS_ANON_KEY;

test('the SDK on a server signs up, refreshes, reads the user and signs out for good', async () => {
  const baseUrl = await (await startApp()).listen();
  const { auth } = createClient({ baseUrl, anonKey, isServerMode: true });
  const signedUp = await auth.signUp({ ...ALICE, name: 'Alice' });
  expect(signedUp).toMatchObject({
    error: null,
    data: { accessToken: expect.any(String), refreshToken: expect.any(String) },
  });

  const refreshed = await auth.refreshSession({ refreshToken: String(signedUp.data?.refreshToken) });
  expect(refreshed).toMatchObject({ error: null, data: { user: { profile: { name: 'Alice' } } } });
  const { accessToken, refreshToken } = refreshed.data as { accessToken: string; refreshToken: string };

  // On a server this is how a client is made for each request.
  const { auth: own } = createClient({ baseUrl, anonKey, isServerMode: true, accessToken });
  expect(await own.getCurrentUser()).toMatchObject({ error: null, data: { user: { email: ALICE.email } } });
  expect((await own.setProfile({ theme: 'dark' })).data?.profile).toEqual({ name: 'Alice', theme: 'dark' });
  expect((await own.getProfile(String(signedUp.data?.user?.id))).data?.profile).toEqual({
    name: 'Alice',
    theme: 'dark',
  });

  expect((await auth.signOut()).error).toBeNull();
  const over = await auth.refreshSession({ refreshToken });
  expect(over.error).toMatchObject({ statusCode: 401, error: 'AUTH_UNAUTHORIZED', nextActions: expect.any(String) });
});

test('the SDK understands the refusals', async () => {
  const baseUrl = await (await startApp()).listen();
  const { auth } = createClient({ baseUrl, anonKey });
  await auth.signUp(ALICE);
  expect((await auth.signUp(ALICE)).error).toMatchObject({ statusCode: 409, error: 'AUTH_EMAIL_EXISTS' });
  const wrong = await auth.signInWithPassword({ ...ALICE, password: 'wrong' });
  expect(wrong.error).toMatchObject({ statusCode: 401, error: 'AUTH_UNAUTHORIZED' });
  const weak = await auth.signUp({ ...BOB, password: 'weak' });
  expect(weak.error).toMatchObject({ statusCode: 400, error: 'INVALID_INPUT', nextActions: expect.any(String) });
  expect((await auth.getPublicAuthConfig()).data).toMatchObject({ passwordMinLength: 6, oAuthProviders: [] });
});

test('the admin client of the SDK makes users who are verified', async () => {
  const baseUrl = await (await startApp()).listen();
  const { auth } = createAdminClient({ baseUrl, apiKey: SECRETS.ACCESS_API_KEY });
  expect(await auth.signUp({ ...BOB, autoConfirm: true })).toMatchObject({
    error: null,
    data: { accessToken: null, user: { emailVerified: true } },
  });
});

test('the SDK hears of the sessions of its app', async () => {
  const baseUrl = await (await startApp()).listen();
  const { auth } = createClient({ baseUrl, anonKey });
  const events: string[] = [];
  const stop = auth.onAuthStateChange((event) => events.push(event));
  expect((await auth.signInWithPassword(ALICE)).error).toMatchObject({ statusCode: 401 });
  expect(events).toEqual([]);
  await auth.signUp(ALICE);
  expect((await auth.getCurrentUser()).data.user).toMatchObject({ email: ALICE.email, profile: {} });
  expect((await auth.setProfile({ name: 'Alice' })).error).toBeNull();
  expect((await auth.getCurrentUser()).data.user?.profile).toEqual({ name: 'Alice' });
  await auth.signOut();
  stop();
  await auth.signInWithPassword(ALICE);
  expect(events).toEqual(['signedIn', 'signedOut']);
});

test('the SDK is told that there is no such profile, and whose one cannot change', async () => {
  const baseUrl = await (await startApp()).listen();
  const { auth } = createClient({ baseUrl, anonKey });
  expect((await auth.getProfile(crypto.randomUUID())).error).toMatchObject({ statusCode: 404 });
  expect((await auth.getProfile('nobody')).error).toMatchObject({ statusCode: 400, error: 'INVALID_INPUT' });
  expect((await auth.setProfile({ name: 'X' })).error).toMatchObject({ statusCode: 401 });
  const { auth: gone } = createClient({ baseUrl, anonKey, isServerMode: true, accessToken: 'nonsense' });
  expect(await gone.getCurrentUser()).toMatchObject({ data: { user: null }, error: { error: 'AUTH_UNAUTHORIZED' } });
});

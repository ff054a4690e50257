import type { InsForgeClient } from '@insforge/sdk';
import { createAdminClient, createClient } from '@insforge/sdk';
import { SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { startServer } from '../start/process.ts';
import { hasBrowser, openApp } from './browser.ts';

declare global {
  /** The client inside the page of `openApp`. */
  var insforge: InsForgeClient;
}

const JWT_SECRET = 'only-for-this-test-0123456789abcdefghij';
const PASSWORD = 'correct horse battery';

const MIGRATION = `
  create table todos (
    id bigint generated always as identity primary key,
    owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
    slug text unique,
    title text not null,
    priority int not null default 0,
    done boolean not null default false
  );
  create index on todos (owner);
  create policy own_todos on todos to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
  create function open_todos(at_least int default 0) returns bigint language sql stable as $$
    select count(*) from todos where not done and priority >= at_least
  $$;`;

/** A server as its user starts it, with the application's table made through the API key. */
async function startTodoBackend() {
  const server = await startServer({ JWT_SECRET });
  await server.ready();
  const keys = await server.credentials();
  const baseUrl = server.url.replace('127.0.0.1', 'localhost');
  const anonKey = keys.ACCESS_ANON_KEY ?? '';
  const reply = await fetch(`${baseUrl}/api/database/migrations`, {
    method: 'POST',
    headers: { 'x-api-key': keys.ACCESS_API_KEY ?? '', 'content-type': 'application/json' },
    body: JSON.stringify({ version: '0001', name: 'create-todos', sql: MIGRATION }),
  });
  expect(await reply.json()).toMatchObject({ version: '1', name: 'create-todos' });
  return { baseUrl, anonKey, apiKey: keys.ACCESS_API_KEY ?? '' };
}

/** A signed-in user in a program without cookies, as a server or a mobile app is. */
async function signUp({ baseUrl, anonKey }: { baseUrl: string; anonKey: string }, name: string) {
  const client = createClient({ baseUrl, anonKey, isServerMode: true });
  const { data, error } = await client.auth.signUp({ email: `${name}@example.com`, password: PASSWORD, name });
  expect(error).toBeNull();
  return { client, session: data };
}

test('two users of a to-do application each see and change only their own rows', async () => {
  const backend = await startTodoBackend();
  const [ada, bob] = await Promise.all([signUp(backend, 'ada'), signUp(backend, 'bob')]);
  const todos = (who: typeof ada) => who.client.database.from('todos');

  // insert with select, of one and of many
  const one = await todos(ada).insert({ title: 'first', priority: 1 }).select().single();
  expect(one.error).toBeNull();
  expect(one.data).toMatchObject({ title: 'first', owner: ada.session?.user?.id, done: false });
  const many = await todos(ada)
    .insert([
      { title: 'second', priority: 2 },
      { title: 'third', priority: 3 },
    ])
    .select('title');
  expect(many.data).toEqual([{ title: 'second' }, { title: 'third' }]);
  await todos(bob).insert({ title: 'of bob' });

  // order, range, count
  const page = await todos(ada).select('title', { count: 'exact' }).order('priority', { ascending: false }).range(0, 1);
  expect(page).toMatchObject({ count: 3, status: 206, data: [{ title: 'third' }, { title: 'second' }] });
  expect(await todos(bob).select('title', { count: 'exact', head: true })).toMatchObject({ count: 1, data: null });

  // update and delete reach own rows only
  const stolen = await todos(bob).update({ title: 'taken' }).eq('id', one.data?.id).select();
  expect(stolen).toMatchObject({ error: null, data: [] });
  expect((await todos(bob).delete().eq('id', one.data?.id).select()).data).toEqual([]);
  expect((await todos(bob).insert({ title: 'forged', owner: ada.session?.user?.id })).error?.code).toBe('42501');
  const done = await todos(ada).update({ done: true }).eq('title', 'first').select('done').single();
  expect(done.data).toEqual({ done: true });
  expect((await todos(ada).delete().eq('title', 'third').select('title')).data).toEqual([{ title: 'third' }]);

  // upsert
  const fresh = await todos(ada)
    .upsert({ slug: 'milk', title: 'buy milk' }, { onConflict: 'slug' })
    .select('title')
    .single();
  expect(fresh).toMatchObject({ error: null, data: { title: 'buy milk' } });
  const again = await todos(ada)
    .upsert({ slug: 'milk', title: 'buy oat milk' }, { onConflict: 'slug' })
    .select('title');
  expect(again.data).toEqual([{ title: 'buy oat milk' }]);

  // single and maybeSingle
  expect((await todos(ada).select().eq('title', 'nothing').maybeSingle()).data).toBeNull();
  expect((await todos(ada).select().eq('title', 'nothing').single()).error?.code).toBe('PGRST116');

  // rpc, by POST and by GET
  expect((await ada.client.database.rpc('open_todos', { at_least: 0 })).data).toBe(2);
  expect((await bob.client.database.rpc('open_todos', {}, { get: true })).data).toBe(1);
});

test('a client without a user sees none, an admin client sees all', async () => {
  const backend = await startTodoBackend();
  const { client } = await signUp(backend, 'ada');
  await client.database.from('todos').insert({ title: 'private' });

  const anon = createClient({ baseUrl: backend.baseUrl, anonKey: backend.anonKey });
  expect(await anon.database.from('todos').select()).toMatchObject({ error: null, data: [] });
  expect((await anon.database.from('todos').insert({ title: 'x' })).error?.code).toBe('42501');
  expect((await anon.database.rpc('open_todos')).data).toBe(0);

  const admin = createAdminClient({ baseUrl: backend.baseUrl, apiKey: backend.apiKey });
  expect((await admin.database.from('todos').select('title')).data).toEqual([{ title: 'private' }]);
});

test('without cookies the refresh token travels in the body, rotates, and dies at sign-out', async () => {
  const backend = await startTodoBackend();
  const { client, session } = await signUp(backend, 'ada');
  const first = session?.refreshToken ?? '';
  const refreshed = await client.auth.refreshSession({ refreshToken: first });
  expect(refreshed.error).toBeNull();
  const second = refreshed.data?.refreshToken ?? '';
  expect(second).not.toBe(first);
  const signedIn = createClient({ baseUrl: backend.baseUrl, accessToken: refreshed.data?.accessToken ?? '' });
  expect((await signedIn.auth.getCurrentUser()).data.user?.email).toBe('ada@example.com');

  await signedIn.auth.signOut();
  expect((await client.auth.refreshSession({ refreshToken: second })).error?.statusCode).toBe(401);
});

test.runIf(hasBrowser)('in a browser an expired token is refreshed silently, and signing out ends it', async () => {
  const { baseUrl, anonKey } = await startTodoBackend();
  const page = await openApp({ baseUrl, anonKey });

  const userId = await page.evaluate(async (password) => {
    const { data, error } = await globalThis.insforge.auth.signUp({ email: 'ada@example.com', password, name: 'Ada' });
    if (error) throw error;
    const inserted = await globalThis.insforge.database.from('todos').insert({ title: 'from a browser' });
    if (inserted.error) throw new Error(inserted.error.message);
    return data?.user?.id ?? '';
  }, PASSWORD);

  const expired = await new SignJWT({ sub: userId, role: 'authenticated' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('-1 minute')
    .sign(new TextEncoder().encode(JWT_SECRET));
  const requests: string[] = [];
  page.on('response', (response) => requests.push(`${response.status()} ${new URL(response.url()).pathname}`));
  const afterExpiry = await page.evaluate(async (token) => {
    globalThis.insforge.setAccessToken(token);
    const reads = await Promise.all([1, 2, 3].map(() => globalThis.insforge.database.from('todos').select('title')));
    return reads.map(({ data }) => data);
  }, expired);
  expect(afterExpiry).toEqual(Array(3).fill([{ title: 'from a browser' }]));
  expect(requests.filter((line) => line === '200 /api/auth/refresh')).toHaveLength(1);

  // A reloaded page has nothing in memory: the cookie alone brings the session back.
  const cookies = await page.context().cookies();
  expect(cookies.find(({ name }) => name === 'insforge_refresh_token')).toMatchObject({ httpOnly: true, secure: true });

  const afterSignOut = await page.evaluate(async () => {
    await globalThis.insforge.auth.signOut();
    const { data } = await globalThis.insforge.database.from('todos').select('title');
    const { error } = await globalThis.insforge.auth.refreshSession();
    return { data, refused: error?.statusCode };
  });
  expect(afterSignOut).toEqual({ data: [], refused: 401 });
});

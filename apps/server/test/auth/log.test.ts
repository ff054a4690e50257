import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { createLog } from '../../src/platform/log.ts';
import { SECRETS, startApp } from '../harness.ts';
import { ADMIN_COOKIE, ALICE, bearer, browserOf, cookiesOf, headersOf, USER_COOKIE } from './client.ts';

test('no password, token, key or address gets into the log, whatever fails', async () => {
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += chunk;
      done();
    },
  });
  const { as, sql } = await startApp({}, { log: createLog('info', stream) });
  const post = as('nobody').post;
  const secrets = new Set<string>([ALICE.password, ALICE.email, 'wrong-password', ...Object.values(SECRETS)]);

  const signedUp = await as('anon').post('/api/auth/users', ALICE);
  const mobile = await post('/api/auth/sessions?client_type=mobile', ALICE);
  const admin = await post('/api/auth/admin/sessions', { username: 'admin', password: SECRETS.ROOT_ADMIN_PASSWORD });
  const rotated = await as('admin').post('/api/secrets/anon-key/rotate');
  for (const { body } of [signedUp, mobile, admin, rotated]) {
    for (const field of ['accessToken', 'refreshToken', 'csrfToken', 'anonKey'])
      if (body[field]) secrets.add(body[field]);
  }
  secrets.add(cookiesOf(signedUp)[USER_COOKIE]?.value ?? '').add(cookiesOf(admin)[ADMIN_COOKIE]?.value ?? '');
  const [user] = await sql<{ password: string }>('select password from auth.users');
  secrets.add(String(user?.password)).delete('');

  const everything = async (newcomer: string) => [
    await as('anon').post('/api/auth/users', { ...ALICE, email: newcomer }),
    await post('/api/auth/sessions', ALICE),
    await post('/api/auth/sessions', { ...ALICE, password: 'wrong-password' }),
    await post('/api/auth/refresh', undefined, headersOf(browserOf(signedUp))),
    await post('/api/auth/refresh?client_type=mobile', { refreshToken: mobile.body.refreshToken }),
    await post(`/api/auth/sessions?password=wrong-password`, undefined, bearer(mobile.body.accessToken)),
    await as('nobody').get('/api/auth/sessions/current', bearer(`${mobile.body.accessToken}x`)),
    await as('nobody').get(`/api/auth/users?search=${ALICE.email}`, { 'x-api-key': SECRETS.ACCESS_API_KEY }),
    await post('/api/auth/admin/refresh', undefined, headersOf(browserOf(admin, ADMIN_COOKIE))),
    await post('/api/auth/logout', undefined, headersOf(browserOf(signedUp))),
  ];
  await everything('second@example.com');

  await sql(`
    create function public.fail() returns trigger language plpgsql as $$ begin
      raise exception 'broken' using errcode = 'XX000', detail = 'Failing row contains ' || new::text; end $$;
    create trigger fail before insert or update or delete on auth.sessions for each row execute function public.fail();
    create trigger fail before insert or update or delete on auth.users for each row execute function public.fail()`);
  const statuses = (await everything('third@example.com')).map(({ status }) => status);

  expect(
    statuses.filter((status) => status === 500).length,
    'some must fail for the test to mean something',
  ).toBeGreaterThan(1);

  expect(written).toContain('request.failed');
  for (const secret of secrets) expect(written).not.toContain(secret);
});

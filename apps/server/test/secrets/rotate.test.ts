import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { parseEnv } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';

const KEYS = [
  {
    kind: 'api-key',
    field: 'apiKey',
    prefix: 'ik_',
    hours: 24,
    max: 168,
    action: 'ROTATE_API_KEY',
    old: SECRETS.ACCESS_API_KEY,
  },
  {
    kind: 'anon-key',
    field: 'anonKey',
    prefix: 'anon_',
    hours: 168,
    max: 720,
    action: 'ROTATE_ANON_KEY',
    old: SECRETS.ACCESS_ANON_KEY,
  },
] as const;

/** True where the key is known; what it may do there is another matter. */
const works = async ({ as }: TestApp, key: string) =>
  (await as('nobody').get('/api/auth/config', { authorization: `Bearer ${key}` })).status !== 401;

test.each(KEYS)(
  'the $kind is replaced, and the old one works through its grace',
  async ({ kind, field, prefix, hours, action, old }) => {
    const app = await startApp();
    const reply = await app.as('admin').post(`/api/secrets/${kind}/rotate`);
    expect(reply).toMatchObject({ status: 200, body: { success: true, message: expect.any(String) } });
    const { [field]: key, oldKeyExpiresAt } = reply.body;
    expect(key).toMatch(new RegExp(`^${prefix}[\\da-f]{64}$`));
    expect(Math.round((Date.parse(oldKeyExpiresAt) - Date.now()) / 3_600_000)).toBe(hours);
    expect(await works(app, key)).toBe(true);
    expect(await works(app, old)).toBe(true);
    expect(await app.sql('select actor, module, action, details from system.audit_logs')).toEqual([
      { actor: 'api-key', module: 'SECRETS', action, details: { oldKeyExpiresAt, gracePeriodHours: hours } },
    ]);

    await app.sql(`update system.secrets set expires_at = now() where key like '%\\_KEY\\_OLD\\_%'`);
    await app.sql(`select pg_notify('insforge_access_keys', '')`);
    await expect.poll(() => works(app, old)).toBe(false);
    expect(await works(app, key)).toBe(true);
  },
);

test.each(KEYS)('a grace of 0 stops the old $kind at once', async ({ kind, field, old }) => {
  const app = await startApp();
  const { body } = await app.as('admin').post(`/api/secrets/${kind}/rotate`, { gracePeriodHours: 0 });
  expect(await works(app, old)).toBe(false);
  expect(await works(app, body[field])).toBe(true);
});

test.each(KEYS.flatMap(({ kind, max }) => [-1, 0.5, max + 1, '1', null].map((hours) => ({ kind, hours }))))(
  '$kind: a grace of $hours hours is refused',
  async ({ kind, hours }) => {
    const app = await startApp();
    const reply = await app.as('admin').post(`/api/secrets/${kind}/rotate`, { gracePeriodHours: hours });
    expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
    expect(reply.body.message).toMatch(/^gracePeriodHours: /);
    expect(await app.sql('select from system.audit_logs')).toEqual([]);
  },
);

test.each(KEYS)('only the admin replaces the $kind', async ({ kind, old }) => {
  const app = await startApp();
  const alice = await app.user('alice');
  const path = `/api/secrets/${kind}/rotate`;
  expect(await app.as('nobody').post(path)).toMatchObject({ status: 401, body: { error: 'AUTH_INVALID_CREDENTIALS' } });
  expect(await app.as('anon').post(path)).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await app.as(alice).post(path)).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await works(app, old)).toBe(true);
});

test('other replicas know a new key at once, and forget an old one', async () => {
  const first = await startApp();
  const second = await startApp({}, { beside: first });
  expect(await works(second, SECRETS.ACCESS_ANON_KEY)).toBe(true);
  const { body } = await first.as('admin').post('/api/secrets/anon-key/rotate', { gracePeriodHours: 0 });
  await expect.poll(() => works(second, body.anonKey), { interval: 5 }).toBe(true);
  expect(await works(second, SECRETS.ACCESS_ANON_KEY)).toBe(false);
});

test('keys that are replaced at the same time all work through their grace', async () => {
  const app = await startApp();
  const replies = await Promise.all([1, 2, 3].map(() => app.as('admin').post('/api/secrets/anon-key/rotate')));
  const keys = replies.map(({ body }) => body.anonKey);
  expect(new Set(keys).size).toBe(3);
  for (const key of [...keys, SECRETS.ACCESS_ANON_KEY]) expect(await works(app, key)).toBe(true);
  expect(await app.sql(`select from system.secrets where key = 'ANON_KEY'`)).toHaveLength(1);
});

test('requests go on while a key is replaced', async () => {
  const app = await startApp();
  for (let round = 0; round < 5; round++) {
    let isOver = false;
    const rotation = app
      .as('admin')
      .post('/api/secrets/anon-key/rotate')
      .finally(() => (isOver = true));
    while (!isOver) {
      expect(await works(app, SECRETS.ACCESS_ANON_KEY)).toBe(true);
      await setImmediate(); // a refusal from memory never lets the rotation's own I/O in
    }
    expect(await works(app, (await rotation).body.anonKey)).toBe(true);
  }
});

test('the file with the credentials holds the current keys, readable by its owner only', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-rotate-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const { as } = await startApp({ DATA_DIR: dataDir });
  const [api, anon] = await Promise.all(
    KEYS.map(({ kind }) => as('admin').post(`/api/secrets/${kind}/rotate`, { gracePeriodHours: 1 })),
  );
  const file = join(dataDir, 'credentials.env');
  expect(parseEnv(await readFile(file, 'utf8'))).toMatchObject({
    ACCESS_API_KEY: api?.body.apiKey,
    ACCESS_ANON_KEY: anon?.body.anonKey,
    ROOT_ADMIN_USERNAME: 'admin',
  });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

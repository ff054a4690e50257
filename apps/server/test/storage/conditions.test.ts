import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { makeBucket, makeRowsUnreadable, objectPath, storedFiles, upload } from './files.ts';

const TEN = '0123456789';
const MD5_OF_TEN = '781e5e245d69b566979b86e28d23f2c7';

async function startWithFile(content = TEN): Promise<TestApp> {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  await upload(server.as('admin'), 'b', 'f', content);
  return server;
}

const LONG_AGO = 'Sat, 01 Jan 2000 00:00:00 GMT';
const FAR_AHEAD = 'Fri, 01 Jan 2100 00:00:00 GMT';
const ETAG = `"${MD5_OF_TEN}"`;

test.each([
  { headers: { 'if-none-match': ETAG }, status: 304 },
  { headers: { 'if-none-match': `W/${ETAG}` }, status: 304 },
  { headers: { 'if-none-match': `"x", ${ETAG}` }, status: 304 },
  { headers: { 'if-none-match': '*' }, status: 304 },
  { headers: { 'if-none-match': '"x"' }, status: 200 },
  { headers: { 'if-modified-since': FAR_AHEAD }, status: 304 },
  { headers: { 'if-modified-since': LONG_AGO }, status: 200 },
  { headers: { 'if-modified-since': 'nonsense' }, status: 200 },
  { headers: { 'if-modified-since': '-271821-04-20T00:00:00Z' }, status: 200 },
  { headers: { 'if-modified-since': '+275760-09-13T00:00:00Z' }, status: 304 },
  { headers: { 'if-none-match': '"x"', 'if-modified-since': FAR_AHEAD }, status: 200 },
  { headers: { 'if-match': ETAG }, status: 200 },
  { headers: { 'if-match': '"x"' }, status: 412 },
  { headers: { 'if-match': `W/${ETAG}` }, status: 412 },
  { headers: { 'if-match': '*' }, status: 200 },
  { headers: { 'if-match': ETAG, 'if-none-match': ETAG }, status: 304 },
  { headers: { 'if-none-match': ETAG, 'if-modified-since': LONG_AGO }, status: 304 },
  { headers: { 'if-unmodified-since': FAR_AHEAD }, status: 200 },
  { headers: { 'if-unmodified-since': LONG_AGO }, status: 412 },
  { headers: { 'if-match': ETAG, 'if-unmodified-since': LONG_AGO }, status: 200 },
  { headers: { range: 'bytes=0-1', 'if-range': ETAG }, status: 206 },
  { headers: { range: 'bytes=0-1', 'if-range': '"x"' }, status: 200 },
  { headers: { range: 'bytes=0-1', 'if-range': `W/${ETAG}` }, status: 200 },
  { headers: { range: 'bytes=0-1', 'if-range': LONG_AGO }, status: 200 },
  { headers: { range: 'bytes=0-1', 'if-none-match': ETAG }, status: 304 },
])('$headers gives $status', async ({ headers, status }) => {
  const server = await startWithFile();
  const given = { ...headers } as unknown as Record<string, string>;
  const [got, asked] = [
    await server.as('nobody').get(objectPath('b', 'f'), given),
    await server.as('nobody').head(objectPath('b', 'f'), given),
  ];
  expect([got.status, asked.status]).toEqual([status, status]);
  if (status === 304) expect(got).toMatchObject({ text: '', headers: { etag: ETAG } });
});

test.each([
  { what: 'HEAD', ask: { method: 'HEAD', headers: {} }, status: 200 },
  { what: 'an ETag that is still the one', ask: { headers: { 'if-none-match': `W/"x", ${ETAG}` } }, status: 304 },
  { what: 'a date', ask: { headers: { 'if-modified-since': FAR_AHEAD } }, status: 304 },
  { what: 'an ETag of old', ask: { headers: { 'if-none-match': '"old"' } }, status: 400 },
  { what: 'a date of old', ask: { headers: { 'if-modified-since': LONG_AGO } }, status: 400 },
  { what: 'no condition', ask: { headers: {} }, status: 400 },
] as const)('the bytes are read only where they are sent: $what', async ({ ask, status }) => {
  const server = await startWithFile();
  await makeRowsUnreadable(server);
  expect((await server.app.inject({ method: 'GET', url: objectPath('b', 'f'), ...ask })).statusCode).toBe(status);
});

test.each([
  { what: 'changed', headers: { 'if-none-match': '"old"' }, gives: { status: 200, text: TEN } },
  { what: 'changed by date', headers: { 'if-modified-since': LONG_AGO }, gives: { status: 200, text: TEN } },
  { what: 'unchanged', headers: { 'if-none-match': ETAG }, gives: { status: 304, text: '' } },
  {
    what: 'unchanged by date',
    headers: { 'if-modified-since': FAR_AHEAD },
    gives: { status: 304, text: '' },
  },
  { what: 'not asked', headers: {}, gives: { status: 200, text: TEN } },
  // It has the ETag of the file in it, and is another one.
  { what: 'alike', headers: { 'if-none-match': `"x${MD5_OF_TEN}"` }, gives: { status: 200, text: TEN } },
])('$what: the policies are asked once', async ({ headers, gives }) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  await upload(server.as('admin'), 'b', 'f', TEN);
  await server.sql(`
    create sequence public.reads;
    grant usage on public.reads to authenticated;
    create policy counted on storage.objects for select to authenticated using (nextval('public.reads') > 0)`);
  const ada = server.as(await server.user('ada'));
  const given = { ...headers } as unknown as Record<string, string>;
  expect(await ada.get(objectPath('b', 'f'), given)).toMatchObject(gives);
  expect(await server.sql('select last_value::int as reads from public.reads')).toEqual([{ reads: 1 }]);
});

const md5 = (text: string) => createHash('md5').update(text).digest('hex');

/** Larger than a row takes, so that it is a file, which goes when it is replaced. */
const large = (content: string) => content.padEnd(70_000);

test.each([
  { old: 'old', now: 'new' },
  { old: large('old'), now: large('new') },
  { old: large('old'), now: 'new' },
  { old: 'old', now: large('new') },
])('whoever reads while it is replaced gets one version, whole', async ({ old, now }) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-files-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const server = await startApp({ DATA_DIR: dataDir });
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  await upload(admin, 'b', 'f', old);
  await server.sql(`
    create function public.hold() returns boolean language plpgsql as $$ begin
      perform pg_advisory_xact_lock_shared(1); return true; end $$;
    create policy held on storage.objects for select to authenticated using (public.hold());
    select pg_advisory_lock(1)`);
  const ada = server.as(await server.user('ada'));
  const known = [undefined, '"other"', `"${md5(old)}"`, `"${md5(now)}"`, `"x${md5(old)}"`, `"x${md5(now)}"`];
  const asked = known.map((etag) => ada.get(objectPath('b', 'f'), etag === undefined ? {} : { 'if-none-match': etag }));
  const held = "select from pg_stat_activity where wait_event = 'advisory' and datname = current_database()";
  await expect.poll(() => server.sql(held)).toHaveLength(known.length);
  await upload(admin, 'b', 'f', now);
  await expect.poll(() => storedFiles(dataDir)).toHaveLength(now.length > 65_536 ? 1 : 0);
  await server.sql('select pg_advisory_unlock(1)');
  for (const [index, { status, text, headers }] of (await Promise.all(asked)).entries()) {
    if (status === 304) expect([headers.etag, text]).toEqual([known[index], '']);
    else expect([status, headers.etag]).toEqual([200, `"${md5(text)}"`]);
  }
});

import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

const EVENTS = `
  create table events (id int primary key, at timestamptz);
  insert into events values (1, '2023-10-18 12:37:59.611+00');
  ${OPEN}`;

test('strict handling refuses what is not understood, lenient ignores it', async () => {
  const api = await startApi(EVENTS);
  await expectReads(api, [
    {
      path: 'events',
      headers: { prefer: 'handling=strict, foo, bar' },
      status: 400,
      body: {
        code: 'PGRST122',
        message: 'Invalid preferences given with handling=strict',
        details: 'Invalid preferences: foo, bar',
        hint: null,
      },
    },
    {
      path: 'events',
      headers: { prefer: 'handling=strict, count=wrong' },
      status: 400,
      body: { code: 'PGRST122', details: 'Invalid preferences: count=wrong' },
    },
    {
      path: 'events?select=id',
      headers: { prefer: 'handling=lenient, foo, bar' },
      body: [{ id: 1 }],
      has: { 'preference-applied': 'handling=lenient' },
    },
    { path: 'events?select=id', headers: { prefer: 'foo' }, body: [{ id: 1 }] },
    {
      path: 'events?select=id',
      headers: { prefer: 'handling=strict, count=exact' },
      body: [{ id: 1 }],
      has: { 'preference-applied': 'count=exact, handling=strict' },
    },
    {
      path: 'events',
      headers: { prefer: 'handling=strict, timezone=Jupiter/Red_Spot' },
      status: 400,
      body: { code: 'PGRST122', details: 'Invalid preferences: timezone=Jupiter/Red_Spot' },
    },
  ]);
  const { headers } = await api.as('alice').get('events');
  expect(headers['preference-applied']).toBeUndefined();
});

test('times are shown in the time zone that the client prefers', async () => {
  const api = await startApi(EVENTS);
  await expectReads(api, [
    {
      path: 'events',
      headers: { prefer: 'timezone=America/Los_Angeles' },
      body: [{ id: 1, at: '2023-10-18T05:37:59.611-07:00' }],
      has: { 'preference-applied': 'timezone=America/Los_Angeles' },
    },
    {
      path: 'events',
      headers: { prefer: 'timezone=Jupiter/Red_Spot' },
      body: [{ id: 1, at: '2023-10-18T12:37:59.611+00:00' }],
    },
    { path: 'events', body: [{ id: 1, at: '2023-10-18T12:37:59.611+00:00' }] },
  ]);
});

test('settings of a role count for its requests, and those of a function more', async () => {
  const { as, sql, schema } = await startApi(`
    create function nap() returns int volatile language plpgsql as $$ begin perform pg_sleep(0.2); return 1; end $$;
    create function long_nap() returns int volatile language plpgsql set statement_timeout = '5s' as $$ begin perform pg_sleep(0.2); return 1; end $$;
    create function zone() returns text stable language sql as $$ select current_setting('timezone') $$;
    ${OPEN}`);
  const [{ database } = { database: '' }] = await sql<{ database: string }>('select current_database() as database');
  await sql(`alter role anon in database ${database} set statement_timeout = '50ms'`);
  await sql(`alter role anon in database ${database} set timezone = 'Asia/Tokyo'`);
  await schema.reload();
  expect((await as('anon').get('rpc/zone')).body).toBe('Asia/Tokyo');
  expect((await as('alice').get('rpc/zone')).body).toBe('UTC');
  const nap = await as('anon').post('rpc/nap', {});
  expect([nap.status, nap.body.code]).toEqual([500, '57014']);
  expect((await as('alice').post('rpc/nap', {})).body).toBe(1);
  expect((await as('anon').post('rpc/long_nap', {})).body).toBe(1);
});

test('a role has settings of superusers only where they were granted', async () => {
  const { as, sql, schema } = await startApi(`
    create function logs() returns json stable language sql as $$ select json_build_array(
      current_setting('log_min_duration_statement'), current_setting('log_duration')) $$; ${OPEN}`);
  const [{ database } = { database: '' }] = await sql<{ database: string }>('select current_database() as database');
  await sql(`alter role anon in database ${database} set log_min_duration_statement = '77s'`);
  await sql(`alter role anon in database ${database} set log_duration = on`);
  await sql('grant set on parameter log_min_duration_statement to anon');
  try {
    await schema.reload();
    expect((await as('anon').get('rpc/logs')).body).toEqual(['77s', 'off']);
  } finally {
    // Such a grant is the whole cluster's.
    await sql('revoke set on parameter log_min_duration_statement from anon');
  }
});

test('the stages of an answer are timed on demand', async () => {
  const timed = await startApi(EVENTS, { hasServerTiming: true });
  const { headers } = await timed.as('alice').get('events');
  expect(headers['server-timing']).toMatch(
    /^parse;dur=[\d.]+, plan;dur=[\d.]+, transaction;dur=[\d.]+, response;dur=[\d.]+$/,
  );
  const plain = await startApi(EVENTS);
  expect((await plain.as('alice').get('events')).headers['server-timing']).toBeUndefined();
});

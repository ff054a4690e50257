import { expect, test } from 'vitest';
import type { Claims } from '../../src/platform/db/db.ts';
import { sql } from '../../src/platform/db/sql.ts';
import { openDoors, user } from './doors.ts';

const TITLES = { text: 'select title from notes order by id', values: [] };

test.each([
  { who: 'a', claims: user('a'), sees: [['of a']] },
  { who: 'b', claims: user('b'), sees: [['of b']] },
  { who: 'anon', claims: { role: 'anon' } as const, sees: [] },
  { who: 'admin', claims: { role: 'project_admin' } as const, sees: [['of a'], ['of b']] },
])('$who sees what the policies allow', async ({ claims, sees }) => {
  const { db } = await openDoors();
  expect(await db.as(claims).text(TITLES)).toEqual(sees);
  expect(await db.as(claims).tx((tx) => tx.query(sql`select title from notes order by id`))).toEqual(
    sees.map(([title]) => ({ title })),
  );
});

test('nothing of one request is left for the next on the same connection', async () => {
  const { db } = await openDoors();
  await db.as(user('a')).text(TITLES);
  expect(await db.as({ role: 'anon' }).text({ text: 'select auth.uid(), current_user', values: [] })).toEqual([
    [null, 'anon'],
  ]);
  await expect(db.as(user('a')).text({ text: 'select 1/0', values: [] })).rejects.toThrow('division by zero');
  expect(await db.as({ role: 'anon' }).text(TITLES)).toEqual([]);
  await db.as({ role: 'project_admin' }).tx(async (tx) => {
    await tx.run('set search_path = nowhere');
    await tx.run('create temp table leftover ()');
  });
  expect(await db.as(user('b')).text(TITLES)).toEqual([['of b']]);
  await expect(db.as({ role: 'anon' }).text({ text: 'select from leftover', values: [] })).rejects.toThrow(
    'does not exist',
  );
});

test('the login itself may do nothing', async () => {
  const { db } = await openDoors();
  const login = db.as({ role: 'none' as 'anon' });
  await expect(login.text(TITLES)).rejects.toThrow('permission denied for table notes');
  await expect(db.as({ role: 'postgres' as 'anon' }).text(TITLES)).rejects.toThrow(
    /permission denied to set role|"postgres"/,
  );
});

test('a failed statement of the fast path leaves nothing behind', async () => {
  const { db } = await openDoors();
  const insert = (id: string) =>
    db.as(user('a')).text({
      text: `with row as (insert into notes values ($1, auth.uid(), 'new') returning id) select 1 / (id - 7) from row`,
      values: [id],
    });
  await expect(insert('7')).rejects.toThrow('division by zero');
  expect(await insert('8')).toEqual([['1']]);
  expect(await db.system.query(sql`select id from notes where id > 2`)).toEqual([{ id: 8 }]);
});

test('a transaction rolls back when its work throws', async () => {
  const { db } = await openDoors();
  const work = db.as({ role: 'project_admin' }).tx(async (tx) => {
    await tx.query(sql`insert into notes values (3, null, 'gone')`);
    throw new Error('changed my mind');
  });
  await expect(work).rejects.toThrow('changed my mind');
  expect(await db.system.query(sql`select id from notes where id = 3`)).toEqual([]);
});

test('statements prepared before a change of the schema work after it', async () => {
  const { db, owner } = await openDoors();
  const all = { text: 'select * from notes order by id', values: [] };
  const byId = { text: 'select title from notes where id = $1', values: ['1'] };
  await db.as(user('a')).text(all);
  await db.as(user('a')).text(byId);
  await owner.query('alter table notes add column more int; alter table notes alter column id type text');
  expect(await db.as(user('a')).text(all)).toEqual([['1', user('a').sub, 'of a', null]]);
  db.forgetStatements();
  expect(await db.as(user('a')).text(byId)).toEqual([['of a']]);
  await owner.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()',
  );
  await expect.poll(() => db.as(user('a')).text(byId).catch(String)).toEqual([['of a']]);
});

test('a connection keeps a bounded number of prepared statements', async () => {
  const { db } = await openDoors();
  for (let index = 0; index < 500; index++) await db.as(user('a')).text({ text: `select ${index}`, values: [] });
  const [[count] = []] = await db
    .as(user('a'))
    .text({ text: 'select count(*) from pg_prepared_statements', values: [] });
  expect(Number(count)).toBeLessThanOrEqual(410);
  expect(Number(count)).toBeGreaterThan(300);
});

test('a failed Parse does not poison the connection', async () => {
  const { db } = await openDoors();
  const broken = { text: 'select nothing from nowhere', values: [] };
  for (let round = 0; round < 3; round++) await expect(db.as(user('a')).text(broken)).rejects.toThrow('does not exist');
  expect(await db.as(user('a')).text(TITLES)).toEqual([['of a']]);
});

const ADMIN: Claims = { role: 'project_admin' };

test('a statement of the caller is read as text, and only as far as the limits allow', async () => {
  const { db } = await openDoors();
  await db.as(ADMIN).tx(async (tx) => {
    const all = 'select n, null as nothing from generate_series(1, 5000) n';
    const whole = await tx.run(all);
    expect(whole).toMatchObject({ command: 'SELECT', rowCount: 5000, isComplete: true });
    expect(whole.fields).toEqual([
      { name: 'n', dataTypeID: 23 },
      { name: 'nothing', dataTypeID: 25 },
    ]);
    expect(whole.rows[4999]).toEqual(['5000', null]);

    const byRows = await tx.run(all, [], { maxRows: 3, maxBytes: 1e6 });
    expect(byRows).toMatchObject({ rowCount: null, isComplete: false });
    expect(byRows.rows).toHaveLength(3);
    const exactly = await tx.run(all, [], { maxRows: 5000, maxBytes: 1e6 });
    expect(exactly).toMatchObject({ rowCount: 5000, isComplete: true });
    const byBytes = await tx.run(`select repeat('x', 100) from generate_series(1, 5000)`, [], {
      maxRows: 1e6,
      maxBytes: 1050,
    });
    expect(byBytes).toMatchObject({ rowCount: null, isComplete: false });
    expect(byBytes.rows).toHaveLength(10);

    // What was cut keeps nothing open.
    await tx.run('create table wide as select n from generate_series(1, 9) n');
    await tx.run('select * from wide', [], { maxRows: 1, maxBytes: 1e6 });
    expect(await tx.run('alter table wide add column more int')).toMatchObject({
      command: 'ALTER TABLE',
      rowCount: null,
    });
  });
});

test.each([
  { text: 'insert into notes values (3, null, $1)', values: ['x'], command: 'INSERT', rowCount: 1, rows: [] },
  { text: 'delete from notes returning id', values: [], command: 'DELETE', rowCount: 2, rows: [['1'], ['2']] },
  { text: 'create table copy as select 1', values: [], command: 'SELECT', rowCount: 1, rows: [] },
  { text: '-- nothing', values: [], command: '', rowCount: null, rows: [] },
  { text: 'select 2 = any ($1::int[])', values: [[1, 2]], rows: [['t']] },
  { text: 'select $1::text[]', values: [['a "b" \\', null]], rows: [['{"a \\"b\\" \\\\",NULL}']] },
  { text: 'select $1::jsonb', values: [[1, { a: 2 }]], rows: [['[1, {"a": 2}]']] },
  { text: 'select $1::jsonb, $2::int, $3::bool', values: [{ a: 1 }, null, true], rows: [['{"a": 1}', null, 't']] },
])('$text answers as PostgreSQL wrote it', async ({ text, values, ...expected }) => {
  const { db } = await openDoors();
  expect(await db.as(ADMIN).tx((tx) => tx.run(text, values))).toMatchObject(expected);
});

test('a statement that fails leaves the connection usable and the transaction undone', async () => {
  const { db } = await openDoors();
  for (const text of ['select 1/0', 'selec', 'copy notes from stdin', 'select $1::int[]']) {
    await expect(
      db.as(ADMIN).tx((tx) => tx.run(text, text.includes('$1') ? [['no number']] : [])),
    ).rejects.toHaveProperty('severity', 'ERROR');
    expect(await db.as(user('a')).text(TITLES)).toEqual([['of a']]);
  }
});

test.each(['users', 'owners'])('a signal ends the statement that is running at the door of the %s', async (door) => {
  const { db } = await openDoors();
  const leaving = new AbortController();
  const work = async (tx: { run(text: string): Promise<unknown> }) => {
    await tx.run(`select set_config('application_name', 'sleeper', false)`);
    await tx.run('select pg_sleep(60)');
  };
  const asleep = door === 'users' ? db.as(ADMIN).tx(work, {}, leaving.signal) : db.system.tx(work, leaving.signal);
  const sleepers = sql`select from pg_stat_activity where application_name = 'sleeper' and query like '%pg_sleep%'`;
  const stopped = expect(asleep).rejects.toHaveProperty('code', '57014');
  await expect.poll(() => db.system.query(sleepers)).toHaveLength(1);
  leaving.abort();
  await stopped;
  await expect.poll(() => db.system.query(sleepers)).toHaveLength(0);
  expect(await db.as(user('a')).text(TITLES)).toEqual([['of a']]);
});

test('a rehearsal says what would happen, and nothing does', async () => {
  const { db, owner } = await openDoors();
  const insert = { text: 'insert into notes values ($1, $2, $3)', values: ['3', null, 'new'] };
  const count = async () => (await owner.query('select from notes')).rowCount;
  await db.as(user('a')).rehearse(insert);
  await expect(db.as({ role: 'anon' }).rehearse(insert)).rejects.toHaveProperty('code', '42501');
  await expect(db.as(user('a')).rehearse({ ...insert, values: ['1', null, 'taken'] })).rejects.toHaveProperty(
    'code',
    '23505',
  );
  // What was prepared is out of date, and is prepared again.
  const returning = { text: 'insert into notes values ($1, $2) returning *', values: ['4', user('a').sub ?? null] };
  await db.as(user('a')).rehearse(returning);
  await owner.query('alter table notes add column more text');
  await db.as(user('a')).rehearse(returning);
  expect(await count()).toBe(2);
  expect(await db.as(user('a')).text(TITLES)).toEqual([['of a']]);
});

test('one statement at the door of the owner is one round trip, and a transaction of its own', async () => {
  const { db, owner } = await openDoors();
  const insert = { text: 'insert into notes values ($1, $2, $3) returning id', values: ['3', null, 'new'] };
  expect(await db.system.text(insert)).toEqual([['3']]);
  await expect(db.system.text(insert)).rejects.toHaveProperty('code', '23505');
  expect((await owner.query('select from notes')).rowCount).toBe(3);
});

test('COPY goes in and out as streams', async () => {
  const { db } = await openDoors();
  const lines = async function* (count: number) {
    for (let first = 1; first <= count; first += 1000) {
      const rows = Array.from({ length: Math.min(1000, count - first + 1) }, (_, index) => `${first + index + 100},,t`);
      yield Buffer.from(`${rows.join('\n')}\n`);
    }
  };
  await db.as(ADMIN).tx(async (tx) => {
    expect(await tx.copyFrom('copy notes from stdin (format csv)', lines(50_000))).toBe(50_000);
    let bytes = 0;
    let rows = 0;
    for await (const piece of tx.copyTo('copy (select id from notes order by id) to stdout')) {
      bytes += piece.length;
      rows += piece.toString().split('\n').length - 1;
    }
    expect([rows, bytes]).toEqual([50_002, 2 * 2 + 899 * 4 + 9000 * 5 + 40_101 * 6]);
    expect(await tx.query(sql`select count(*)::int as n from notes`)).toEqual([{ n: 50_002 }]);
  });
});

test('a COPY that fails, or whose source fails, leaves a usable connection', async () => {
  const { db } = await openDoors();
  const failing = async function* () {
    yield Buffer.from('7,,x\n');
    throw new Error('the source broke');
  };
  const copy = 'copy notes from stdin (format csv)';
  await expect(db.as(ADMIN).tx((tx) => tx.copyFrom(copy, failing()))).rejects.toThrow('the source broke');
  const wrong = (async function* () {
    yield Buffer.from('x,,y\n');
    for (let more = 0; more < 1000; more++) yield Buffer.alloc(64_000, '1');
  })();
  await expect(db.as(ADMIN).tx((tx) => tx.copyFrom(copy, wrong))).rejects.toMatchObject({ code: '22P02' });
  await expect(db.as(user('a')).tx((tx) => tx.copyFrom(copy, failing()))).rejects.toMatchObject({ code: '0A000' });
  const unread = db.as(ADMIN).tx(async (tx) => {
    const stream = tx.copyTo(`copy (select repeat('x', 100000) from generate_series(1, 1000)) to stdout`);
    for await (const _ of stream) throw new Error('enough');
  });
  await expect(unread).rejects.toThrow('enough');
  expect(await db.as(user('a')).text(TITLES)).toEqual([['of a']]);
});

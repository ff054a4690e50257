import { expect, onTestFinished, test, vi } from 'vitest';
import type { Statement, TextRow } from '../../src/platform/db/batch.ts';
import type { Claims, Db, Settings } from '../../src/platform/db/db.ts';
import { sql } from '../../src/platform/db/sql.ts';
import { openDoors, user } from './doors.ts';

const READ_ONLY: Settings = { transaction_read_only: 'on' };
/** Only on a lane are statements cut so soon, which tells where one ran. */
const LIMIT = `current_setting('statement_timeout')`;
const CUT = '50ms';
/** A busy machine may cut what is short; a statement then stays off the lanes for a while. */
const PATIENT = { interval: 1, timeout: 25_000 };

const read = (text: string, ...values: (string | null)[]): Statement => ({ text, values, kind: 'read' });
const write = (text: string, ...values: (string | null)[]): Statement => ({ text, values, kind: 'write' });
const settingsOf = ({ kind }: Statement) => (kind === 'read' ? READ_ONLY : {});

/** Runs a statement whose first column is LIMIT until it travels on a lane. */
async function toLane(db: Db, statement: Statement, claims: Claims = user('a')): Promise<void> {
  const limit = async () => (await db.as(claims).text(statement, settingsOf(statement)))[0]?.[0];
  await expect.poll(limit, PATIENT).toBe(CUT);
}

const outcome = (work: Promise<TextRow[]>) =>
  work.then(
    ([row = []]) => row.slice(1),
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

test('those who share a lane see their own rows, under their own settings', async () => {
  const { db } = await openDoors(2);
  const who = read(
    `select ${LIMIT}, current_user, auth.uid(), (select string_agg(title, '' order by id) from notes),
      current_setting('timezone'), current_setting('transaction_read_only')`,
  );
  await toLane(db, who);
  const callers = [
    { claims: user('a'), sees: ['authenticated', user('a').sub, 'of a'] },
    { claims: user('b'), sees: ['authenticated', user('b').sub, 'of b'] },
    { claims: { role: 'anon' } as const, sees: ['anon', null, null] },
    { claims: { role: 'project_admin' } as const, sees: ['project_admin', null, 'of aof b'] },
  ];
  const zones = [undefined, 'Asia/Tokyo', 'Europe/Berlin'];
  const runs = Array.from({ length: 120 }, (_, index) => {
    const { claims, sees } = callers[index % callers.length] ?? { claims: user('a'), sees: [] };
    const timezone = zones[index % zones.length];
    const settings = timezone === undefined ? READ_ONLY : { ...READ_ONLY, timezone };
    return { work: db.as(claims).text(who, settings), expected: [...sees, timezone ?? 'UTC', 'on'] };
  });
  const rows = await Promise.all(runs.map(async ({ work }) => (await work)[0] ?? []));
  expect(rows.map((row) => row.slice(1))).toEqual(runs.map(({ expected }) => expected));
  expect(rows.filter(([limit]) => limit === CUT).length).toBeGreaterThan(2);
});

test('the platform has lanes of its own, for what is said to be short', async () => {
  const { db, owner } = await openDoors(2);
  let id = 1_000;
  const insert = (kind: Statement['kind'], divisor = 1) =>
    db.system.json<{ limit: string; login: string; quotient: number }>(
      kind,
      sql`insert into notes values (${++id}, null, 'new')`,
      sql`select ${sql.raw(LIMIT)} as "limit", session_user as login, 1 / ${divisor}::int as quotient`,
    );
  await expect.poll(async () => (await insert('write'))[0]?.limit, PATIENT).toBe(CUT);
  const { rows } = await owner.query('select session_user as login');
  expect(await insert('write')).toEqual([{ limit: CUT, login: rows[0].login, quotient: 1 }]);
  expect((await insert(undefined))[0]?.limit).not.toBe(CUT);
  await expect(insert('write', 0)).rejects.toMatchObject({ code: '22012' });
  const undone = await owner.query('select from notes where id = $1', [id]);
  expect(undone.rowCount).toBe(0);
});

test('an error is its own batch’s alone, and undoes it', async () => {
  const { db, owner } = await openDoors(2);
  await owner.query(
    `create function loud() returns int language plpgsql as 'begin raise notice ''hey''; return 1; end'`,
  );
  const insert = write(
    `with row as (insert into notes values ($1, auth.uid(), 'new') returning id)
     select ${LIMIT}, loud() / ((id - 1) % 3) from row`,
    '9',
  );
  let warmUp = 30_000;
  const limit = async () => {
    warmUp += 3;
    return (await db.as(user('a')).text({ ...insert, values: [String(warmUp)] }))[0]?.[0];
  };
  await expect.poll(limit, PATIENT).toBe(CUT);
  const ids = Array.from({ length: 60 }, (_, index) => index + 1_000);
  const outcomes = await Promise.all(
    ids.map((id) => outcome(db.as(user('a')).text({ ...insert, values: [String(id)] }))),
  );
  const fails = (id: number) => (id - 1) % 3 === 0;
  expect(outcomes.map((result) => result === '22012')).toEqual(ids.map(fails));
  const { rows } = await owner.query('select id from notes where id between 1000 and 2000 order by id');
  expect(rows.map(({ id }) => id)).toEqual(ids.filter((id) => !fails(id)));
});

test('a statement that fails to be prepared fails for everybody, and harms nobody', async () => {
  const { db, owner } = await openDoors(2);
  const good = read(`select ${LIMIT}, count(*) from notes`);
  const later = read(`select ${LIMIT}, count(*) from later`);
  await toLane(db, good);
  await owner.query('create table later (); grant select on later to authenticated');
  await toLane(db, later);
  await owner.query('drop table later');
  db.forgetStatements();
  const both = await Promise.all(
    Array.from({ length: 40 }, (_, index) => outcome(db.as(user('a')).text(index % 2 ? later : good, READ_ONLY))),
  );
  expect(both).toEqual(Array.from({ length: 40 }, (_, index) => (index % 2 ? '42P01' : ['1'])));
});

test('statements that a change of the schema makes stale are prepared again', async () => {
  const { db, owner } = await openDoors(2);
  const all = read(`select ${LIMIT}, n.* from notes n order by id`);
  await toLane(db, all);
  const many = () => Array.from({ length: 20 }, () => outcome(db.as(user('a')).text(all, READ_ONLY)));
  const before = many();
  await owner.query('alter table notes add column more int');
  const rows = await Promise.all([...before, ...many()]);
  const old = ['1', user('a').sub, 'of a'];
  for (const row of rows) expect([old, [...old, null]]).toContainEqual(row);
  expect(rows.at(-1)).toHaveLength(4);
});

test('a slow statement is sent on its own way, and those behind it get through', async () => {
  const { db, owner } = await openDoors(2);
  const nap = read(`select ${LIMIT}, pg_sleep($1::float8)::text`, '0');
  const quick = read(`select ${LIMIT}, $1::text`, '');
  await toLane(db, nap);
  await toLane(db, quick);
  const leaving = new AbortController();
  const slow = db.as(user('a')).text({ ...nap, values: ['600'] }, READ_ONLY, () => leaving.signal);
  const cancelled = expect(slow).rejects.toHaveProperty('code', '57014');
  const others = Array.from({ length: 50 }, (_, index) => String(index));
  const results = others.map((value) => outcome(db.as(user('b')).text({ ...quick, values: [value] }, READ_ONLY)));
  expect(await Promise.all(results)).toEqual(others.map((value) => [value]));
  // On a lane it could not last that long; on a connection of its own it listens to its client.
  const asleep = `select from pg_stat_activity where query like '%pg_sleep%' and state = 'active'
    and pid <> pg_backend_pid() and clock_timestamp() - query_start > '200 ms'`;
  await expect.poll(async () => (await owner.query(asleep)).rowCount).toBe(1);
  leaving.abort();
  await cancelled;
  expect(await outcome(db.as(user('b')).text(quick, READ_ONLY))).toEqual(['']);
});

test('a write that waits for a lock happens once, and does not hold up the others', async () => {
  const { db, owner } = await openDoors(2);
  await owner.query(`
    create table counters (key int primary key, value int);
    insert into counters values (1, 0), (2, 0);
    alter table counters disable row level security;
    grant select, update on counters to authenticated`);
  const count = write(`update counters set value = value + 1 where key = $1 returning ${LIMIT}, value`, '2');
  await toLane(db, count);
  const value = async (key: number) =>
    (await owner.query('select value from counters where key = $1', [key])).rows[0].value;
  const before = await value(2);
  await owner.query('begin; select from counters where key = 1 for update');
  const waiting = db.as(user('a')).text({ ...count, values: ['1'] });
  await Promise.all(Array.from({ length: 20 }, () => db.as(user('a')).text(count)));
  await owner.query('commit');
  expect((await waiting)[0]?.[1]).toBe('1');
  expect([await value(1), await value(2)]).toEqual([1, before + 20]);
});

test('whoever leaves does not end what others run', async () => {
  const { db } = await openDoors(2);
  const quick = read(`select ${LIMIT}, $1::text`, '');
  await toLane(db, quick);
  const gone = AbortSignal.abort();
  const results = Array.from({ length: 60 }, (_, index) =>
    outcome(
      db
        .as(user('a'))
        .text({ ...quick, values: [String(index)] }, READ_ONLY, () =>
          index % 2 ? gone : new AbortController().signal,
        ),
    ),
  );
  const stayed = (await Promise.all(results)).filter((_, index) => index % 2 === 0);
  expect(stayed).toEqual(Array.from({ length: 30 }, (_, index) => [String(index * 2)]));
});

test('a lost connection fails what was in flight, and nothing runs twice', async () => {
  const { db, owner } = await openDoors(2);
  await owner.query(`create function lose(yes bool) returns bool language sql security definer as
    'select yes and pg_terminate_backend(pg_backend_pid())'`);
  const insert = write(
    `insert into notes values ($1, auth.uid(), 'new') returning ${LIMIT}, lose($2::bool)`,
    '100',
    'false',
  );
  let id = 100;
  const next = (lose = false) => db.as(user('a')).text({ ...insert, values: [String(id++), String(lose)] });
  await expect.poll(async () => (await next())[0]?.[0], PATIENT).toBe(CUT);
  id = 10_000;
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => outcome(next(index === 10))));
  expect(outcomes.slice(0, 10)).toEqual(Array(10).fill(['f']));
  expect(outcomes[10]).toBe('57P01');
  const stored = await owner.query('select id from notes where id >= 10000 order by id');
  const answered = outcomes.flatMap((result, index) => (Array.isArray(result) ? [10_000 + index] : []));
  expect(stored.rows.map((row) => row.id)).toEqual(answered);
  await expect.poll(async () => (await next())[0]?.[0], PATIENT).toBe(CUT);
});

test('a time limit that was asked for holds, and what may do more than write rows stays off the lanes', async () => {
  const { db } = await openDoors(2);
  const statement = read(`select ${LIMIT}`);
  await toLane(db, statement);
  expect(await db.as(user('a')).text(statement, { ...READ_ONLY, statement_timeout: '7s' })).toEqual([['7s']]);
  expect(await db.as(user('a')).text({ text: statement.text, values: [] }, READ_ONLY)).toEqual([['0']]);
});

test('answers larger than what arrives at a time come whole, between others', async () => {
  const { db } = await openDoors(2);
  const long = read(`select ${LIMIT}, repeat($1, $2::int), null, ''`, 'é', '1');
  await toLane(db, long);
  const sizes = [1, 100_000, 3, 40_000, 2, 300_000, 5];
  const results = await Promise.all(
    sizes.map((size) => outcome(db.as(user('a')).text({ ...long, values: ['é', String(size)] }, READ_ONLY))),
  );
  expect(results).toEqual(sizes.map((size) => ['é'.repeat(size), null, '']));
});

test('the number of rows written is told without returning any', async () => {
  const { db } = await openDoors(2);
  const insert = { ...write('insert into notes select n, auth.uid() from generate_series(10, $1::int) n', '21') };
  expect(await db.as(user('a')).text({ ...insert, isCounted: true })).toEqual([['12']]);
  expect(
    await db
      .as(user('a'))
      .text(insert)
      .catch((error) => error.code),
  ).toBe('23505');
});

test('a client that leaves while it waits for a connection is not served', async () => {
  const { db } = await openDoors(1);
  const leaving = new AbortController();
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const occupied = db.as(user('a')).tx(() => {
    begun.resolve();
    return end.promise;
  });
  await begun.promise;
  const waiting = outcome(db.as(user('a')).text(write('select 1'), {}, () => leaving.signal));
  leaving.abort();
  end.resolve();
  await occupied;
  expect(await waiting).toBe(DOMException.ABORT_ERR);
  expect(await db.as(user('a')).text(read('select 1'), READ_ONLY)).toEqual([['1']]);
});

test('a statement with more values than fit is refused, and the connection goes on', async () => {
  const { db } = await openDoors(1);
  const many = { ...read('select $1'), values: Array<string>(65_536).fill('x') };
  await expect(db.as(user('a')).text(many, READ_ONLY)).rejects.toHaveProperty('code', 'INVALID_INPUT');
  expect(await db.as(user('a')).text(read('select 1'), READ_ONLY)).toEqual([['1']]);
});

test('a lane that nobody uses is closed', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const { db, owner } = await openDoors(2);
  await toLane(db, read(`select ${LIMIT}`));
  const lanes = async () =>
    (
      await owner.query(`select from pg_stat_activity where datname = current_database() and query like '%statement_timeout%'
      and pid <> pg_backend_pid()`)
    ).rowCount;
  const before = Number(await lanes());
  vi.advanceTimersByTime(20_000);
  await expect.poll(lanes, { timeout: 5_000 }).toBeLessThan(before);
  await toLane(db, read(`select ${LIMIT}`));
});

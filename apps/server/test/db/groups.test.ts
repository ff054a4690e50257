import { expect, test } from 'vitest';
import { type Sql, sql } from '../../src/platform/db/sql.ts';
import { openDoors, user } from './doors.ts';

const A = user('a');
const B = user('b');

const insertNotes = (rows: Sql) =>
  sql`insert into notes values ${rows} returning title, owner, auth.uid(), pg_current_xact_id(), id`;
const upsertNotes = (rows: Sql) =>
  sql`insert into notes values ${rows} on conflict (id) do update set title = notes.title || excluded.title returning title, id`;

const row = (id: number, title: string) => sql`(${id}::int, auth.uid(), ${title})`;
const insert = (id: number, title = `of ${id}`) => ({ into: insertNotes, row: row(id, title), lock: String(id) });
const upsert = (id: number, title: string) => ({ into: upsertNotes, row: row(id, title), lock: String(id) });
const range = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);

test('rows of one caller that come together share statements, and each gets back its own', async () => {
  const { db } = await openDoors(4);
  const ids = range(100, 60);
  const rows = await Promise.all(ids.map((id) => db.as(A).grouped(insert(id))));
  expect(rows.map((written) => written?.[0])).toEqual(ids.map((id) => `of ${id}`));
  expect(new Set(rows.map((written) => written?.[3])).size).toBeLessThan(10);
});

test('a row that fails fails alone', async () => {
  const { db, owner } = await openDoors(4);
  const ids = range(100, 40);
  const isBad = (id: number) => id % 3 === 0;
  const settled = await Promise.allSettled(ids.map((id) => db.as(A).grouped(insert(isBad(id) ? 1 : id))));
  const failed = ids.filter((_, index) => settled[index]?.status === 'rejected');
  expect(failed).toEqual(ids.filter(isBad));
  for (const result of settled) if (result.status === 'rejected') expect(result.reason.code).toBe('23505');
  const { rows } = await owner.query('select id from notes where id >= 100 order by id');
  expect(rows.map(({ id }) => Number(id))).toEqual(ids.filter((id) => !isBad(id)));
});

test('a row that the statement does not write comes back as nothing', async () => {
  const { db } = await openDoors(4);
  const into = (rows: Sql) => sql`insert into notes values ${rows} on conflict do nothing returning id`;
  const writes = [1, 100, 2, 101].map((id) => ({ into, row: row(id, 'x'), lock: String(id) }));
  const rows = await Promise.all(writes.map((write) => db.as(A).grouped(write)));
  expect(rows).toEqual([undefined, ['100'], undefined, ['101']]);
});

test('callers never share a transaction, nor what it says of who they are', async () => {
  const { db } = await openDoors(6);
  const rows = await Promise.all(
    range(100, 60).map(async (id) => {
      const caller = id % 2 === 0 ? A : B;
      const written = await db.as(caller).grouped(insert(id));
      return { subject: written?.[2], expected: caller.sub, transaction: written?.[3] };
    }),
  );
  expect(rows.filter(({ subject, expected }) => subject !== expected)).toEqual([]);
  const subjects = new Map<unknown, Set<unknown>>();
  for (const { transaction, subject } of rows) {
    subjects.set(transaction, (subjects.get(transaction) ?? new Set()).add(subject));
  }
  expect([...subjects.values()].filter(({ size }) => size > 1)).toEqual([]);
});

test('the same row twice is written twice, in the order of the calls', async () => {
  const { db, owner } = await openDoors(4);
  await owner.query('grant update on notes to authenticated');
  const titles = [...'abcdefgh'];
  await Promise.all(
    titles.flatMap((title) => [db.as(A).grouped(upsert(100, title)), db.as(A).grouped(upsert(101, title))]),
  );
  const { rows } = await owner.query('select title from notes where id in (100, 101)');
  expect(rows).toEqual([{ title: 'abcdefgh' }, { title: 'abcdefgh' }]);
});

test('groups that write the same rows do not deadlock', async () => {
  const { db, owner } = await openDoors(6);
  await owner.query('grant update on notes to authenticated');
  await owner.query(`insert into notes select n, $1, '' from generate_series(100, 119) n`, [A.sub]);
  const callers = range(0, 10).map(() => ({ ...A }));
  // Each in another order.
  const orders = callers.map((_, caller) => range(0, 20).map((index) => 100 + ((index * 7 + caller * 3) % 20)));
  await Promise.all(
    orders.flatMap((ids, caller) => ids.map((id) => db.as(callers[caller] ?? A).grouped(upsert(id, 'x')))),
  );
  const { rows } = await owner.query<{ title: string }>('select title from notes where id between 100 and 119');
  expect(new Set(rows.map(({ title }) => title))).toEqual(new Set(['x'.repeat(10)]));
  const { rows: stats } = await owner.query<{ deadlocks: string }>(
    `select deadlocks from pg_stat_database where datname = current_database()`,
  );
  expect(stats[0]?.deadlocks).toBe('0');
});

test('a row that is locked holds up nobody else', async () => {
  const { db, owner } = await openDoors(4);
  await owner.query('grant update on notes to authenticated');
  await owner.query('begin');
  await owner.query(`select from notes where id = 1 for update`);
  const waiting = db.as(A).grouped(upsert(1, '!'));
  // With it, and behind it.
  const rows = await Promise.all(range(100, 20).map((id) => db.as(A).grouped(upsert(id, 'x'))));
  expect(rows.map((written) => written?.[1])).toEqual(range(100, 20).map(String));
  await owner.query('commit');
  expect(await waiting).toEqual(['of a!', '1']);
});

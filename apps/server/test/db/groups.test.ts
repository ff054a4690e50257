import { expect, test } from 'vitest';
import type { Statement } from '../../src/platform/db/batch.ts';
import { openDoors, user } from './doors.ts';

const A = user('a');
const B = user('b');

const insert = (id: number, title: string): Statement => ({
  text: `insert into notes values ($1, auth.uid(), $2) returning id, pg_current_xact_id()`,
  values: [String(id), title],
});

test('writes of one caller that come together share transactions, each with its own rows', async () => {
  const { db } = await openDoors(4);
  const ids = Array.from({ length: 60 }, (_, index) => 100 + index);
  const rows = await Promise.all(ids.map((id) => db.as(A).grouped(insert(id, 'x'), String(id))));
  expect(rows.map(([row]) => row?.[0])).toEqual(ids.map(String));
  expect(new Set(rows.map(([row]) => row?.[1])).size).toBeLessThan(30);
});

test('a write that fails fails alone', async () => {
  const { db, owner } = await openDoors(4);
  const ids = Array.from({ length: 40 }, (_, index) => 100 + index);
  const settled = await Promise.allSettled(
    ids.map((id) => db.as(A).grouped(insert(id % 3 === 0 ? 1 : id, 'x'), String(id))),
  );
  const failed = ids.filter((_, index) => settled[index]?.status === 'rejected');
  expect(failed).toEqual(ids.filter((id) => id % 3 === 0));
  for (const result of settled) if (result.status === 'rejected') expect(result.reason.code).toBe('23505');
  const { rows } = await owner.query('select id from notes where id >= 100 order by id');
  expect(rows.map(({ id }) => Number(id))).toEqual(ids.filter((id) => id % 3 !== 0));
});

test('callers never share a transaction, nor what it says of who they are', async () => {
  const { db, owner } = await openDoors(6);
  await owner.query('create sequence note_ids; grant usage on note_ids to authenticated');
  const who: Statement = {
    text: `insert into notes select 1000 + nextval('note_ids'), auth.uid(), 'x' returning auth.uid(), pg_current_xact_id()`,
    values: [],
  };
  const rows = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const caller = index % 2 === 0 ? A : B;
      const [row] = await db.as(caller).grouped(who, '');
      return { subject: row?.[0], expected: caller.sub, transaction: row?.[1] };
    }),
  );
  expect(rows.filter(({ subject, expected }) => subject !== expected)).toEqual([]);
  const subjects = new Map<unknown, Set<unknown>>();
  for (const { transaction, subject } of rows) {
    subjects.set(transaction, (subjects.get(transaction) ?? new Set()).add(subject));
  }
  expect([...subjects.values()].filter(({ size }) => size > 1)).toEqual([]);
});

test('groups that write the same rows do not deadlock', async () => {
  const { db, owner } = await openDoors(6);
  await owner.query('grant update on notes to authenticated');
  await owner.query(`insert into notes select n, $1, 'old' from generate_series(100, 119) n`, [A.sub]);
  const update = (id: number): Statement => ({
    text: `update notes set title = title || 'x' where id = $1 returning id`,
    values: [String(id)],
  });
  // Each round in another order.
  const rounds = Array.from({ length: 20 }, (_, round) =>
    Array.from({ length: 20 }, (_, index) => 100 + ((index * 7 + round * 3) % 20)),
  );
  await Promise.all(rounds.flat().map((id) => db.as(A).grouped(update(id), String(id))));
  const { rows } = await owner.query<{ title: string }>('select title from notes where id between 100 and 119');
  expect(new Set(rows.map(({ title }) => title))).toEqual(new Set([`old${'x'.repeat(20)}`]));
  const { rows: stats } = await owner.query<{ deadlocks: string }>(
    `select deadlocks from pg_stat_database where datname = current_database()`,
  );
  expect(stats[0]?.deadlocks).toBe('0');
});

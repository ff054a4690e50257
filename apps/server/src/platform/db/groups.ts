/**
 * Group commit. A transaction of its own costs a small write more than the write itself: the wait for the disk, and all
 * that PostgreSQL does at the beginning and at the end of a statement. Rows that one caller writes at the same time are
 * written by one statement.
 */
import { wasUndone } from '#platform/errors.ts';
import { type Statement, type TextRow, toStatement, toValue } from './batch.ts';
import type { Claims, Settings } from './db.ts';
import { type Sql, sql } from './sql.ts';

/** So many rows of a caller are written by one statement. While one is on its way, those that come wait for the next. */
const MAX_ROWS = 16;
/** They wait no longer than this, and rows that share a statement wait no longer for a lock, in milliseconds. */
const PATIENCE_MS = 20;
/** For a transaction with several rows: none of them waits for what another may not have yet. */
const SHARED: Settings = { lock_timeout: String(PATIENCE_MS) };

/** One row of a statement that can write several. */
export interface RowWrite {
  /**
   * The statement, for rows: `insert into notes values ${rows} returning …`, without values of its own. Rows with the
   * same function can share one.
   */
  into: (rows: Sql) => Sql;
  /** The values, in parentheses. All rows of a function differ in nothing else. */
  row: Sql;
  /**
   * What the row locks, which the statement returns in its last column. Rows of one statement differ in it, and come in
   * the order of it, so that two statements cannot deadlock.
   */
  lock: string;
}

interface Waiting extends RowWrite {
  resolve: (row: TextRow | undefined) => void;
  reject: (error: unknown) => void;
}

interface Queue {
  waiting: Waiting[];
  isWriting: boolean;
}

/** Stands for the platform, which has no claims. */
const PLATFORM = {};

export interface Groups {
  /**
   * Writes a row, in a statement that it may share with others of the same caller. One that fails fails alone.
   * @param claims absent: with the rights of the platform
   * @returns what the statement returned of it; undefined where it did not write it
   */
  run(claims: Claims | undefined, write: RowWrite): Promise<TextRow | undefined>;
}

/** @param commit runs a statement in a transaction with settings of its own, and returns its rows */
export function createGroups(
  commit: (claims: Claims | undefined, statement: Statement, settings: Settings) => Promise<TextRow[]>,
): Groups {
  const queues = new WeakMap<object, Queue>();

  const write = async (claims: Claims | undefined, writes: readonly Waiting[]): Promise<void> => {
    const isShared = writes.length > 1;
    try {
      const rows = await commit(claims, statementOf(writes), isShared ? SHARED : {});
      // In their order, unless some were left out. A trigger may have given a row another name.
      const byLock = rows.length === writes.length ? undefined : new Map(rows.map((row) => [row.at(-1), row]));
      for (const [index, { lock, resolve }] of writes.entries()) resolve(byLock ? byLock.get(lock) : rows[index]);
    } catch (error) {
      // All of it was undone because of one of them; or else nobody knows, and nothing may be sent again.
      if (isShared && wasUndone(error)) for (const one of writes) void write(claims, [one]);
      else for (const { reject } of writes) reject(error);
    }
  };

  const writeNext = (queue: Queue, claims: Claims | undefined): void => {
    queue.isWriting = queue.waiting.length > 0;
    if (!queue.isWriting) return;
    let isOver = false;
    const next = () => {
      if (isOver) return;
      isOver = true;
      clearTimeout(patience);
      writeNext(queue, claims);
    };
    const patience = setTimeout(next, PATIENCE_MS);
    void write(claims, takeGroup(queue)).then(next);
  };

  return {
    run(claims, row) {
      const caller = claims ?? PLATFORM;
      const queue = queues.get(caller) ?? { waiting: [], isWriting: false };
      queues.set(caller, queue);
      return new Promise((resolve, reject) => {
        queue.waiting.push({ ...row, resolve, reject });
        if (queue.isWriting) return;
        queue.isWriting = true;
        // What comes in the same turn of the event loop goes along.
        setImmediate(writeNext, queue, claims);
      });
    },
  };
}

/** By how many rows they write, since to write them anew each time takes longer than to send them. */
const texts = new WeakMap<RowWrite['into'], string[]>();

function statementOf(writes: readonly RowWrite[]): Statement {
  const [{ into }] = writes as [RowWrite];
  const known = texts.get(into) ?? [];
  texts.set(into, known);
  known[writes.length] ??= toStatement(into(sql.join(writes.map(({ row }) => row)))).text;
  return { text: known[writes.length] ?? '', values: writes.flatMap(({ row }) => row.values.map(toValue)) };
}

/** The first that waits, and others that its statement can write as well. */
function takeGroup(queue: Queue): Waiting[] {
  const into = queue.waiting[0]?.into;
  const group = new Map<string, Waiting>();
  queue.waiting = queue.waiting.filter((write) => {
    if (write.into !== into || group.has(write.lock) || group.size === MAX_ROWS) return true;
    group.set(write.lock, write);
    return false;
  });
  return [...group.values()].sort((a, b) => (a.lock < b.lock ? -1 : 1));
}

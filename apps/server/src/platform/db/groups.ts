/**
 * Group commit. A transaction of its own costs a small write more than the write itself: the wait for the disk, and all
 * that PostgreSQL does at the beginning and at the end. Writes of one caller that come at the same time share one.
 */
import { isDatabaseError, isUnavailable } from '#platform/errors.ts';
import type { Statement, TextRow } from './batch.ts';
import type { Claims } from './db.ts';

/** While these are on their way, whoever comes waits for the next one, and finds company. */
const MAX_UNDERWAY = 3;
const MAX_STATEMENTS = 16;

interface Write {
  statement: Statement;
  order: string;
  resolve: (rows: TextRow[]) => void;
  reject: (error: unknown) => void;
}

interface Queue {
  waiting: Write[];
  underway: number;
}

/** Stands for the platform, which has no claims. */
const PLATFORM = {};

export interface Groups {
  /**
   * Runs a statement in a transaction that it may share with others of the same caller. One that fails fails alone.
   * @param claims absent: with the rights of the platform
   * @param order what it locks; statements of a group lock in the order of these, so that groups cannot deadlock
   */
  run(claims: Claims | undefined, statement: Statement, order: string): Promise<TextRow[]>;
}

/** @param commit runs statements in one transaction and returns the rows of each */
export function createGroups(
  commit: (claims: Claims | undefined, statements: readonly Statement[]) => Promise<TextRow[][]>,
): Groups {
  const queues = new WeakMap<object, Queue>();

  const alone = async (claims: Claims | undefined, { statement, resolve, reject }: Write) => {
    try {
      const [rows = []] = await commit(claims, [statement]);
      resolve(rows);
    } catch (error) {
      reject(error);
    }
  };
  const together = async (claims: Claims | undefined, writes: readonly Write[]) => {
    try {
      const rows = await commit(
        claims,
        writes.map(({ statement }) => statement),
      );
      for (const [index, { resolve }] of writes.entries()) resolve(rows[index] ?? []);
    } catch (error) {
      // All of it was undone because of one of them; or else nobody knows, and nothing may be sent again.
      if (isDatabaseError(error) && !isUnavailable(error)) {
        await Promise.all(writes.map((write) => alone(claims, write)));
      } else for (const { reject } of writes) reject(error);
    }
  };

  const start = async (queue: Queue, claims: Claims | undefined): Promise<void> => {
    queue.underway++;
    while (queue.waiting.length > 0) {
      const writes = queue.waiting.splice(0, MAX_STATEMENTS).sort((a, b) => (a.order < b.order ? -1 : 1));
      const [first] = writes;
      if (first) await (writes.length === 1 ? alone(claims, first) : together(claims, writes));
    }
    queue.underway--;
  };

  return {
    run(claims, statement, order) {
      const caller = claims ?? PLATFORM;
      const queue = queues.get(caller) ?? { waiting: [], underway: 0 };
      queues.set(caller, queue);
      return new Promise((resolve, reject) => {
        queue.waiting.push({ statement, order, resolve, reject });
        if (queue.underway < MAX_UNDERWAY && queue.waiting.length === 1) setImmediate(() => void start(queue, claims));
      });
    },
  };
}

import type { Blobs } from '#platform/blobs/blobs.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { Logger } from '#platform/log.ts';

/** Deletes what no row points at: at once what a row gave up, and now and then what a crash left behind. */
export interface GarbageCollector {
  /** Deletes soon what rows have given up. */
  poke(): void;
  /** Deletes what rows have given up, and all blobs of no row that are older than the grace. */
  sweep(): Promise<{ deleted: number }>;
  close(): Promise<void>;
}

const BATCH = 500;
const SWEEP_MS = 24 * 3600_000;
/** After a start: late enough not to be in its way. */
const FIRST_SWEEP_MS = 5_000;
/** An upload that has its bytes but not yet its row must not be taken for garbage. */
const GRACE_MS = 24 * 3600_000;
/** An expired upload is kept a while, so that what is being completed right now is not taken apart. */
const EXPIRED_GRACE = '1 hour';
/** Any constant works, as long as every server of this kind uses the same. */
const SWEEP_LOCK = 7_130_100;

interface GarbageOptions {
  db: Db;
  blobs: Blobs;
  log: Logger;
}

export function createGarbageCollector({ db, blobs, log }: GarbageOptions): GarbageCollector {
  let isClosed = false;
  let isPoked = false;
  let running: Promise<void> | undefined;

  const collectAll = async () => {
    while (isPoked && !isClosed) {
      isPoked = false;
      for (let found = BATCH; found === BATCH && !isClosed; ) found = await collect(db, blobs);
    }
  };
  const poke = () => {
    isPoked = true;
    running ??= collectAll()
      .catch((error: Error) => log.warn({ reason: error.message }, 'storage.garbage_not_collected'))
      .finally(() => {
        running = undefined;
        if (isPoked && !isClosed) poke();
      });
  };

  const sweep = async () => {
    await db.system.query(sql`delete from storage.uploads where expires_at < now() - ${EXPIRED_GRACE}::interval`);
    poke();
    let deleted = 0;
    for await (const page of blobs.list()) {
      for (let start = 0; start < page.length && !isClosed; start += BATCH) {
        const orphans = await withoutRow(db, page.slice(start, start + BATCH));
        const verdicts = await Promise.all(orphans.map((id) => isAbandoned(blobs, id)));
        const old = orphans.filter((_, index) => verdicts[index]);
        await blobs.delete(old);
        deleted += old.length;
      }
      if (isClosed) break;
    }
    await running;
    return { deleted };
  };

  const sweepInTurn = () =>
    db.system
      .tx(async (tx) => {
        const lock = await tx.one<{ taken: boolean }>(sql`select pg_try_advisory_xact_lock(${SWEEP_LOCK}) as taken`);
        if (!lock?.taken) return;
        const { deleted } = await sweep();
        if (deleted > 0) log.info({ deleted }, 'storage.orphans_deleted');
      })
      .catch((error: Error) => log.warn({ reason: error.message }, 'storage.sweep_failed'));

  let sweeping: Promise<void> | undefined;
  const schedule = (ms: number) =>
    setTimeout(() => {
      sweeping = sweepInTurn().finally(() => {
        timer = isClosed ? timer : schedule(SWEEP_MS);
      });
    }, ms).unref();
  let timer = schedule(FIRST_SWEEP_MS);

  return {
    poke,
    sweep,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await Promise.all([running, sweeping]);
    },
  };
}

/** True where no upload can be about to name the blob in a row. */
async function isAbandoned(blobs: Blobs, id: string): Promise<boolean> {
  if (blobs.isLeftBehind(id)) return true;
  const { modifiedAt } = (await blobs.stat(id)) ?? { modifiedAt: 0 };
  return modifiedAt < Date.now() - GRACE_MS;
}

/** Takes a batch off the list; the rows go when the bytes are gone. */
async function collect(db: Db, blobs: Blobs): Promise<number> {
  return db.system.tx(async (tx) => {
    const taken = await takeGarbage(tx);
    await blobs.delete(taken.filter(({ isLive }) => !isLive).map(({ blob }) => blob));
    return taken.length;
  });
}

async function takeGarbage(tx: SystemTx): Promise<{ blob: string; isLive: boolean }[]> {
  return tx.query(sql`
    delete from storage.garbage g
    where g.ctid = any(array(
      select ctid from storage.garbage order by created_at limit ${BATCH} for update skip locked))
    returning g.blob, exists (select from storage.live_blobs l where l.blob = g.blob) as "isLive"`);
}

async function withoutRow(db: Db, ids: readonly string[]): Promise<string[]> {
  const rows = await db.system.query<{ id: string }>(sql`
    select id from unnest(${ids}::text[]) id
    where not exists (select from storage.live_blobs l where l.blob = id)
      and not exists (select from storage.garbage g where g.blob = id)`);
  return rows.map(({ id }) => id);
}

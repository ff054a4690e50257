/**
 * Lanes: a few connections that many requests share at the same time. A connection that always has work spares
 * PostgreSQL and this process most of their wake-ups and system calls; its price is that a slow statement holds up
 * those behind it. Therefore only statements travel here that have proved to be short, and PostgreSQL cuts what turns
 * out to be long: it has done nothing then, and is sent again on a connection of its own.
 */
import { Client, type PoolConfig } from 'pg';
import { isDatabaseError } from '#platform/errors.ts';
import type { Statement, TextRow } from './batch.ts';
import type { Role } from './db.ts';
import { createPaces, type Pace } from './paces.ts';
import type { StatementState } from './prepared.ts';
import { Wire } from './wire.ts';

/** The longest that one statement can hold up the others. */
const CUT_MS = 50;
/** So much work may be waiting on every lane before there is no room. */
const FULL_MS = 10;
/** The most that a statement which is cut can have behind it. */
const MAX_DEPTH = 32;
/** A lane without work is closed, like the idle connections of a pool. */
const IDLE_MS = 10_000;

const QUERY_CANCELED = '57014';

interface Lane {
  readonly wire: Wire;
  /** Expected duration of what is in flight. */
  backlog: number;
  /** Statements answered by what is being read. */
  answered: Pace[];
  /** Since when it has been working on what is answered next. */
  workingSince: number;
  /** Something was cut, and what follows may be in for the same: nothing more until all of it is answered. */
  isStalled: boolean;
}

export interface Lanes {
  /**
   * Runs a batch on a lane and returns the rows of its last statement, whose text decides whether it may.
   * Undefined: it has to run on a connection of its own, and `measured` wants to hear how long it took.
   */
  run(scope: Role | undefined, batch: readonly Statement[]): Promise<TextRow[] | undefined> | undefined;
  measured(text: string, ms: number): void;
  close(): Promise<void>;
}

interface LaneOptions {
  /** How many lanes at most. */
  max: number;
  /** So much work may be waiting on a lane before the next one is used. */
  filledMs: number;
}

/** Opens lanes for a login when there is work for them. */
export function createLanes(config: PoolConfig, state: StatementState, { max, filledMs }: LaneOptions): Lanes {
  const lanes = new Map<Client, Lane>();
  const paces = createPaces();
  let opening: Promise<void> | undefined;
  let isClosed = false;

  const open = async () => {
    const client = new Client({ ...config, statement_timeout: CUT_MS });
    client.on('error', () => {});
    try {
      await client.connect();
    } catch {
      return; // Whoever asked uses the pool, which tells what is wrong.
    }
    const lane = createLane(new Wire(client, state, () => settle(lane)));
    lanes.set(client, lane);
    let seen = lane.workingSince;
    const idle = setInterval(() => {
      if (lane.workingSince === seen && lane.wire.depth === 0) {
        // First, so that nobody gets on it any more.
        lanes.delete(client);
        void client.end();
      }
      seen = lane.workingSince;
    }, IDLE_MS).unref();
    client.once('end', () => {
      clearInterval(idle);
      lanes.delete(client);
    });
  };

  const choose = (): Lane | undefined => {
    let best: Lane | undefined;
    for (const lane of lanes.values()) {
      if (!lane.wire.isOpen || lane.isStalled || lane.wire.depth >= MAX_DEPTH) continue;
      if (lane.backlog <= filledMs) return lane;
      if (lane.backlog < (best?.backlog ?? FULL_MS)) best = lane;
    }
    if (lanes.size < max && !isClosed) opening ??= open().finally(() => (opening = undefined));
    return best;
  };

  return {
    measured: paces.note,
    run(scope, batch) {
      const pace = paces.find(batch.at(-1)?.text ?? '');
      const now = performance.now();
      if (!pace?.isShort(now)) return undefined;
      const lane = choose();
      if (!lane) return undefined;
      if (lane.wire.depth === 0) lane.workingSince = now;
      const expected = pace.ms;
      lane.backlog += expected;
      return new Promise((resolve, reject) => {
        lane.wire.send(scope, batch, (error, rows) => {
          lane.backlog -= expected;
          lane.answered.push(pace);
          if (!error) resolve(rows);
          else if (isDatabaseError(error) && error.code === QUERY_CANCELED) {
            pace.bar(performance.now());
            lane.isStalled = true;
            resolve(undefined);
          } else reject(error);
        });
      });
    },
    async close() {
      isClosed = true;
      await opening;
      await Promise.all([...lanes.keys()].map((client) => client.end()));
    },
  };
}

const createLane = (wire: Wire): Lane => ({ wire, backlog: 0, answered: [], workingSince: 0, isStalled: false });

/** What arrives together was made one after the other: each gets its share of the time. */
function settle(lane: Lane): void {
  const { answered } = lane;
  if (answered.length === 0) return;
  const now = performance.now();
  const share = (now - lane.workingSince) / answered.length;
  for (const pace of answered) pace.average(share);
  lane.answered = [];
  lane.workingSince = now;
  if (lane.wire.depth > 0) return;
  lane.backlog = 0;
  lane.isStalled = false;
}

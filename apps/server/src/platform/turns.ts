/** Runs works of which no more than a number may run at a time under the same key; the others wait in line. */
export type Turns = <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;

interface Lane {
  running: number;
  waiting: (() => void)[];
}

/** @param max how many works may run at a time under one key. Keys are remembered while they have work. */
export function createTurns(max: number): Turns {
  const lanes = new Map<string, Lane>();
  return async (key, work) => {
    const lane = lanes.get(key) ?? { running: 0, waiting: [] };
    lanes.set(key, lane);
    if (lane.running < max) lane.running++;
    else await new Promise<void>((resolve) => lane.waiting.push(resolve));
    try {
      return await work();
    } finally {
      // Whoever is next takes the place over.
      const next = lane.waiting.shift();
      if (next) next();
      else if (--lane.running === 0) lanes.delete(key);
    }
  };
}

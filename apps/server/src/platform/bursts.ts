/** Runs works. What is done is held back until more is done, so that what follows it happens at one time. */
export type Bursts = <Result>(work: () => Promise<Result>) => Promise<Result>;

/**
 * @param size how many are let go together
 * @param patienceMs how long one is held back at most. Nobody waits who is alone.
 */
export function createBursts(size: number, patienceMs: number): Bursts {
  let working = 0;
  let held: (() => void)[] = [];
  let patience: NodeJS.Timeout | undefined;
  const letGo = () => {
    clearTimeout(patience);
    patience = undefined;
    const going = held;
    held = [];
    for (const go of going) go();
  };
  return async (work) => {
    working++;
    try {
      return await work();
    } finally {
      working--;
      if (working === 0 || held.length + 1 >= size) letGo();
      else {
        patience ??= setTimeout(letGo, patienceMs);
        await new Promise<void>((resolve) => held.push(resolve));
      }
    }
  };
}

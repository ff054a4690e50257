/** How long a start takes, and what an idle server costs in memory. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Figure, median, within } from './figure.ts';
import { proportionalSetSize } from './processes.ts';
import { type Measured, removeFolder, scratchFolder, startServer } from './server.ts';

const ROUNDS = 5;
const IDLE_MS = 3_000;

export async function measureStart(): Promise<Figure[]> {
  const fresh: number[] = [];
  const warm: number[] = [];
  const memory: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const folder = await scratchFolder();
    const dataDir = join(folder, 'data');
    const first = await timed(() => startServer(dataDir));
    await first.result.stop();
    const second = await timed(() => startServer(dataDir));
    await sleep(IDLE_MS);
    memory.push(await proportionalSetSize(second.result.child));
    await second.result.stop();
    await removeFolder(folder);
    fresh.push(first.ms);
    warm.push(second.ms);
  }
  return [
    within('fresh start to healthy (median)', median(fresh), 2_000, 'ms'),
    within('warm start to healthy (median)', median(warm), 1_000, 'ms'),
    within('idle memory of all processes (median PSS)', median(memory), 200, 'MB'),
  ];
}

async function timed(start: () => Promise<Measured>): Promise<{ ms: number; result: Measured }> {
  const began = performance.now();
  const result = await start();
  return { ms: performance.now() - began, result };
}

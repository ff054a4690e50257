/** What half a minute of load does to memory and to the slowest requests. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Figure, median, within } from './figure.ts';
import { type Load, load } from './load.ts';
import { proportionalSetSize } from './processes.ts';
import { withBench } from './records.ts';

const PATH = '/api/database/records/items?id=eq.4711';
const CONNECTIONS = 64;
const WARM_UP_SECONDS = 10;
const SECONDS = 30;
/** Between two samples of memory. */
const SAMPLE_MS = 1_000;
/** The heap breathes: so much more at the end than at the beginning is no growth. */
const TOLERANCE = 1.05;

export const measureSoak = (): Promise<Figure[]> =>
  withBench(async ({ server, token }) => {
    const url = server.url + PATH;
    const request: Omit<Load, 'seconds'> = {
      connections: CONNECTIONS,
      method: 'GET',
      headers: { authorization: `Bearer ${token}` },
    };
    await load(url, { ...request, seconds: WARM_UP_SECONDS });
    const samples: number[] = [];
    let isRunning = true;
    const running = load(url, { ...request, seconds: SECONDS }).finally(() => {
      isRunning = false;
    });
    while (isRunning) {
      samples.push(await proportionalSetSize(server.child));
      await sleep(SAMPLE_MS);
    }
    const { p50, p99 } = await running;
    const third = Math.floor(samples.length / 3);
    const [first, last] = [median(samples.slice(0, third)), median(samples.slice(-third))];
    return [
      within(`memory after ${SECONDS} s, ${CONNECTIONS} connections (+ 5 %)`, last, first * TOLERANCE, 'MB'),
      within(`slowest of 100 requests against the median`, p99, p50 * 5, 'ms'),
    ];
  });

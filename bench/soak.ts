/** What half a minute of load does to memory and to the slowest requests. */
import { collectGarbage } from './collect.ts';
import { type Figure, within } from './figure.ts';
import { type Load, load } from './load.ts';
import { proportionalSetSize } from './processes.ts';
import { withBench } from './records.ts';

const PATH = '/api/database/records/items?id=eq.4711';
const CONNECTIONS = 64;
const WARM_UP_SECONDS = 10;
const SECONDS = 30;
/** The system takes pages back when it likes: so much more after the load than before it is no growth. */
const TOLERANCE = 1.05;

export const measureSoak = (): Promise<Figure[]> =>
  withBench(async ({ server, token }) => {
    const url = server.url + PATH;
    const request: Omit<Load, 'seconds'> = {
      connections: CONNECTIONS,
      method: 'GET',
      headers: { authorization: `Bearer ${token}` },
    };
    const memory = async () => {
      await collectGarbage(server.child);
      return proportionalSetSize(server.child);
    };
    await load(url, { ...request, seconds: WARM_UP_SECONDS });
    const before = await memory();
    const { p50, p99 } = await load(url, { ...request, seconds: SECONDS });
    const after = await memory();
    return [
      within(`memory after ${SECONDS} s, ${CONNECTIONS} connections (+ 5 %)`, after, before * TOLERANCE, 'MB'),
      within(`slowest of 100 requests against the median`, p99, p50 * 5, 'ms'),
    ];
  });

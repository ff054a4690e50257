/** A process of its own that sends requests as fast as they are answered, and prints what it measured. */
import autocannon from 'autocannon';
import type { Load, LoadResult } from './load.ts';

const { url, connections, seconds, method, headers, bodies }: Load & { url: string } = JSON.parse(
  process.env.LOAD ?? '',
);
const requests = (bodies ?? [undefined]).map((body) => ({ method, headers, ...(body === undefined ? {} : { body }) }));
let started = 0;

const {
  requests: sent,
  latency,
  ...failures
} = await autocannon({
  url,
  connections,
  duration: seconds,
  requests,
  // Each connection begins elsewhere in the list, so that they do not all fight for one row.
  setupClient: (client) => {
    const first = Math.floor((started++ / connections) * requests.length);
    client.setRequests([...requests.slice(first), ...requests.slice(0, first)]);
  },
});
const result: LoadResult = {
  rate: sent.average,
  p50: latency.p50,
  p99: latency.p99,
  failed: failures.non2xx + failures.errors + failures.timeouts,
};
console.log(JSON.stringify(result));

/** Whether a request costs more where the schema is large. */
import { type Figure, within } from './figure.ts';
import { load } from './load.ts';
import { processorTime } from './processes.ts';
import { type Bench, withBench } from './records.ts';

const PATH = '/api/database/records/items?id=eq.4711';
const FEW = 10;
const MANY = 2_000;
const SECONDS = 2;
const ROUNDS = 5;

/** Two servers take turns. Processor time, since it does not depend on what else the machine does. */
export const measureGrowth = (): Promise<Figure[]> =>
  withBench((small) =>
    withBench(async (large) => {
      await addTables(small, FEW);
      await addTables(large, MANY);
      const costs = { small: [] as number[], large: [] as number[] };
      for (let round = 0; round < ROUNDS; round++) {
        costs.small.push(await costOf(small));
        costs.large.push(await costOf(large));
      }
      // The least of each is the most alike: the first rounds warm up, and noise only ever adds.
      const [few, many] = [Math.min(...costs.small), Math.min(...costs.large)];
      return [within(`one row: ${MANY} tables against ${FEW} (+ 5 %)`, many, few * 1.05, 'us')];
    }),
  );

/** Adds tables with a foreign key each, and waits until the last one can be asked for. */
async function addTables({ server, owner, apiKey }: Bench, count: number): Promise<void> {
  for (let first = 1; first <= count; first += 100) {
    await owner.query(`do $$ begin
      for n in ${first} .. ${Math.min(first + 99, count)} loop
        execute format('create table many_%s (id int primary key, author_id int references authors, title text)', n);
      end loop;
    end $$`);
  }
  await owner.query('vacuum analyze');
  const headers = { 'x-api-key': apiKey };
  for (let status = 0; status !== 200; ) {
    ({ status } = await fetch(`${server.url}/api/database/records/many_${count}`, { headers }));
  }
}

/** Microseconds of all processors a request. */
async function costOf({ server, token }: Bench): Promise<number> {
  const before = await processorTime(server.child);
  const headers = { authorization: `Bearer ${token}` };
  const { rate } = await load(server.url + PATH, { connections: 32, seconds: SECONDS, method: 'GET', headers });
  return ((await processorTime(server.child)) - before) / (rate * SECONDS);
}

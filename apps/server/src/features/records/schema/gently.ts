/** Working through a long list without keeping requests waiting. */
import { setImmediate as breathe } from 'node:timers/promises';

const SLICE = 250;

/** As `Array.map`, with a pause for others after every few hundred items. */
export async function mapGently<Item, Result>(items: readonly Item[], map: (item: Item) => Result): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < items.length; start += SLICE) {
    if (start > 0) await breathe();
    for (const item of items.slice(start, start + SLICE)) results.push(map(item));
  }
  return results;
}

/** `npm run bench [name…]`: every figure beside its ceiling or its limit, measured in the same run. */

import type { Figure } from './figure.ts';
import { measureRecords } from './records.ts';
import { measureStart } from './start.ts';
import { measureStorage } from './storage.ts';
import { measureTransfer } from './transfer.ts';

const BENCHES: Record<string, () => Promise<Figure[]>> = {
  records: measureRecords,
  start: measureStart,
  transfer: measureTransfer,
  storage: measureStorage,
};

const chosen = process.argv.slice(2);
for (const [name, measure] of Object.entries(BENCHES)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  for (const { figure, ours, reference, ratio, wanted, ok } of await measure()) {
    console.log(
      `${ok ? 'ok  ' : 'MISS'} ${figure.padEnd(44)} ${ours.padStart(12)}  ${reference.padEnd(28)} ratio ${ratio}  wanted ${wanted}`,
    );
  }
}

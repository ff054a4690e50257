/** `npm run bench [name…]`: every figure beside its ceiling or its limit, measured in the same run. */
import { measureAuth } from './auth.ts';
import type { Figure } from './figure.ts';
import { measureGrowth } from './growth.ts';
import { measureRecords } from './records.ts';
import { SCENARIOS } from './scenarios.ts';
import { measureSoak } from './soak.ts';
import { measureStart } from './start.ts';
import { measureStorage } from './storage.ts';
import { measureTransfer } from './transfer.ts';

/** A name is a group, or one scenario of `records`. */
const chosen = process.argv.slice(2);
const isChosen = (name: string) => chosen.length === 0 || chosen.includes(name);
const isScenarioChosen = (name: string) => isChosen(name) || chosen.includes('records');

const BENCHES: { isWanted: boolean; measure: () => Promise<Figure[]> }[] = [
  { isWanted: SCENARIOS.some(({ name }) => isScenarioChosen(name)), measure: () => measureRecords(isScenarioChosen) },
  { isWanted: isChosen('growth'), measure: measureGrowth },
  { isWanted: isChosen('soak'), measure: measureSoak },
  { isWanted: isChosen('start'), measure: measureStart },
  { isWanted: isChosen('auth'), measure: measureAuth },
  { isWanted: isChosen('transfer'), measure: measureTransfer },
  { isWanted: isChosen('storage'), measure: measureStorage },
];

for (const { isWanted, measure } of BENCHES) {
  if (!isWanted) continue;
  for (const { figure, ours, reference, ratio, wanted, ok } of await measure()) {
    console.log(
      `${ok ? 'ok  ' : 'MISS'} ${figure.padEnd(54)} ${ours.padStart(12)}  ${reference.padEnd(28)} ratio ${ratio}  wanted ${wanted}`,
    );
  }
}

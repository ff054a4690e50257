import { expect, test } from 'vitest';
import { createPaces, Pace } from './paces.ts';

test('a statement is short when it usually is', () => {
  const pace = new Pace(1);
  for (const ms of [3, 1, 2]) pace.average(ms);
  expect(pace.isShort(0)).toBe(true);
  for (let slow = 0; slow < 20; slow++) pace.average(20);
  expect(pace.isShort(0)).toBe(false);
  pace.best(1);
  pace.best(1);
  pace.best(1);
  expect(pace.isShort(0)).toBe(true);
  for (let crowded = 0; crowded < 3; crowded++) pace.best(20);
  expect(pace.isShort(0)).toBe(true);
});

test('a statement that is cut again and again stays away for longer each time', () => {
  const pace = new Pace(1);
  let now = 0;
  const bars: number[] = [];
  for (let cut = 0; cut < 9; cut++) {
    pace.bar(now);
    const since = now;
    while (!pace.isShort(now)) now += 50;
    bars.push(now - since);
  }
  expect(bars).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000]);
  now += 60_000;
  pace.bar(now);
  expect([pace.isShort(now + 200), pace.isShort(now + 250)]).toEqual([false, true]);
});

test('only so many statements are remembered', () => {
  const paces = createPaces();
  for (let index = 0; index < 2_100; index++) paces.note(`select ${index}`, 1);
  expect(paces.find('select 0')).toBeUndefined();
  expect(paces.find('select 2099')?.ms).toBe(1);
});

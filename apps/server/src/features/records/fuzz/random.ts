/** Chance that can be repeated: the same seed makes the same choices. */
export interface Random {
  /** A whole number from 0 up to, but without, the limit. */
  below(limit: number): number;
  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  /** True in one of so many cases. */
  oneIn(cases: number): boolean;
  /** A list of 1 to `most` items. */
  some<Item>(most: number, make: () => Item): Item[];
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
  return {
    below,
    pick: (items) => items[below(items.length)] ?? items[0],
    oneIn: (cases) => below(cases) === 0,
    some: (most, make) => Array.from({ length: 1 + below(most) }, make),
  };
}

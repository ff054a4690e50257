/** Statements that usually take longer are no gain on a lane. */
const SHORT_MS = 5;
/** For how long a statement stays away after it was cut: at first, and at most when it is cut again and again. */
const FIRST_BAR_MS = 250;
const LAST_BAR_MS = 16_000;
const MAX_PACES = 2_000;

/** How long a statement usually takes. */
export class Pace {
  ms: number;
  #barredUntil = -Infinity;
  #barMs = FIRST_BAR_MS;

  constructor(ms: number) {
    this.ms = ms;
  }

  isShort(now: number): boolean {
    return this.ms <= SHORT_MS && this.#barredUntil <= now;
  }

  /** It was too slow for a lane, whatever it usually takes; that may be the machine's doing, or its own. */
  bar(now: number): void {
    const isRepeated = now < this.#barredUntil + LAST_BAR_MS;
    this.#barMs = isRepeated ? Math.min(2 * this.#barMs, LAST_BAR_MS) : FIRST_BAR_MS;
    this.#barredUntil = now + this.#barMs;
  }

  average(ms: number): void {
    this.ms += (ms - this.ms) / 8;
  }

  /** On a connection of its own a statement competes with the others: its best times say what it takes by itself. */
  best(ms: number): void {
    this.ms += (ms - this.ms) / (ms < this.ms ? 2 : 32);
  }
}

/** The paces of statements by their text, as many as are in use. */
export function createPaces() {
  const paces = new Map<string, Pace>();
  return {
    find: (text: string) => paces.get(text),
    /** Takes down how long a statement took on a connection of its own. */
    note(text: string, ms: number): void {
      const pace = paces.get(text);
      if (pace) {
        pace.best(ms);
        return;
      }
      if (paces.size >= MAX_PACES) paces.delete(paces.keys().next().value ?? '');
      paces.set(text, new Pace(ms));
    },
  };
}

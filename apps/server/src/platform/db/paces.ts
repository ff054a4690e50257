/** Statements that usually take longer are no gain on a lane. */
const SHORT_MS = 5;
const MAX_PACES = 2_000;

/** How long a statement usually takes. */
export class Pace {
  ms: number;
  /** Until then it was found too slow, whatever it usually takes. */
  barredUntil = 0;

  constructor(ms: number) {
    this.ms = ms;
  }

  get isShort(): boolean {
    return this.ms <= SHORT_MS;
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

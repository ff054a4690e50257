/** One line of the report. */
export interface Figure {
  figure: string;
  ours: string;
  /** What it is measured against. */
  reference: string;
  ratio: string;
  wanted: string;
  ok: boolean;
}

/** More is better: our throughput as a share of a ceiling that was measured in the same run. */
export function share(figure: string, ours: number, ceiling: number, atLeast: number): Figure {
  const ratio = ours / ceiling;
  return {
    figure,
    ours: `${Math.round(ours)}/s`,
    reference: `ceiling ${Math.round(ceiling)}/s`,
    ratio: ratio.toFixed(2),
    wanted: `>= ${atLeast}`,
    ok: ratio >= atLeast,
  };
}

/** A share of 1. */
export function percentage(figure: string, value: number, atLeast: number): Figure {
  return {
    figure,
    ours: `${(value * 100).toFixed(2)} %`,
    reference: '',
    ratio: value.toFixed(2),
    wanted: `>= ${atLeast}`,
    ok: value >= atLeast,
  };
}

/** Less is better: what we need as a share of a limit. */
export function within(figure: string, value: number, limit: number, unit: string): Figure {
  const ratio = value / limit;
  return {
    figure,
    ours: `${Math.round(value)} ${unit}`,
    reference: `limit ${Math.round(limit)} ${unit}`,
    ratio: ratio.toFixed(2),
    wanted: '<= 1',
    ok: ratio <= 1,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

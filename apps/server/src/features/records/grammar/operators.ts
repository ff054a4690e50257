/** The filter operators: what a URL may say and what PostgreSQL is asked for. */

export interface Operator {
  /** The operator between column and value. */
  readonly sql: string;
  /** `eq(any).{1,2}` and `eq(all).{1,2}` are possible. */
  readonly quantifiable?: true;
  /** `*` in the value stands for `%`. */
  readonly isPattern?: true;
  /** The function that makes a tsquery of the value; `fts(english).value` names its language. */
  readonly search?: string;
}

export const OPERATORS: Readonly<Record<string, Operator>> = {
  eq: { sql: '=', quantifiable: true },
  neq: { sql: '<>' },
  gt: { sql: '>', quantifiable: true },
  gte: { sql: '>=', quantifiable: true },
  lt: { sql: '<', quantifiable: true },
  lte: { sql: '<=', quantifiable: true },
  like: { sql: 'like', quantifiable: true, isPattern: true },
  ilike: { sql: 'ilike', quantifiable: true, isPattern: true },
  match: { sql: '~', quantifiable: true },
  imatch: { sql: '~*', quantifiable: true },
  isdistinct: { sql: 'is distinct from' },
  cs: { sql: '@>' },
  cd: { sql: '<@' },
  ov: { sql: '&&' },
  sl: { sql: '<<' },
  sr: { sql: '>>' },
  nxr: { sql: '&<' },
  nxl: { sql: '&>' },
  adj: { sql: '-|-' },
  fts: { sql: '@@', search: 'to_tsquery' },
  plfts: { sql: '@@', search: 'plainto_tsquery' },
  phfts: { sql: '@@', search: 'phraseto_tsquery' },
  wfts: { sql: '@@', search: 'websearch_to_tsquery' },
};

/** What may follow `is.`, in any case. */
export const IS_VALUES: Readonly<Record<string, string>> = {
  null: 'is null',
  not_null: 'is not null',
  true: 'is true',
  false: 'is false',
  unknown: 'is unknown',
};

export const QUANTIFIERS = ['any', 'all'] as const;
export type Quantifier = (typeof QUANTIFIERS)[number];

export const AGGREGATES = ['avg', 'count', 'max', 'min', 'sum'] as const;
export type Aggregate = (typeof AGGREGATES)[number];

/** Content negotiation: which forms an answer can have, and which one a client would like best. */
import { RecordsError } from '../errors.ts';
import { memoize } from '../memo.ts';

/** The form of an answer. */
export interface Format {
  readonly kind: 'array' | 'object' | 'csv' | 'geojson' | 'plan' | 'custom';
  /** The Content-Type header. */
  readonly contentType: string;
  readonly areNullsStripped: boolean;
  readonly plan?: PlanFormat;
  /** Of a custom format: the aggregate that renders rows; absent where a function returns the whole body. */
  readonly aggregate?: string;
  /** The body is a bytea. */
  readonly isBinary?: boolean;
}

export interface PlanFormat {
  readonly output: 'text' | 'json';
  readonly options: readonly PlanOption[];
  readonly of: Format;
}

const PLAN_OPTIONS = ['analyze', 'verbose', 'settings', 'buffers', 'wal'] as const;
export type PlanOption = (typeof PLAN_OPTIONS)[number];

/** One entry of an Accept header. */
export interface MediaType {
  /** In lower case, without parameters. */
  readonly name: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly text: string;
}

export const JSON_TYPE = 'application/json; charset=utf-8';
/** What the names of types begin with that no project can redefine. */
export const VENDOR = 'application/vnd.pgrst.';

const plain = (kind: Format['kind'], contentType: string): Format => ({ kind, contentType, areNullsStripped: false });
const JSON_ARRAY = plain('array', JSON_TYPE);
const JSON_OBJECT = plain('object', `${VENDOR}object+json; charset=utf-8`);

const stripped = (kind: 'array' | 'object'): Format => ({
  kind,
  contentType: `${VENDOR}${kind}+json;nulls=stripped; charset=utf-8`,
  areNullsStripped: true,
});

/** What is built in, by media type. */
const FORMATS: Readonly<Record<string, (type: MediaType) => Format>> = {
  '*/*': () => JSON_ARRAY,
  'application/*': () => JSON_ARRAY,
  'application/json': () => JSON_ARRAY,
  'text/csv': () => plain('csv', 'text/csv; charset=utf-8'),
  'application/geo+json': () => plain('geojson', 'application/geo+json; charset=utf-8'),
  [`${VENDOR}array`]: arrayFormat,
  [`${VENDOR}array+json`]: arrayFormat,
  [`${VENDOR}object`]: objectFormat,
  [`${VENDOR}object+json`]: objectFormat,
  [`${VENDOR}plan`]: (type) => planFormat(type, 'text'),
  [`${VENDOR}plan+text`]: (type) => planFormat(type, 'text'),
  [`${VENDOR}plan+json`]: (type) => planFormat(type, 'json'),
};

function arrayFormat({ parameters }: MediaType): Format {
  return parameters.nulls === 'stripped' ? stripped('array') : JSON_ARRAY;
}

function objectFormat({ parameters }: MediaType): Format {
  return parameters.nulls === 'stripped' ? stripped('object') : JSON_OBJECT;
}

function planFormat({ parameters }: MediaType, output: 'text' | 'json'): Format {
  const asked = parseAccept(parameters.for ?? 'application/json')[0];
  const of = (asked && builtinFormat(asked)) ?? JSON_ARRAY;
  const words = (parameters.options ?? '').split('|');
  const options = PLAN_OPTIONS.filter((option) => words.includes(option));
  const suffix = options.length > 0 ? ` options=${options.join('|')};` : '';
  const contentType = `${VENDOR}plan+${output}; for="${of.contentType.split(';', 1)[0]}";${suffix} charset=utf-8`;
  return { kind: 'plan', contentType, areNullsStripped: false, plan: { output, options, of } };
}

export function builtinFormat(type: MediaType): Format | undefined {
  return Object.hasOwn(FORMATS, type.name) ? FORMATS[type.name]?.(type) : undefined;
}

/** Parses an Accept header: the media types, best liked first. */
export const parseAccept: (header: string) => readonly MediaType[] = memoize((header) =>
  splitUnquoted(header, ',')
    .map(toMediaType)
    .filter(({ name }) => name !== '')
    .map((type, position) => ({ type, position, quality: Number(type.parameters.q ?? 1) || 0 }))
    .sort((a, b) => b.quality - a.quality || a.position - b.position)
    .map(({ type }) => type),
);

function toMediaType(text: string): MediaType {
  const [name = '', ...rest] = splitUnquoted(text, ';');
  const parameters = Object.fromEntries(
    rest.map((part) => {
      const at = part.indexOf('=');
      const value = part.slice(at + 1).trim();
      return [part.slice(0, at).trim().toLowerCase(), value.replace(/^"(.*)"$/s, '$1')];
    }),
  );
  return { name: name.trim().toLowerCase(), parameters, text: text.trim() };
}

function splitUnquoted(text: string, separator: ',' | ';'): string[] {
  return text.match(separator === ',' ? /(?:"[^"]*"|[^",])+/g : /(?:"[^"]*"|[^";])+/g) ?? [];
}

const ANYTHING: readonly MediaType[] = [{ name: '*/*', parameters: {}, text: '*/*' }];

/**
 * The best liked format that there is. What `custom` offers comes first; null from it says that not even the
 * built-in format will do.
 */
export function negotiate(accept: string, custom: (type: MediaType) => Format | null | undefined): Format {
  const parsed = parseAccept(accept);
  const types = parsed.length === 0 ? ANYTHING : parsed;
  for (const type of types) {
    const own = custom(type);
    const format = own === undefined ? builtinFormat(type) : own;
    if (format) return format;
  }
  throw new RecordsError(
    'PGRST107',
    `None of these media types are available: ${types.map(({ name }) => name).join(', ')}`,
  );
}

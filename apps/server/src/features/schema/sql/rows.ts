import type { RawResult } from '#platform/db/raw-query.ts';

/** Writes one value, given as PostgreSQL's text, as JSON text. */
type Encoder = (text: string) => string;

const quote: Encoder = (text) => JSON.stringify(text);
const asItIs: Encoder = (text) => text;
const boolean: Encoder = (text) => (text === 't' ? 'true' : 'false');
/** Beyond this, JavaScript would change the digits in silence, so they travel as a string. */
const integer: Encoder = (text) => (Number.isSafeInteger(Number(text)) ? text : quote(text));
const float: Encoder = (text) => (Number.isFinite(Number(text)) ? text : quote(text));
/** Fifteen significant digits survive the way through a double; NaN and more digits become strings. */
const numeric: Encoder = (text) =>
  /^-?\d+(\.\d+)?$/.test(text) && text.replace(/^-?0*\.?0*|[.-]/g, '').length <= 15 ? text : quote(text);
/** `2026-01-31 10:00:00.5+00` -> `2026-01-31T10:00:00.5Z`; other spellings (BC, infinity, DateStyle) stay. */
const timestamp: Encoder = (text) => {
  const [, date, time, zone = ''] = /^(\d{4,}-\d\d-\d\d) ([\d:.]+)([+-]\d\d(?::\d\d)*)?$/.exec(text) ?? [];
  if (date === undefined) return quote(text);
  const offset = zone === '+00' ? 'Z' : zone.length === 3 ? `${zone}:00` : zone;
  return quote(`${date}T${time}${offset}`);
};

/** Type -> how it is written. What is not here is a string, spelt as PostgreSQL spells it. */
const ENCODERS: Readonly<Record<number, Encoder>> = {
  16: boolean,
  20: integer,
  21: integer,
  23: integer,
  26: integer,
  114: asItIs,
  700: float,
  701: float,
  1114: timestamp,
  1184: timestamp,
  1700: numeric,
  2278: () => 'null',
  3802: asItIs,
};

/** Array type -> type of its elements; -1 stands for any that is written as a string. */
const ARRAYS: Readonly<Record<number, number>> = {
  199: 114,
  1000: 16,
  1002: -1,
  1003: -1,
  1005: 21,
  1007: 23,
  1009: -1,
  1014: -1,
  1015: -1,
  1016: 20,
  1021: 700,
  1022: 701,
  1028: 26,
  1041: -1,
  1115: 1114,
  1182: -1,
  1183: -1,
  1185: 1184,
  1187: -1,
  1231: 1700,
  2951: -1,
  3807: 3802,
};

function encoderOf(type: number): Encoder {
  const element = ARRAYS[type];
  if (element === undefined) return ENCODERS[type] ?? quote;
  const encode = ENCODERS[element] ?? quote;
  return (text) => arrayAsJson(text, encode);
}

/** The rows as the text of a JSON array of objects, lossless: no value passes through a JavaScript number. */
export function rowsAsJson({ fields, rows }: Pick<RawResult, 'fields' | 'rows'>): string {
  // Of columns with the same name the last one counts, as in every JSON object.
  const last = new Map(fields.map(({ name }, index) => [name, index]));
  const columns = fields.flatMap(({ name, dataTypeID }, index) =>
    last.get(name) === index ? [{ index, key: `${JSON.stringify(name)}:`, encode: encoderOf(dataTypeID) }] : [],
  );
  const objects = rows.map((row) => {
    const members = columns.map(({ index, key, encode }) => {
      const value = row[index];
      return key + (value === null || value === undefined ? 'null' : encode(value));
    });
    return `{${members.join(',')}}`;
  });
  return `[${objects.join(',')}]`;
}

/** `{1,NULL,{"a b"}}` -> `[1,null,["a b"]]`: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
function arrayAsJson(text: string, encode: Encoder): string {
  let json = '';
  // Bounds other than from one are written in front: [0:2]={1,2,3}
  let index = text.indexOf('{');
  while (index < text.length) {
    const character = text.charAt(index);
    if (character === '{') json += '[';
    else if (character === '}') json += ']';
    else if (character === ',') json += ',';
    else {
      const isQuoted = character === '"';
      const end = isQuoted ? endOfQuoted(text, index) : endOfBare(text, index);
      const raw = text.slice(isQuoted ? index + 1 : index, end);
      if (isQuoted) json += encode(raw.replace(/\\(.)/gs, '$1'));
      else json += raw === 'NULL' ? 'null' : encode(raw);
      index = isQuoted ? end + 1 : end;
      continue;
    }
    index++;
  }
  return json;
}

function endOfQuoted(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index] !== '"') index += text[index] === '\\' ? 2 : 1;
  return index;
}

function endOfBare(text: string, start: number): number {
  let index = start;
  while (index < text.length && text[index] !== ',' && text[index] !== '}') index++;
  return index;
}

/** The query string as it came: order and repetitions matter, so it is not made an object. */
import { RecordsError } from '../errors.ts';

export type Parameter = readonly [key: string, value: string];

export function splitQuery(query: string): Parameter[] {
  const parameters: Parameter[] = [];
  for (let start = 0; start < query.length; ) {
    const next = query.indexOf('&', start);
    const end = next < 0 ? query.length : next;
    const equals = query.indexOf('=', start);
    if (equals >= 0 && equals < end)
      parameters.push([decode(query.slice(start, equals)), decode(query.slice(equals + 1, end))]);
    else if (end > start) parameters.push([decode(query.slice(start, end)), '']);
    start = end + 1;
  }
  return parameters;
}

const ENCODED = /[%+]/;

function decode(text: string): string {
  if (!ENCODED.test(text)) return text;
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw refuse(text, 'The percent-encoding is not valid UTF-8.');
  }
  // PostgreSQL has no such character, and the shapes of requests are separated by it.
  if (decoded.includes('\0')) throw refuse(text, 'The character NUL is not possible.');
  return decoded;
}

function refuse(text: string, details: string): RecordsError {
  return new RecordsError('PGRST100', `"failed to parse query string (${text})" (line 1, column 1)`, { details });
}

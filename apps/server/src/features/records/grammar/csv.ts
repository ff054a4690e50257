/** CSV bodies (RFC 4180): a header line with column names, then a line per row. */
import { RecordsError } from '../errors.ts';

/** An unquoted NULL is the null value; everything else is text, also the empty field. */
export function parseCsv(text: string): Record<string, string | null>[] {
  const [header, ...lines] = splitLines(text);
  if (!header) throw new RecordsError('PGRST102', 'Empty or invalid csv');
  return lines.map((fields) => {
    if (fields.length !== header.length) {
      throw new RecordsError('PGRST102', 'All lines must have same number of fields');
    }
    return Object.fromEntries(header.map((name, index) => [name ?? 'NULL', fields[index] ?? null]));
  });
}

const FIELD = /"((?:[^"]|"")*)"|((?!")[^,\r\n]*)/y;
const END = /,|\r?\n|\r|$/y;

function splitLines(text: string): (string | null)[][] {
  const lines: (string | null)[][] = [];
  let fields: (string | null)[] = [];
  let at = 0;
  while (at < text.length) {
    FIELD.lastIndex = at;
    const [matched = '', quoted, plain] = FIELD.exec(text) ?? [];
    END.lastIndex = at + matched.length;
    const end = END.exec(text)?.[0];
    if (end === undefined) throw new RecordsError('PGRST102', 'Empty or invalid csv');
    fields.push(quoted?.replaceAll('""', '"') ?? (plain === 'NULL' ? null : (plain ?? '')));
    at += matched.length + end.length;
    if (end === ',' && at >= text.length) fields.push('');
    if (end !== ',' || at >= text.length) {
      if (fields.length > 1 || fields[0] !== '') lines.push(fields);
      fields = [];
    }
  }
  return lines;
}

/** Random requests of the whole grammar, in whatever words names and values are to be said. */
import type { HttpRequest } from '../parse.ts';
import type { Wording } from '../schema/test-schema.ts';
import { createRandom, type Random } from './random.ts';

export interface RandomRequest {
  readonly request: HttpRequest;
  /** What of the grammar it uses. */
  readonly features: readonly string[];
}

/** One place in the graph of tables: what can be selected there, and where one can go. */
interface Place {
  readonly columns: readonly [string, ...string[]];
  /** Embeddable resources: where they lead, by the words that may stand for them. */
  readonly embeds: readonly [Embed, ...Embed[]];
}

interface Embed {
  readonly name: string;
  readonly hint?: string;
  readonly to: TableName;
  readonly isToOne: boolean;
}

type TableName = 'films' | 'directors' | 'actors' | 'roles';

const PLACES: Readonly<Record<TableName, Place>> = {
  films: {
    columns: ['id', 'title', 'year', 'shade', 'spot', 'tags', 'note', 'data', 'words', 'director_id'],
    embeds: [
      { name: 'directors', to: 'directors', isToOne: true },
      { name: 'directors', hint: 'films_director', to: 'directors', isToOne: true },
      { name: 'films_director', to: 'directors', isToOne: true },
      { name: 'director_id', to: 'directors', isToOne: true },
      { name: 'roles', to: 'roles', isToOne: false },
      { name: 'actors', hint: 'roles', to: 'actors', isToOne: false },
    ],
  },
  directors: {
    columns: ['id', 'first_name', 'last_name', 'full_name'],
    embeds: [
      { name: 'films', to: 'films', isToOne: false },
      { name: 'films', hint: 'director_id', to: 'films', isToOne: false },
      { name: 'debut', to: 'films', isToOne: true },
    ],
  },
  actors: {
    columns: ['id', 'name'],
    embeds: [
      { name: 'roles', to: 'roles', isToOne: false },
      { name: 'films', to: 'films', isToOne: false },
    ],
  },
  roles: {
    columns: ['film_id', 'actor_id', 'character'],
    embeds: [
      { name: 'films', to: 'films', isToOne: true },
      { name: 'actors', hint: 'roles_actor', to: 'actors', isToOne: true },
    ],
  },
};

const PLAIN = [
  'eq',
  'neq',
  'gt',
  'gte',
  'lt',
  'lte',
  'isdistinct',
  'cs',
  'cd',
  'ov',
  'sl',
  'sr',
  'nxr',
  'nxl',
] as const;
const LISTS = ['eq', 'gt', 'gte', 'lt', 'lte', 'like', 'ilike', 'match', 'imatch'] as const;
const SEARCHES = ['fts', 'plfts', 'phfts', 'wfts'] as const;
const TYPES = ['text', 'int', 'double precision', 'timestamp with time zone', 'int4[]', 'numeric'] as const;
const AGGREGATES = ['sum', 'avg', 'min', 'max', 'count'] as const;
const ACCEPTS = [
  'application/json',
  'application/vnd.pgrst.object+json',
  'application/vnd.pgrst.array+json;nulls=stripped',
  'text/csv',
  'application/geo+json',
  'text/films',
  'application/vnd.pgrst.plan+json; for="text/csv"; options=analyze|verbose',
] as const;

interface Writer {
  readonly random: Random;
  readonly word: Wording;
  readonly features: Set<string>;
  readonly parameters: string[];
  /** False where groups would make the statement impossible. */
  readonly mayAggregate: boolean;
}

/** Text in double quotes, as names and items of lists may stand. */
const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Of the same seed, requests in other words are of the same form. */
export function randomRequest(seed: number, schemaName: string, word: Wording): RandomRequest {
  const random = createRandom(seed);
  const features = new Set<string>();
  const writer: Writer = { random, word, features, parameters: [], mayAggregate: random.oneIn(2) };
  const used = (feature: string) => features.add(feature);
  const table = random.pick(['films', 'directors', 'actors', 'roles'] as const);
  const method = random.pick(['GET', 'GET', 'GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'CALL', 'CALL'] as const);
  used(method);
  const base: HttpRequest = {
    method,
    target: 'table',
    name: word(table),
    path: '/',
    query: '',
    headers: headersOf(writer),
    body: '',
  };
  const request = method === 'CALL' ? call(writer, base) : onTable(writer, base, table);
  const query = [`schema=${encodeURIComponent(schemaName)}`, ...writer.parameters].join('&');
  return { request: { ...request, query }, features: [...features] };
}

function headersOf({ random, features }: Writer): HttpRequest['headers'] {
  const accept = random.oneIn(3) ? random.pick(ACCEPTS) : 'application/json';
  features.add(accept.split(';', 1)[0] ?? '');
  const preferences = [
    random.pick(['return=representation', 'return=representation', 'return=minimal', 'return=headers-only']),
    random.pick(['', 'count=exact', 'count=planned', 'count=estimated']),
    random.pick(['', 'missing=default', 'tx=rollback', 'handling=strict, max-affected=3']),
    random.pick(['', 'resolution=merge-duplicates', 'resolution=ignore-duplicates']),
  ];
  return { accept, prefer: preferences.filter((text) => text !== '').join(', ') };
}

function add({ parameters }: Writer, key: string, value: string): void {
  parameters.push(`${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
}

function onTable(writer: Writer, base: HttpRequest, table: TableName): HttpRequest {
  const { random, features } = writer;
  const { method } = base;
  const [key] = PLACES[table].columns;
  if (method === 'PUT' && table !== 'roles') add(writer, quoted(writer.word(key)), `eq.${writer.word('7')}`);
  else if (method !== 'POST') filters(writer, table, []);
  const select = selectList(writer, table, [], 0);
  if (select !== '') add(writer, 'select', select);
  if (method === 'GET' || method === 'HEAD') page(writer, table, []);
  if ((method === 'PATCH' || method === 'DELETE') && random.oneIn(3)) {
    features.add('limited write');
    add(writer, 'order', quoted(writer.word(key)));
    add(writer, 'limit', '2');
  }
  if (method === 'POST' && random.oneIn(3)) {
    features.add('on_conflict');
    add(writer, 'on_conflict', quoted(writer.word(key)));
  }
  return method === 'POST' || method === 'PATCH' || method === 'PUT' ? withBody(writer, base, table) : base;
}

/** A body that names some columns, in one of the forms that bodies can have. */
function withBody(writer: Writer, base: HttpRequest, table: TableName): HttpRequest {
  const { random, word, features } = writer;
  const [key, ...others] = PLACES[table].columns.filter((name) => name !== 'full_name');
  const names = [key ?? '', ...random.some(3, () => random.pick(others as [string]))];
  const row = Object.fromEntries([...new Set(names)].map((name) => [word(name), word('value')]));
  if (random.oneIn(3)) {
    features.add('columns');
    add(writer, 'columns', [...new Set(names)].map((name) => quoted(word(name))).join());
  }
  const form = random.pick(['object', 'array', 'form', 'csv'] as const);
  features.add(`${form} body`);
  if (form === 'form') {
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    return { ...base, headers: { ...base.headers, ...type }, body: new URLSearchParams(row).toString() };
  }
  if (form === 'csv') {
    const line = (texts: string[]) => texts.map((text) => `"${text.replaceAll('"', '""')}"`).join();
    const body = `${line(Object.keys(row))}\n${line(Object.values(row))}`;
    return { ...base, headers: { ...base.headers, 'content-type': 'text/csv' }, body };
  }
  return { ...base, body: JSON.stringify(form === 'array' ? [row, row] : row) };
}

function call(writer: Writer, base: HttpRequest): HttpRequest {
  const { random, word, features } = writer;
  const name = random.pick(['search', 'search', 'total', 'shout', 'ping'] as const);
  features.add(`rpc ${name}`);
  const method = name === 'shout' || random.oneIn(2) ? 'POST' : 'GET';
  const request = { ...base, target: 'function' as const, name: word(name), method };
  if (name === 'search') {
    filters(writer, 'films', []);
    if (random.oneIn(2)) add(writer, 'select', selectList(writer, 'films', [], 0));
    page(writer, 'films', []);
  }
  if (name === 'shout')
    return { ...request, body: word('text'), headers: { ...base.headers, 'content-type': 'text/plain' } };
  const args: Record<string, unknown> = {};
  if (name === 'search') args[word('term')] = word('value');
  if (name === 'search' && random.oneIn(2)) args[word('since')] = word('1990');
  if (name === 'total') args[word('v')] = [word('a'), word('b')];
  if (method === 'POST')
    return { ...request, body: JSON.stringify(random.oneIn(3) && name === 'search' ? [args] : args) };
  for (const [key, value] of Object.entries(args)) for (const text of [value].flat()) add(writer, key, String(text));
  return request;
}

function filters(writer: Writer, table: TableName, path: readonly string[]): void {
  const { random, features } = writer;
  while (random.oneIn(2)) {
    if (random.oneIn(3)) {
      features.add(path.length > 0 ? 'embedded logic' : 'logic');
      const operator = random.pick(['or', 'and', 'not.or', 'not.and']);
      add(writer, [...path, operator].join('.'), `(${random.some(3, () => condition(writer, table, 2)).join()})`);
    } else {
      const field = fieldOf(writer, table);
      if (path.length > 0) features.add('embedded filter');
      const value = operation(writer, field.isPlain, (text) => text);
      // Quotes at the end of a key make a column of what would be a keyword.
      add(writer, [...path, field.text].join('.'), value);
    }
  }
}

function condition(writer: Writer, table: TableName, depth: number): string {
  const { random } = writer;
  if (depth > 0 && random.oneIn(4)) {
    const head = random.pick(['and', 'or', 'not.and', 'not.or']);
    return `${head}(${random.some(3, () => condition(writer, table, depth - 1)).join()})`;
  }
  const field = fieldOf(writer, table);
  return `${field.text}.${operation(writer, field.isPlain, quoted)}`;
}

function operation({ random, word, features }: Writer, isPlain: boolean, protect: (text: string) => string): string {
  const not = random.oneIn(4) ? 'not.' : '';
  const kind = random.pick(['plain', 'list', 'search', 'in', 'is', 'pattern'] as const);
  features.add(`filter ${kind}`);
  switch (kind) {
    case 'plain':
      return `${not}${random.pick(PLAIN)}.${protect(word('value'))}`;
    case 'pattern':
      return `${not}${random.pick(['like', 'ilike', 'match', 'imatch'])}.${protect(`*${word('value')}*`)}`;
    case 'list':
      return `${not}${random.pick(LISTS)}(${random.pick(['any', 'all'])}).${protect(`{${quoted(word('value'))}}`)}`;
    case 'search':
      return `${not}${random.pick(SEARCHES)}${random.oneIn(2) ? '(english)' : ''}.${protect(word('value'))}`;
    case 'in':
      return `${not}in.(${random.some(3, () => quoted(word('value'))).join()})`;
    case 'is':
      return `${not}is.${isPlain ? random.pick(['null', 'not_null', 'true', 'unknown']) : 'null'}`;
  }
}

/** A column, perhaps with a path into it. */
function fieldOf({ random, word, features }: Writer, table: TableName): { text: string; isPlain: boolean } {
  const name = random.pick(PLACES[table].columns);
  const column = quoted(word(name));
  if (!/^(data|note|spot|tags)$/.test(name) || random.oneIn(3)) return { text: column, isPlain: true };
  features.add('path');
  const keys = random.some(2, () => (random.oneIn(3) ? String(random.below(9)) : quoted(word('key'))));
  return { text: `${column}${keys.map((key) => `->${key}`).join('')}->>${quoted(word('last'))}`, isPlain: false };
}

function selectList(writer: Writer, table: TableName, path: readonly string[], depth: number): string {
  const { random, features } = writer;
  const items = random.some(4, () => {
    if (depth < 3 && random.oneIn(3)) return embed(writer, table, path, depth);
    if (random.oneIn(6)) return '*';
    return column(writer, table);
  });
  if (writer.mayAggregate && random.oneIn(4)) {
    features.add('count()');
    items.push('count()::text');
  }
  return items.join();
}

function column(writer: Writer, table: TableName): string {
  const { random, word, features } = writer;
  const alias = random.oneIn(3) ? `${quoted(word('alias'))}:` : '';
  const cast = random.oneIn(4) ? `::${random.pick(TYPES)}` : '';
  if (alias !== '') features.add('alias');
  if (cast !== '') features.add('cast');
  const { text } = fieldOf(writer, table);
  if (!writer.mayAggregate || random.below(3) > 0) return alias + text + cast;
  features.add('aggregate');
  return `${alias}${text}${cast}.${random.pick(AGGREGATES)}()${random.oneIn(3) ? '::text' : ''}`;
}

function embed(writer: Writer, table: TableName, path: readonly string[], depth: number): string {
  const { random, word, features } = writer;
  const { name, hint, to, isToOne } = random.pick(PLACES[table].embeds);
  const isSpread = random.oneIn(4);
  const alias = !isSpread && random.oneIn(3) ? `${quoted(word(`alias ${writer.parameters.length}`))}` : undefined;
  const shown = alias ?? quoted(word(name));
  const join = random.pick(['', '!inner', '!left']);
  const hinted = hint === undefined ? '' : `!${quoted(word(hint))}`;
  features.add(isSpread ? (isToOne ? 'spread one' : 'spread many') : isToOne ? 'embed one' : 'embed many');
  if (hinted !== '') features.add('hint');
  const inner = { ...writer, mayAggregate: writer.mayAggregate && !(isSpread && !isToOne) };
  const items = selectList(inner, to, [...path, shown], depth + 1);
  if (random.oneIn(3)) filters(writer, to, [...path, shown]);
  if (random.oneIn(3)) page(writer, to, [...path, shown]);
  if (random.oneIn(6)) {
    features.add('null filter');
    add(writer, [...path, shown].join('.'), random.pick(['is.null', 'not.is.null']));
  }
  if (isToOne && !writer.mayAggregate && random.oneIn(4)) {
    features.add('related order');
    const field = fieldOf(writer, to);
    add(writer, [...path, 'order'].join('.'), `${shown}(${field.text}).desc.nullslast`);
  }
  return `${isSpread ? '...' : alias === undefined ? '' : `${alias}:`}${quoted(word(name))}${hinted}${join}(${items})`;
}

function page(writer: Writer, table: TableName, path: readonly string[]): void {
  const { random, features } = writer;
  const key = (name: string) => [...path, name].join('.');
  if (random.oneIn(2)) {
    features.add(path.length > 0 ? 'embedded order' : 'order');
    const term = () =>
      `${fieldOf(writer, table).text}${random.pick(['', '.asc', '.desc'])}${random.pick(['', '.nullsfirst'])}`;
    add(writer, key('order'), random.some(2, term).join());
  }
  if (random.oneIn(3)) add(writer, key('limit'), String(random.below(2000)));
  if (random.oneIn(4)) add(writer, key('offset'), String(random.below(9)));
}

import { expect, test } from 'vitest';
import { AppError } from '#platform/errors.ts';
import { RecordsError } from './errors.ts';
import { statementOf, strangers } from './fuzz/syntax.ts';
import { type HttpRequest, parseRequest } from './parse.ts';
import { planRequest } from './plan.ts';
import { compileRequest } from './query.ts';
import { testSchema } from './schema/test-schema.ts';

const schema = await testSchema();
const OPTIONS = { areAggregatesEnabled: true, maxRows: undefined, arePlansPublic: true, extraSearchPath: ['public'] };

/** What must never become SQL, with a word in it that can be found again. */
const HOSTILE = [
  'HOSTILE',
  'HOSTILE or true',
  "HOSTILE'; drop table films; --",
  'HOSTILE"; drop table films; --',
  'HOSTILE") union select * from secrets --',
  'HOSTILE/**/or/**/1=1',
  'HOSTILE\\',
  'HOSTILE$$;select pg_sleep(9)$$',
  "E'HOSTILE",
  'HOSTILE::text',
  'HOSTILE(1)',
  'pg_sleep(HOSTILE)',
  '$1HOSTILE',
  'HOSTILE\n;select 1',
  'HOSTILE\u2028',
  'ＨHOSTILE＇',
  '"HOSTILE\\"x"',
  '"HOSTILE""x"',
  'HOSTILE->>x',
  "data->'HOSTILE'",
  'HOSTILE;',
  '(select HOSTILE)',
];

/** Places of a request where text stands; `@` is replaced. */
const PLACES: ((text: string) => Partial<HttpRequest>)[] = [
  (text) => ({ query: `select=${text}` }),
  (text) => ({ query: `select=id,a:${text}` }),
  (text) => ({ query: `select=${text}:id` }),
  (text) => ({ query: `select=id::${text}` }),
  (text) => ({ query: `select=data->${text}` }),
  (text) => ({ query: `select=data->>${text}&order=data->>${text}` }),
  (text) => ({ query: `select=data->a->"${text}"` }),
  (text) => ({ query: `select=id,${text}(id)` }),
  (text) => ({ query: `select=id,directors!${text}(id)` }),
  (text) => ({ query: `select=id,x:directors(${text})` }),
  (text) => ({ query: `select=id,...directors(${text}:last_name)` }),
  (text) => ({ query: `select=id,roles(${text})&roles.${text}=eq.1` }),
  (text) => ({ query: `select=year.${text}()` }),
  (text) => ({ query: `select=year.sum()::${text}` }),
  (text) => ({ query: `select=${text}:year.sum(),title` }),
  (text) => ({ query: `order=${text}` }),
  (text) => ({ query: `order=id.${text}` }),
  (text) => ({ query: `order=directors(${text})&select=directors(id)` }),
  (text) => ({ query: `${text}=eq.1` }),
  (text) => ({ query: `data->>${text}=eq.1` }),
  (text) => ({ query: `id=${text}.1` }),
  (text) => ({ query: `id=eq(${text}).1` }),
  (text) => ({ query: `title=eq.${text}` }),
  (text) => ({ query: `title=in.(${text},b)` }),
  (text) => ({ query: `title=like.${text}` }),
  (text) => ({ query: `title=fts(${text}).x` }),
  (text) => ({ query: `title=fts.${text}` }),
  (text) => ({ query: `title=is.${text}` }),
  (text) => ({ query: `or=(${text}.eq.1,id.eq.2)` }),
  (text) => ({ query: `or=(title.eq.${text},id.eq.2)` }),
  (text) => ({ query: `and=(not.or(data->${text}.eq.1),id.eq.2)` }),
  (text) => ({ query: `limit=${text}` }),
  (text) => ({ query: `offset=${text}` }),
  (text) => ({ query: `select=roles(*)&roles.limit=${text}` }),
  (text) => ({ query: `schema=${text}` }),
  (text) => ({ name: text }),
  (text) => ({ headers: { 'accept-profile': text } }),
  (text) => ({ headers: { prefer: `count=exact, timezone=${text}, max-affected=${text}` } }),
  (text) => ({ headers: { accept: text } }),
  (text) => ({ headers: { accept: `application/vnd.pgrst.plan+json; for="${text}"; options=${text}|analyze` } }),
  (text) => ({ headers: { range: text } }),
  (text) => ({ method: 'POST', body: JSON.stringify({ [text]: 1 }) }),
  (text) => ({ method: 'POST', body: JSON.stringify({ title: text }) }),
  (text) => ({ method: 'POST', body: JSON.stringify([{ id: 1 }, { id: 2 }]), query: `columns=id,${text}` }),
  (text) => ({
    method: 'POST',
    body: JSON.stringify({ id: 1 }),
    query: `on_conflict=${text}`,
    headers: { prefer: 'resolution=merge-duplicates' },
  }),
  (text) => ({ method: 'POST', body: `${text},title\n1,2`, headers: { 'content-type': 'text/csv' } }),
  (text) => ({
    method: 'POST',
    body: `title=${text}`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  }),
  (text) => ({ method: 'PATCH', body: JSON.stringify({ [text]: 1 }), query: `id=eq.1&select=${text}` }),
  (text) => ({ method: 'PATCH', body: JSON.stringify({ title: text }), query: `${text}=eq.1&order=${text}&limit=1` }),
  (text) => ({ method: 'PUT', body: JSON.stringify({ id: 1, title: text }), query: 'id=eq.1' }),
  (text) => ({ method: 'DELETE', query: `id=eq.${text}&select=${text}`, headers: { prefer: 'return=representation' } }),
  (text) => ({ target: 'function', name: text }),
  (text) => ({ target: 'function', name: 'search', query: `term=${text}` }),
  (text) => ({ target: 'function', name: 'search', query: `${text}=1` }),
  (text) => ({ target: 'function', name: 'search', method: 'POST', body: JSON.stringify({ [text]: 1 }) }),
  (text) => ({
    target: 'function',
    name: 'search',
    method: 'POST',
    body: JSON.stringify({ term: text }),
    query: `select=${text}`,
  }),
];

function compile(part: Partial<HttpRequest>): { text: string } | undefined {
  const request: HttpRequest = {
    method: 'GET',
    target: 'table',
    name: 'films',
    path: '/',
    query: '',
    body: '',
    ...part,
    headers: { ...part.headers },
  };
  try {
    const intent = parseRequest(request, schema, undefined);
    return compileRequest(planRequest(schema, intent, OPTIONS), schema).statement;
  } catch (error) {
    if (error instanceof RecordsError || error instanceof AppError) return undefined;
    throw error;
  }
}

/** What the schema of the test has names for. */
const NAMES = new Set(
  `public films directors actors roles id director_id title year data note tags words shade spot x y first_name last_name
  name film_id actor_id character colour colour_to_json colour_from_text colour_from_json films_agg search term since
  full_name debut total v shout ping`.split(/\s+/),
);

async function expectPlanned(part: Partial<HttpRequest>): Promise<boolean> {
  const statement = compile(part);
  if (!statement) return false;
  expect(strangers(await statementOf(statement.text), NAMES), statement.text).toEqual([]);
  return true;
}

test('hostile text in any place is refused or stays a value or an alias', async () => {
  let accepted = 0;
  for (const place of PLACES) {
    for (const text of HOSTILE) {
      for (const sent of [
        text,
        encodeURIComponent(text),
        `"${text.replace(/["\\]/g, '\\$&')}"`,
        encodeURIComponent(`"${text.replace(/["\\]/g, '\\$&')}"`),
      ]) {
        if (await expectPlanned(place(sent))) accepted++;
      }
    }
  }
  // Values are legitimate whatever they say, so a part of the corpus must come through.
  expect(accepted).toBeGreaterThan(200);
});

test('random requests make statements of the planned form or none', async () => {
  let seed = 20_240_601;
  const random = (limit: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % limit;
  };
  const pick = (list: readonly string[]) => list[random(list.length)] ?? '';
  const words = ['id', 'title', 'data', 'year', 'directors', 'roles', 'actors', 'full_name', 'count', '*', ...HOSTILE];
  const glue = [
    '',
    ',',
    '.',
    ':',
    '::',
    '->',
    '->>',
    '(',
    ')',
    '!',
    '...',
    '"',
    '{',
    '}',
    '\\',
    ' ',
    'eq',
    'in.(',
    'not.',
    'or',
    'and',
    '.sum()',
    '.desc',
    'inner',
    '1',
    '-',
  ];
  const noise = () => Array.from({ length: 1 + random(9) }, () => (random(3) ? pick(glue) : pick(words))).join('');
  let accepted = 0;
  for (let round = 0; round < 4000; round++) {
    const query = [
      `select=${noise()}`,
      `${noise()}=${pick(['eq.', 'in.(', 'is.', ''])}${noise()}`,
      `order=${noise()}`,
      `or=(${noise()})`,
    ]
      .filter(() => random(2))
      .join('&');
    if (await expectPlanned({ query, method: pick(['GET', 'PATCH', 'DELETE', 'POST']), body: '{"title":"x"}' }))
      accepted++;
  }
  expect(accepted).toBeGreaterThan(100);
});

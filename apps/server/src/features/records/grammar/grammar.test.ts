import { expect, test } from 'vitest';
import { RecordsError } from '../errors.ts';
import { closest } from '../plan/similar.ts';
import { resolveOrigins, viewOrigins } from '../schema/view-columns.ts';
import { parseCsv } from './csv.ts';
import { parseLogic, parseOperation, toArrayLiteral } from './filter.ts';
import { parseAccept } from './media-types.ts';
import { parseOrder } from './order.ts';
import { parsePrefer } from './prefer.ts';
import { splitQuery } from './query-string.ts';
import { contentRange, intersect, parseRangeHeader } from './range.ts';
import { parseSelect } from './select.ts';

const limit = (what: string) => expect.objectContaining({ code: 'PGRST100', details: `There can be ${what}.` });

const column = (name: string, more: object = {}) => ({
  kind: 'column',
  field: { name, path: [] },
  alias: undefined,
  cast: undefined,
  aggregate: undefined,
  aggregateCast: undefined,
  ...more,
});
const embed = (name: string, items: object[], more: object = {}) => ({
  kind: 'embed',
  name,
  alias: undefined,
  hint: undefined,
  join: 'left',
  isSpread: false,
  items,
  ...more,
});
const step = (arrow: string, key: string, isIndex = false) => ({ arrow, key, isIndex });

test.each([
  ['*', [{ kind: 'all' }]],
  ['a,b', [column('a'), column('b')]],
  ['x:a', [column('a', { alias: 'x' })]],
  ['a::text', [column('a', { cast: 'text' })]],
  ['x:a::timestamp with time zone', [column('a', { alias: 'x', cast: 'timestamp with time zone' })]],
  ['a::int4[]', [column('a', { cast: 'int4[]' })]],
  ['"a,b(c)"', [column('a,b(c)')]],
  ['"say \\"x\\""', [column('say "x"')]],
  ['with-dash', [column('with-dash')]],
  ['$money', [column('$money')]],
  ['naïve', [column('naïve')]],
  ['a->b->>c', [column('a', { field: { name: 'a', path: [step('->', 'b'), step('->>', 'c')] } })]],
  ['a->0->>-1', [column('a', { field: { name: 'a', path: [step('->', '0', true), step('->>', '-1', true)] } })]],
  ['a->"0"', [column('a', { field: { name: 'a', path: [step('->', '0')] } })]],
  ['a->some key!', [column('a', { field: { name: 'a', path: [step('->', 'some key!')] } })]],
  ['a.sum()', [column('a', { aggregate: 'sum' })]],
  ['t:a::int.avg()::text', [column('a', { alias: 't', cast: 'int', aggregate: 'avg', aggregateCast: 'text' })]],
  ['count()', [column('x', { field: undefined, aggregate: 'count' })]],
  ['n:count()::int', [column('x', { field: undefined, alias: 'n', aggregate: 'count', aggregateCast: 'int' })]],
  ['a(b)', [embed('a', [column('b')])]],
  ['a()', [embed('a', [])]],
  [
    'x:a!hint!inner(b,c(*))',
    [embed('a', [column('b'), embed('c', [{ kind: 'all' }])], { alias: 'x', hint: 'hint', join: 'inner' })],
  ],
  ['a!left(*)', [embed('a', [{ kind: 'all' }])]],
  ['...a(b)', [embed('a', [column('b')], { isSpread: true })]],
  ['', []],
])('select=%s', (text, items) => {
  expect(parseSelect(text)).toEqual(items);
});

test.each([
  'a,',
  ',a',
  'a(b',
  'a)b',
  'a::',
  'a->',
  'a->>',
  'x:',
  'a.sum',
  'a.median()',
  '...a',
  '...*',
  '"a',
  'a!(b)',
  '*a',
  'a b(c',
  'a->b(c)',
  'a::b(c)',
])('select=%s is refused', (text) => {
  expect(() => parseSelect(text)).toThrow(RecordsError);
});

test('select nests to a limit', () => {
  expect(() => parseSelect(`${'a('.repeat(20)}b${')'.repeat(20)}`)).not.toThrow();
  expect(() => parseSelect(`${'a('.repeat(21)}b${')'.repeat(21)}`)).toThrow(RecordsError);
  expect(() => parseSelect('a('.repeat(100_000))).toThrow(limit('at most 20 levels of embedding'));
  expect(() => parseSelect(Array(100).fill('a()').join())).not.toThrow();
  expect(() => parseSelect(Array(101).fill('a()').join())).toThrow(limit('at most 100 embedded resources'));
});

test.each([
  ['eq.1', { kind: 'compare', operator: 'eq', value: '1' }],
  ['eq.', { kind: 'compare', operator: 'eq', value: '' }],
  ['not.eq.1', { kind: 'compare', operator: 'eq', value: '1', isNegated: true }],
  ['eq.a.b,c)"', { kind: 'compare', operator: 'eq', value: 'a.b,c)"' }],
  ['like.a*b', { kind: 'compare', operator: 'like', value: 'a%b' }],
  ['match.a*b', { kind: 'compare', operator: 'match', value: 'a*b' }],
  ['gt(any).{1,2}', { kind: 'compare', operator: 'gt', value: '{1,2}', quantifier: 'any' }],
  ['fts(english).a b', { kind: 'compare', operator: 'fts', value: 'a b', language: 'english' }],
  ['in.(1,2)', { kind: 'in', value: '{"1","2"}' }],
  ['in.()', { kind: 'in', value: '{}' }],
  ['in.("a,b","c\\"d",e"f)', { kind: 'in', value: '{"a,b","c\\"d","e\\"f"}' }],
  ['in.("a"b,c)', { kind: 'in', value: '{"\\"a\\"b","c"}' }],
  ['is.null', { kind: 'is', value: 'null' }],
  ['is.TRUE', { kind: 'is', value: 'true' }],
  ['not.is.not_null', { kind: 'is', value: 'not_null', isNegated: true }],
])('filter %s', (text, expected: Record<string, unknown>) => {
  const list: (string | null)[] = [];
  const parsed: Record<string, unknown> = { ...parseOperation(text, { list }) };
  const read = (index: unknown) => (typeof index === 'number' ? list[index] : index);
  const said = { ...parsed, value: read(parsed.value), language: read(parsed.language) };
  expect(said).toMatchObject({ isNegated: false, ...expected });
});

test.each(['5', 'eq', 'foo.1', 'not.5', 'neq(any).1', 'in.1', 'eq(some).1', 'EQ.1', ''])(
  '%s is no operation',
  (text) => {
    expect(parseOperation(text, { list: [] })).toBeUndefined();
  },
);

test.each(['in.(1', 'in.(1)2', 'is.', 'is.nullx', 'is.1'])('filter %s is refused', (text) => {
  expect(() => parseOperation(text, { list: [] })).toThrow(RecordsError);
});

test('logic trees keep their form and collect their values in order', () => {
  const list: string[] = [];
  const tree = parseLogic('(a.eq.1,not.and(b.in.(2,"3,4"),c.is.null),d->>e.like.x*)', 'or', false, { list });
  expect(list).toEqual(['1', '{"2","3,4"}', 'x%']);
  expect(tree).toMatchObject({
    operator: 'or',
    conditions: [
      { field: { name: 'a' } },
      { operator: 'and', isNegated: true, conditions: [{ operation: { kind: 'in' } }, { operation: { kind: 'is' } }] },
      { field: { name: 'd' } },
    ],
  });
  for (const bad of ['', '()', '(a)', '(a.eq.1', 'a.eq.1', '(a.eq.1,)']) {
    expect(() => parseLogic(bad, 'and', false, { list: [] }), bad).toThrow(RecordsError);
  }
});

test('logic nests to a limit', () => {
  const nested = (levels: number) => {
    const text = `${'(or'.repeat(levels - 1)}(a.eq.1)${')'.repeat(levels - 1)}`;
    return () => parseLogic(text, 'and', false, { list: [] });
  };
  expect(nested(50)).not.toThrow();
  expect(nested(51)).toThrow(limit('at most 50 levels of and() and or()'));
  expect(nested(100_000)).toThrow(limit('at most 50 levels of and() and or()'));
});

test.each([
  ['a', [{ field: { name: 'a', path: [] }, direction: undefined, nulls: undefined }]],
  ['a.desc,b.asc.nullslast', [{ direction: 'desc' }, { direction: 'asc', nulls: 'last' }]],
  ['a.nullsfirst', [{ direction: undefined, nulls: 'first' }]],
  ['a->>b.desc', [{ field: { path: [step('->>', 'b')] }, direction: 'desc' }]],
  ['rel(a).desc', [{ embed: 'rel', field: { name: 'a' }, direction: 'desc' }]],
])('order=%s', (text, terms) => {
  expect(parseOrder(text)).toMatchObject(terms);
});

test.each(['', 'a.up', 'a.desc.asc', 'a.nullslast.desc', 'rel(a', 'rel(a)b', 'a,'])('order=%s is refused', (text) => {
  expect(() => parseOrder(text)).toThrow(RecordsError);
});

test('preferences: the first of a kind counts, the rest is reported', () => {
  expect(
    parsePrefer('return=minimal, return=representation,count=exact , foo, tx=maybe, max-affected=7,timezone=UTC'),
  ).toMatchObject({
    return: 'minimal',
    count: 'exact',
    tx: undefined,
    maxAffected: 7,
    timezone: 'UTC',
    invalid: ['foo', 'tx=maybe'],
  });
});

test('media types are ordered by how well they are liked', () => {
  const names = (accept: string) => parseAccept(accept).map(({ name }) => name);
  expect(names('text/csv;q=0.5, application/json, */*;q=0.1')).toEqual(['application/json', 'text/csv', '*/*']);
  expect(names('A/B; x="q=1, ;z", c/d')).toEqual(['a/b', 'c/d']);
  expect(names('')).toEqual([]);
});

test('ranges', () => {
  expect(parseRangeHeader('0-9')).toEqual({ offset: 0, limit: 10 });
  expect(parseRangeHeader('5-')).toEqual({ offset: 5, limit: undefined });
  expect(parseRangeHeader('items=5-5')).toEqual({ offset: 5, limit: 1 });
  expect(parseRangeHeader('bytes=a')).toBeUndefined();
  expect(() => parseRangeHeader('9-1')).toThrow(RecordsError);
  expect(intersect({ offset: 0, limit: 10 }, { offset: 5, limit: undefined })).toEqual({ offset: 5, limit: 5 });
  expect(intersect({ offset: 0, limit: 2 }, { offset: 5, limit: 2 })).toEqual({ offset: 5, limit: 0 });
  expect([contentRange(0, 0, 0), contentRange(5, 2, undefined), contentRange(0, 3, 9)]).toEqual([
    '*/0',
    '5-6/*',
    '0-2/9',
  ]);
});

test('csv', () => {
  expect(parseCsv('a,b\n1,"x, ""y""\nz"\r\nNULL,\n')).toEqual([
    { a: '1', b: 'x, "y"\nz' },
    { a: null, b: '' },
  ]);
  expect(parseCsv('a\n"NULL"')).toEqual([{ a: 'NULL' }]);
  for (const bad of ['', 'a,b\n1', 'a\n"x"y', 'a\n"x']) expect(() => parseCsv(bad), bad).toThrow(RecordsError);
});

test('query strings keep order and repetitions', () => {
  expect(splitQuery('a=1&b=%2B+x&a=2&c&=d&&e=f=g')).toEqual([
    ['a', '1'],
    ['b', '+ x'],
    ['a', '2'],
    ['c', ''],
    ['', 'd'],
    ['e', 'f=g'],
  ]);
  for (const bad of ['a=%ff', 'a=%00', '%E0%A4=1']) expect(() => splitQuery(bad), bad).toThrow(RecordsError);
});

test('array literals quote every element', () => {
  expect(toArrayLiteral(['a', 'b"c', 'd\\e', '', null, '{x}'])).toBe('{"a","b\\"c","d\\\\e","",NULL,"{x}"}');
});

test('a slip of the pen is recognised, another word is not', () => {
  expect(closest('director', ['films', 'directors', 'actors'])).toBe('directors');
  expect(closest('add_then', ['add_them'])).toBe('add_them');
  expect(closest('zzz', ['films'])).toBeUndefined();
});

test('the columns of a view are traced to tables, through views on views', () => {
  const tree = (entries: string) =>
    `({QUERY :commandType 1 :rtable ({RTE :alias \\{x :subquery {QUERY :targetList ({TARGETENTRY :resno 9 :resorigtbl 9 :resorigcol 9 :resjunk false})}}) :targetList (${entries}) :rest <>})`;
  const entry = (number: number, relation: number, origin: number) =>
    `{TARGETENTRY :expr {VAR :varno 1 :varattno 1} :resno ${number} :resname a\\ \\(b\\) :ressortgroupref 0 :resorigtbl ${relation} :resorigcol ${origin} :resjunk false}`;
  const first = viewOrigins(tree(entry(1, 100, 3) + entry(2, 0, 0) + entry(3, 100, 1)));
  expect([...first]).toEqual([
    [1, { relation: 100, column: 3 }],
    [3, { relation: 100, column: 1 }],
  ]);
  const second = viewOrigins(tree(entry(1, 200, 3) + entry(2, 200, 2)));
  const loop = viewOrigins(tree(entry(1, 400, 1)));
  const resolved = resolveOrigins(
    new Map([
      [200, first],
      [300, second],
      [400, loop],
    ]),
  );
  expect([...(resolved.get(300) ?? [])]).toEqual([[1, { relation: 100, column: 1 }]]);
  expect(resolved.get(400)?.size).toBe(0);
});

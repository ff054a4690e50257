import { expect, test } from 'vitest';
import { AppError } from '#platform/errors.ts';
import { RecordsError } from '../errors.ts';
import { type HttpRequest, parseRequest } from '../parse.ts';
import { planRequest } from '../plan.ts';
import { compileRequest } from '../query.ts';
import { testSchema, type Wording } from '../schema/test-schema.ts';
import type { Schema } from '../schema/types.ts';
import { randomRequest } from './requests.ts';
import { shapeOfPlan } from './shape.ts';
import { difference, shapeOfStatement, statementOf, strangers } from './syntax.ts';

/** What must never become SQL, whatever it stands for: a schema, a table, a column, a key, a value. */
const HOSTILE = [
  `"; drop table films; --`,
  `'; drop table films; --`,
  `") union select * from secrets --`,
  `/**/or/**/1=1 `,
  `\\`,
  `$$;select pg_sleep(9)$$`,
  `E'x`,
  `::text `,
  `(select 1) `,
  `$1`,
  `\n;select 1 -- `,
  `\u2028`,
  `＇ or true `,
  `"x" `,
  `a,b) or (1=1 `,
  `:= $2 `,
  `% `,
];

/** Says every word with something hostile before it, always the same for one word. */
function hostileWording(): { word: Wording; words: Map<string, string> } {
  const words = new Map<string, string>();
  const word = (plain: string) => {
    const known = words.get(plain);
    if (known !== undefined) return known;
    const hostile = `${HOSTILE[words.size % HOSTILE.length]}${plain}`;
    words.set(plain, hostile);
    return hostile;
  };
  return { word, words };
}

const OPTIONS = { areAggregatesEnabled: true, maxRows: undefined, arePlansPublic: true, extraSearchPath: ['public'] };

function compile(request: HttpRequest, schema: Schema) {
  try {
    const intent = parseRequest(request, schema, undefined);
    const plan = planRequest(schema, intent, OPTIONS);
    const { statement, estimate } = compileRequest(plan, schema);
    return { intent, plan, statement, estimate };
  } catch (error) {
    if (error instanceof RecordsError || error instanceof AppError) return `${'code' in error ? error.code : error}`;
    throw error;
  }
}

/** A statement and its hostile twin: the same tree but for the words, and the same values in the same places. */
async function expectTwins(seed: number, plain: Schema, hostile: Schema, twin: ReturnType<typeof hostileWording>) {
  const { request, features } = randomRequest(seed, 'shop', (text) => text);
  const one = compile(request, plain);
  const other = compile(randomRequest(seed, twin.word('shop'), twin.word).request, hostile);
  const about = `${seed}: ${request.method} ${request.name}?${decodeURIComponent(request.query)} ${request.body}`;
  if (typeof one === 'string' || typeof other === 'string') {
    const outcomes = [one, other].map((outcome) => (typeof outcome === 'string' ? outcome : 'compiled'));
    expect(outcomes[1], about).toBe(outcomes[0]);
    return [];
  }
  const tree = await statementOf(one.statement.text);
  expect(difference(tree, await statementOf(other.statement.text), twin.words), about).toBeUndefined();
  const kinds = [one, other].map(({ statement }) =>
    statement.slots.map((slot) => (typeof slot === 'number' ? slot : Object.keys(slot))),
  );
  expect(kinds[1], about).toEqual(kinds[0]);
  expect(other.intent.values.length, about).toBe(one.intent.values.length);
  if (one.estimate && other.estimate) {
    const trees = [await statementOf(one.estimate.text), await statementOf(other.estimate.text)];
    expect(difference(trees[0], trees[1], twin.words), about).toBeUndefined();
  }
  const names = new Set(['shop', ...twin.words.keys()]);
  expect(strangers(tree, names), about).toEqual([]);
  const { plan, intent } = one;
  if (
    !plan.write &&
    intent.preferences.count === undefined &&
    plan.guards.length === 0 &&
    plan.node.source.kind === 'relation'
  ) {
    expect(shapeOfStatement(tree), about).toEqual(shapeOfPlan(plan.node));
  }
  return features;
}

/** Every part of the grammar that must have come through often. */
const FEATURES = `GET HEAD POST PATCH PUT DELETE CALL
  alias|aggregate|cast|count()|path|hint|embed one|embed many|spread one|spread many|null filter|related order|order
  embedded order|embedded filter|embedded logic|logic|filter plain|filter list|filter search|filter in|filter is
  filter pattern|columns|on_conflict|limited write|object body|array body|form body|csv body|rpc search|rpc total
  rpc shout|rpc ping|text/csv|text/films|application/geo+json|application/json|application/vnd.pgrst.object+json
  application/vnd.pgrst.array+json|application/vnd.pgrst.plan+json`
  .replace('GET HEAD POST PATCH PUT DELETE CALL', 'GET|HEAD|POST|PATCH|PUT|DELETE|CALL')
  .split(/\s*[|\n]\s*/);

test('whatever words a request uses, its statement has the planned form', async () => {
  const twin = hostileWording();
  const plain = await testSchema((name) => name, 'shop');
  const hostile = await testSchema(twin.word, twin.word('shop'));
  // What a write returns for a field that is a function.
  twin.words.set('computed full_name', `computed ${twin.word('full_name')}`);
  const accepted = new Map<string, number>();
  for (let seed = 1; seed <= 3000; seed++) {
    const features = await expectTwins(seed, plain, hostile, twin);
    for (const feature of features) accepted.set(feature, (accepted.get(feature) ?? 0) + 1);
  }
  for (const feature of FEATURES) expect(accepted.get(feature) ?? 0, feature).toBeGreaterThan(5);
});

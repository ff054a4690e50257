import { expect, test } from 'vitest';
import { Lines } from './lines.ts';
import { splitScript } from './split.ts';

async function split(
  script: string,
  pieceLength = script.length,
): Promise<[kind: string, text: string, line: number][]> {
  const source = async function* () {
    const bytes = Buffer.from(script);
    for (let index = 0; index < bytes.length; index += pieceLength) yield bytes.subarray(index, index + pieceLength);
  };
  const lines = new Lines(source());
  const parts: [string, string, number][] = [];
  for await (const { kind, text, line } of splitScript(lines)) {
    parts.push([kind, text, line]);
    if (/^copy .* from stdin/i.test(text)) {
      let data = '';
      for await (const piece of lines.data()) data += piece.toString();
      parts.push(['data', data, lines.number]);
    }
  }
  return parts;
}

test.each([
  ['select 1;\nselect 2', ['select 1', 'select 2']],
  ['select 1; select 2;;\n;', ['select 1', 'select 2']],
  [
    `select ';', "a;b", $$;$$, $x$ $$; $x$, E'\\';'; select 2`,
    [`select ';', "a;b", $$;$$, $x$ $$; $x$, E'\\';'`, 'select 2'],
  ],
  [`select 'a''; b'; select 2`, [`select 'a''; b'`, 'select 2']],
  [`select 'a\\'; select 2`, [`select 'a\\'`, 'select 2']],
  ['select 1 -- ; no\n; select 2', ['select 1 -- ; no', 'select 2']],
  ['select /* ; /* ; */ ; */ 1; select 2', ['select /* ; /* ; */ ; */ 1', 'select 2']],
  ['select (1 /* ) */); select 2', ['select (1 /* ) */)', 'select 2']],
  [
    'create rule r as on insert to t do (select 1; select 2); select 3',
    ['create rule r as on insert to t do (select 1; select 2)', 'select 3'],
  ],
  [
    'create function f() returns int begin atomic select case when true then 1 else 2 end; select 2; end; select 3',
    ['create function f() returns int begin atomic select case when true then 1 else 2 end; select 2; end', 'select 3'],
  ],
  [
    `do $body$\nbegin\n  perform 1;\nend $body$;\nselect a$1, b$b$ from t; select 2`,
    ['do $body$\nbegin\n  perform 1;\nend $body$', 'select a$1, b$b$ from t', 'select 2'],
  ],
  ['begin; select atomic; end', ['begin', 'select atomic', 'end']],
  [
    `select U&'d\\0061t;a', B'1', 'multi\n;line'; select 2`,
    [`select U&'d\\0061t;a', B'1', 'multi\n;line'`, 'select 2'],
  ],
])('%s', async (script, statements) => {
  expect((await split(script)).map(([, text]) => text)).toEqual(statements);
  // However the bytes arrive.
  expect((await split(script, 1)).map(([, text]) => text)).toEqual(statements);
});

test('lines are counted, psql’s own are told apart, and the data of COPY is left alone', async () => {
  const script = `\\restrict abc
-- a comment
select 1;

COPY t (a) FROM stdin;
1;'"
\\.not the end
\\.
select
  2;
COPY empty FROM stdin;
\\.
COPY t FROM stdin;
last`;
  for (const length of [script.length, 1, 7]) {
    expect(await split(script, length)).toEqual([
      ['psql', '\\restrict abc', 1],
      ['statement', '-- a comment\nselect 1', 2],
      ['statement', 'COPY t (a) FROM stdin', 5],
      ['data', `1;'"\n\\.not the end\n`, 8],
      ['statement', 'select\n  2', 9],
      ['statement', 'COPY empty FROM stdin', 11],
      ['data', '', 12],
      ['statement', 'COPY t FROM stdin', 13],
      ['data', 'last', 13],
    ]);
  }
});

test('a command of psql is one behind a comment, and none inside of a statement', async () => {
  expect(await split("--\n-- a dump; of\n--\n\n\\restrict abc\n/* \n\\no */ select '\n\\no'\n;\\no\n")).toEqual([
    ['psql', '\\restrict abc', 5],
    ['statement', "/* \n\\no */ select '\n\\no'", 6],
    ['statement', '\\no', 9],
  ]);
});

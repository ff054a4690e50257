import { expect, test } from 'vitest';
import { type Api, type Headers, startApi } from './start.ts';

/** Of a safe everybody may read the columns `id` and `label`; nobody but the admin its `code` and `owner`. */
const SAFES = `
  create table owners (id int primary key, name text);
  create table safes (id int primary key, label text, code text unique, owner int references owners);
  create table visits (safe int references safes, owner int references owners, note text, primary key (safe, owner));
  insert into owners values (1, 'Ann'), (2, 'Bob');
  insert into safes values (1, 'left', '1234', 1), (2, 'right', '9999', 2);
  insert into visits values (1, 1, 'a'), (1, 2, 'b');
  alter table owners disable row level security;
  alter table safes disable row level security;
  alter table visits disable row level security;
  revoke all on owners, safes, visits from anon, authenticated;
  grant select on owners to anon, authenticated;
  grant select (id, label), insert, update, delete on safes to anon, authenticated;
  grant select (safe, note) on visits to anon, authenticated;
  create function label_length(safes) returns int stable language sql as $$ select length($1.label) $$;
  create function code_length(safes) returns int stable language sql as $$ select length($1.code) $$;
  create function all_safes() returns setof safes stable language sql as $$ select * from safes $$;
  create function code_of(safe int) returns text stable language sql as $$ select code from safes where id = safe $$;
`;

const ROWS: Headers = { prefer: 'return=representation' };
const MERGE: Headers = { prefer: 'resolution=merge-duplicates' };
const IGNORE: Headers = { prefer: 'resolution=ignore-duplicates' };

interface Probe {
  method?: 'get' | 'head' | 'post' | 'patch' | 'put' | 'delete';
  path: string;
  body?: object;
  headers?: Headers;
}

/** Pairs of what is allowed and what asks for one thing more. */
const READS: readonly (readonly [allowed: string, refused: string])[] = [
  ['safes?select=id,label', 'safes'],
  ['safes?select=label', 'safes?select=code'],
  ['safes?select=x:label::text', 'safes?select=x:code::text'],
  ['safes?select=label->a', 'safes?select=code->a'],
  ['safes?select=label.max()', 'safes?select=code.max()'],
  ['safes?select=label,count()', 'safes?select=code,count()'],
  ['safes?select=count()&label=eq.left', 'safes?select=count()&code=eq.1234'],
  ['safes?select=id&label=eq.left', 'safes?select=id&code=eq.1234'],
  ['safes?select=id&label=not.eq.left', 'safes?select=id&code=not.eq.1234'],
  ['safes?select=id&label=in.(left)', 'safes?select=id&code=in.(1234)'],
  ['safes?select=id&label=is.null', 'safes?select=id&code=is.null'],
  ['safes?select=id&label=like(any).{l*}', 'safes?select=id&code=like(any).{1*}'],
  ['safes?select=id&label=match.^l', 'safes?select=id&code=match.^1'],
  ['safes?select=id&label=fts.left', 'safes?select=id&code=fts.1234'],
  ['safes?select=id&label=isdistinct.left', 'safes?select=id&code=isdistinct.1234'],
  ['safes?select=id&label->>a=eq.1', 'safes?select=id&code->>a=eq.1'],
  ['safes?select=id&or=(label.eq.left,id.eq.1)', 'safes?select=id&or=(code.eq.1234,id.eq.1)'],
  ['safes?select=id&not.and=(label.eq.x,id.eq.9)', 'safes?select=id&not.and=(id.eq.9,or(code.eq.1,code.is.null))'],
  ['safes?select=id&order=label', 'safes?select=id&order=code'],
  ['safes?select=id&order=label.desc.nullslast&limit=1', 'safes?select=id&order=code.desc.nullslast&limit=1'],
  ['safes?select=id,visits(safe,note)', 'safes?select=id,visits(*)'],
  ['safes?select=id,visits(note)&visits.note=eq.a', 'safes?select=id,visits(note)&visits.owner=eq.1'],
  ['safes?select=id,visits!inner(note)', 'safes?select=id,owners!owner!inner(name)'],
  ['safes?select=id,visits()&visits=is.null', 'safes?select=id,owners!owner()&owners=is.null'],
  ['safes?select=id,...visits(note)', 'safes?select=id,...owners!owner(name)'],
  ['visits?select=note,safes(label)', 'visits?select=note,safes(code)'],
  ['visits?select=note,safes(label)&safes.label=eq.left', 'visits?select=note,safes(label)&safes.code=eq.1'],
  ['visits?select=note,safes(id)&order=safes(label)', 'visits?select=note,safes(id)&order=safes(code)'],
  ['visits?select=note,...safes(label)', 'visits?select=note,...safes(code)'],
  ['visits?select=note.count(),...safes(label)', 'visits?select=note.count(),...safes(code)'],
  ['owners?select=name', 'owners?select=name,safes!visits(label)'],
  ['owners?select=name', 'owners?select=name,safes!safes_owner_fkey(label)'],
  ['owners?select=name', 'owners?select=name,safes!owner()&safes=not.is.null'],
  ['owners?select=name', 'owners?select=name,visits(note)'],
  ['safes?select=id', 'safes?select=id,label_length'],
  ['safes?select=id', 'safes?select=id&code_length=eq.4'],
  ['safes?select=id', 'safes?select=ctid'],
  ['owners?select=name', 'rpc/all_safes?select=id'],
  ['owners?select=name', 'rpc/all_safes?code=eq.1234&select=id'],
  ['owners?select=name', 'rpc/code_of?safe=1'],
];

const WRITES: readonly (readonly [allowed: Probe, refused: Probe])[] = [
  [
    { method: 'post', path: 'safes?select=id', body: { id: 3, label: 'new', code: '1' }, headers: ROWS },
    { method: 'post', path: 'safes?select=code', body: { id: 4, label: 'new', code: '1' }, headers: ROWS },
  ],
  [
    { method: 'post', path: 'safes?select=id,visits(note)', body: { id: 5 }, headers: ROWS },
    { method: 'post', path: 'safes?select=id,owners!owner(name)', body: { id: 6, owner: 1 }, headers: ROWS },
  ],
  [
    { method: 'post', path: 'safes?on_conflict=id&columns=id,label', body: { id: 1, label: 'left' }, headers: IGNORE },
    { method: 'post', path: 'safes?on_conflict=code', body: { id: 7, code: '1234' }, headers: IGNORE },
  ],
  [
    { method: 'post', path: 'safes', body: { id: 1, label: 'left' }, headers: MERGE },
    { method: 'post', path: 'safes?on_conflict=code', body: { id: 8, code: '9999' }, headers: MERGE },
  ],
  [
    { method: 'patch', path: 'safes?label=eq.left', body: { label: 'left' } },
    { method: 'patch', path: 'safes?code=eq.1234', body: { label: 'found' } },
  ],
  [
    { method: 'patch', path: 'safes?id=eq.1&select=label', body: { label: 'left' }, headers: ROWS },
    { method: 'patch', path: 'safes?id=eq.1&select=code', body: { label: 'found' }, headers: ROWS },
  ],
  [
    { method: 'patch', path: 'safes?order=label&limit=1', body: { label: 'left' } },
    { method: 'patch', path: 'safes?order=code&limit=1', body: { label: 'found' } },
  ],
  [
    { method: 'put', path: 'safes?id=eq.1', body: { id: 1, label: 'left' } },
    { method: 'put', path: 'safes?id=eq.1', body: { id: 1, label: 'found' }, headers: ROWS },
  ],
  [
    { method: 'delete', path: 'safes?label=eq.nothing' },
    { method: 'delete', path: 'safes?code=eq.1234' },
  ],
  [
    { method: 'delete', path: 'safes?id=eq.99&select=id', headers: ROWS },
    { method: 'delete', path: 'safes?id=eq.2&select=id&or=(code.is.null,id.eq.2)', headers: ROWS },
  ],
];

async function send({ as }: Api, who: 'anon' | 'alice', { method = 'get', path, body, headers }: Probe) {
  const caller = as(who);
  if (method === 'get' || method === 'head') return caller[method](path, headers);
  if (method === 'delete') return caller.delete(path, headers);
  return caller[method](path, body, headers);
}

/** The refusal, which tells of the table at most. */
const refusal = {
  code: '42501',
  details: null,
  hint: null,
  message: expect.stringMatching(/^permission denied for table (safes|visits)$/),
};

test.each([
  ['anon', 401],
  ['alice', 403],
] as const)('%s cannot probe a column by reading', async (who, denied) => {
  const api = await startApi(SAFES);
  for (const [allowed, path] of READS) {
    expect.soft((await send(api, who, { path: allowed })).status, allowed).toBe(200);
    const refused = await send(api, who, { path });
    expect.soft([refused.status, refused.body], path).toEqual([denied, refusal]);
    const head = await send(api, who, { path, method: 'head' });
    // Without a body PostgreSQL may leave out a join that cannot change the rows, and then there is nothing to tell.
    const told = head.status === denied ? undefined : head.headers['content-range'];
    expect.soft([undefined, '0-1/*'], path).toContain(told);
    const forms: Headers[] = [
      { prefer: 'count=exact' },
      { prefer: 'count=planned' },
      { prefer: 'count=estimated' },
      { accept: 'text/csv' },
      { accept: 'application/vnd.pgrst.object+json' },
    ];
    for (const headers of forms) {
      expect.soft((await send(api, who, { path, headers })).status, `${path} ${JSON.stringify(headers)}`).toBe(denied);
    }
    const plan = await send(api, who, { path, headers: { accept: 'application/vnd.pgrst.plan' } });
    expect.soft([plan.status, plan.body.code], path).toEqual([406, 'PGRST107']);
  }
});

test.each([
  ['anon', 401],
  ['alice', 403],
] as const)('%s cannot probe a column by writing', async (who, denied) => {
  const api = await startApi(SAFES);
  for (const [allowed, probe] of WRITES) {
    expect.soft((await send(api, who, allowed)).status, allowed.path).toBeLessThan(300);
    const refused = await send(api, who, probe);
    expect.soft([refused.status, refused.body], probe.path).toEqual([denied, refusal]);
  }
  expect(await api.sql('select id, label, code from safes order by id')).toEqual([
    { id: 1, label: 'left', code: '1234' },
    { id: 2, label: 'right', code: '9999' },
    { id: 3, label: 'new', code: '1' },
    { id: 5, label: null, code: null },
  ]);
});

test('errors do not tell values that may not be read', async () => {
  const api = await startApi(SAFES);
  const { post, patch } = api.as('alice');
  const duplicate = await post('safes', { id: 9, code: '9999' });
  expect([duplicate.status, duplicate.body.code, duplicate.body.details]).toEqual([409, '23505', null]);
  const taken = await patch('safes?id=eq.1', { code: '9999' });
  expect([taken.status, taken.body.details]).toEqual([409, null]);
  const empty = await patch('safes?id=eq.1', { id: null });
  expect([empty.status, empty.body.code]).toEqual([400, '23502']);
  expect(empty.text).not.toContain('1234');
});

import { createAdminClient, createClient } from '@insforge/sdk';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/platform/postgres/cluster.ts';
import { PGVECTOR_BIN, requirePgvector } from '../pgvector.ts';
import { type ServerProcess, scratchFolder, startServer } from '../start/process.ts';

const MIGRATION = `
  create extension if not exists vector;
  create table documents (
    id bigint generated always as identity primary key,
    owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
    content text not null,
    embedding vector(3) not null
  );
  create index on documents (owner);
  create index documents_embedding on documents using hnsw (embedding vector_cosine_ops);
  create policy own on documents to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
  create function match_documents(query_embedding vector(3), match_threshold float, match_count int)
  returns table (id bigint, content text, similarity float) language sql stable as $$
    select d.id, d.content, 1 - (d.embedding <=> query_embedding) as similarity from documents d
    where 1 - (d.embedding <=> query_embedding) > match_threshold
    order by d.embedding <=> query_embedding limit match_count
  $$;`;

/** The admin's requests to a server, and the answers. */
async function adminOf(server: ServerProcess) {
  await server.ready();
  const keys = await server.credentials();
  const send = async (method: string, path: string, body?: unknown) => {
    const reply = await fetch(`${server.url}/api/database/${path}`, {
      method,
      headers: { 'x-api-key': keys.ACCESS_API_KEY ?? '', 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: reply.status, body: (await reply.json()) as any };
  };
  const sql = (query: string, params: unknown[] = []) => send('POST', 'advance/rawsql', { query, params });
  return { send, sql, apiKey: keys.ACCESS_API_KEY ?? '', anonKey: keys.ACCESS_ANON_KEY ?? '' };
}

/** A PostgreSQL with pgvector that somebody else runs. */
async function startElsewhere(): Promise<string> {
  const dataDir = await scratchFolder();
  const options = { dataDir, password: 'elsewhere', database: 'app', binDir: PGVECTOR_BIN };
  const { connection, stop } = await startPostgres({ ...options, log: pino({ level: 'silent' }) });
  onTestFinished(stop);
  return `postgresql://postgres:elsewhere@localhost/app?host=${encodeURIComponent(connection.host ?? '')}`;
}

const PLACES = { POSTGRES_BIN_DIR: async () => PGVECTOR_BIN, DATABASE_URL: startElsewhere };

for (const [variable, place] of Object.entries(PLACES)) {
  test(`users search their documents by meaning, on a PostgreSQL with pgvector by ${variable}`, async ({ skip }) => {
    requirePgvector(skip);
    const server = await startServer({ [variable]: await place() });
    const admin = await adminOf(server);
    const migrated = await admin.send('POST', 'migrations', { version: '1', name: 'documents', sql: MIGRATION });
    expect([migrated.status, migrated.body.warnings]).toEqual([201, undefined]);

    const baseUrl = server.url.replace('127.0.0.1', 'localhost');
    const signUp = async (name: string) => {
      const client = createClient({ baseUrl, anonKey: admin.anonKey, isServerMode: true });
      const { error } = await client.auth.signUp({ email: `${name}@example.com`, password: 'correct horse', name });
      expect(error).toBeNull();
      return client.database;
    };
    const [ada, bob] = [await signUp('ada'), await signUp('bob')];
    const inserted = await ada
      .from('documents')
      .insert([
        { content: 'up', embedding: [0, 1, 0] },
        { content: 'right', embedding: '[1,0,0]' },
        { content: 'up and right', embedding: [1, 1, 0] },
      ])
      .select('content, embedding');
    expect([inserted.error, inserted.data?.[1]]).toEqual([null, { content: 'right', embedding: '[1,0,0]' }]);
    await bob.from('documents').insert([{ content: 'of bob', embedding: [0, 1, 0.01] }]);

    const nearest = { query_embedding: [0, 2, 0], match_threshold: 0.5, match_count: 5 };
    const found = await ada.rpc('match_documents', nearest);
    expect([found.error, found.data]).toEqual([
      null,
      [
        { id: 1, content: 'up', similarity: 1 },
        { id: 3, content: 'up and right', similarity: expect.closeTo(Math.SQRT1_2) },
      ],
    ]);
    expect((await bob.rpc('match_documents', nearest)).data).toMatchObject([{ content: 'of bob' }]);
    const all = createAdminClient({ baseUrl, apiKey: admin.apiKey }).database;
    expect((await all.rpc('match_documents', nearest)).data).toHaveLength(3);
    const anon = createClient({ baseUrl, anonKey: admin.anonKey, isServerMode: true }).database;
    expect((await anon.rpc('match_documents', nearest)).data).toEqual([]);
    const wrong = await ada.rpc('match_documents', { ...nearest, query_embedding: [1, 2] });
    expect(wrong.error).toMatchObject({ message: 'different vector dimensions 3 and 2' });
  });
}

test('vectors in SQL, in the tables API, in what there is, and in a dump', async ({ skip }) => {
  requirePgvector(skip);
  const admin = await adminOf(await startServer({ POSTGRES_BIN_DIR: PGVECTOR_BIN }));
  expect(await admin.sql('create extension vector')).toMatchObject({ status: 200 });
  const columns = [{ columnName: 'embedding', type: 'vector(3)', isNullable: false }];
  expect(await admin.send('POST', 'tables', { tableName: 'points', columns })).toMatchObject({ status: 201 });
  expect((await admin.send('GET', 'tables/points/schema')).body.columns[1]).toMatchObject({ type: 'vector(3)' });
  const added = { addColumns: [{ columnName: 'half', type: 'halfvec(2)' }] };
  expect(await admin.send('PATCH', 'tables/points/schema', added)).toMatchObject({ status: 200 });

  await admin.sql('insert into points (embedding) select array[n, n % 7, 1]::vector from generate_series(1, 500) n');
  for (const [operator, distance] of [
    ['<->', 5],
    ['<#>', -1],
    ['<=>', 1 - 1 / Math.sqrt(26)],
    ['<+>', 7],
  ] as const) {
    const { body } = await admin.sql(`select '[0,0,1]'::vector ${operator} $1::vector as distance`, ['[3,4,1]']);
    expect([operator, body.rows[0].distance]).toEqual([operator, expect.closeTo(distance)]);
  }
  for (const [name, options] of [
    ['hnsw', 'm = 8, ef_construction = 32'],
    ['ivfflat', 'lists = 5'],
  ]) {
    const index = `points_by_${name}`;
    expect(
      await admin.sql(
        `create index concurrently ${index} on points using ${name} (embedding vector_l2_ops) with (${options})`,
      ),
    ).toMatchObject({ status: 200 });
    const plan = await admin.sql(
      `set local enable_seqscan = off; set local enable_sort = off; explain select id from points order by embedding <-> '[1,1,1]' limit 5`,
    );
    expect(JSON.stringify(plan.body.rows)).toContain(index);
    await admin.sql(`drop index ${index}`);
  }
  const catalog = (await admin.send('GET', 'catalog?tables=points')).body;
  expect(catalog.relations[0].columns).toContainEqual(
    expect.objectContaining({ name: 'embedding', type: 'vector(3)' }),
  );
  expect((await admin.send('GET', 'catalog')).body.extensions).toMatchObject([{ name: 'vector', schema: 'public' }]);
  expect((await admin.send('GET', 'functions')).body.functions).toEqual([]);

  expect(await admin.sql('drop extension vector')).toMatchObject({ status: 400, body: { sqlstate: '2BP01' } });
  expect(await admin.sql('drop table points; drop extension vector')).toMatchObject({ status: 200 });
});

test('the bundled PostgreSQL lacks it, and the answer says what to do', async () => {
  const admin = await adminOf(await startServer({}));
  const sql = 'create table t ();\ncreate extension vector;';
  const nextActions = expect.stringMatching(/pg_available_extensions.*pgvector.*POSTGRES_BIN_DIR=.*DATABASE_URL/);
  const where = { line: 2, column: 1, statement: 'create extension vector', nextActions };
  expect(await admin.sql(sql)).toMatchObject({ status: 400, body: where });
  const migration = { version: '1', name: 'vectors', sql };
  expect(await admin.send('POST', 'migrations', migration)).toMatchObject({ status: 400, body: where });
  expect((await admin.send('POST', 'migrations/dry-run', { sql })).body).toMatchObject({ valid: false, nextActions });
  expect((await admin.send('GET', 'tables')).body).toEqual([]);
});

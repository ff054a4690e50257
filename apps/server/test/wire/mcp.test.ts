import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { expect, onTestFinished, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';

/** The official MCP server as an agent starts it, on a server that listens. */
async function startMcp(app: Awaited<ReturnType<typeof startApp>>) {
  const manifest = createRequire(import.meta.url).resolve('@insforge/mcp/package.json');
  const url = await app.listen();
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [join(dirname(manifest), 'dist/index.js'), '--api_key', SECRETS.ACCESS_API_KEY, '--api_base_url', url],
    stderr: 'ignore',
  });
  const client = new Client({ name: 'test', version: '1.0.0' });
  await client.connect(transport);
  onTestFinished(() => client.close());
  return {
    client,
    call: async (name: string, args: Record<string, unknown> = {}) => {
      const { content, isError } = (await client.callTool({ name, arguments: args })) as {
        content: { text: string }[];
        isError?: boolean;
      };
      return { text: content.map(({ text }) => text).join('\n'), isError: isError ?? false };
    },
  };
}

/** The JSON that a tool puts behind its first words. */
const jsonIn = (text: string) => JSON.parse(text.slice(text.indexOf('{')));

test('the official MCP server starts, and its database tools work', async () => {
  const app = await startApp();
  const { client, call } = await startMcp(app);
  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['get-backend-metadata', 'run-raw-sql', 'get-table-schema']),
  );

  const created = await call('run-raw-sql', {
    query: 'create table todos (id serial primary key, title text not null, done boolean default false)',
  });
  expect(created).toMatchObject({ isError: false });
  expect(jsonIn(created.text)).toMatchObject({
    rows: [],
    warnings: [{ rule: 'rls-no-policy', object: 'public.todos' }],
  });

  const inserted = await call('run-raw-sql', {
    query: 'insert into todos (title) values ($1), ($2) returning id, title',
    params: ['one', 'two'],
  });
  expect(jsonIn(inserted.text)).toMatchObject({
    rows: [
      { id: 1, title: 'one' },
      { id: 2, title: 'two' },
    ],
    rowCount: 2,
  });

  const metadata = await call('get-backend-metadata');
  expect(metadata.isError).toBe(false);
  expect(jsonIn(metadata.text)).toMatchObject({
    auth: { passwordMinLength: 6 },
    database: { tables: [{ tableName: 'todos', recordCount: 2 }] },
    storage: { buckets: [] },
    functions: [],
    version: expect.any(String),
  });

  const table = await call('get-table-schema', { tableName: 'todos' });
  expect(jsonIn(table.text)).toMatchObject({
    todos: {
      schema: [
        { columnName: 'id', dataType: 'integer', isNullable: 'NO' },
        { columnName: 'title' },
        { columnName: 'done' },
      ],
      indexes: [{ indexname: 'todos_pkey', isPrimary: true }],
      rlsEnabled: true,
      policies: [],
    },
  });

  // The server of the tools counts its calls on its own, a moment after each answer.
  await expect
    .poll(
      async () => (await app.sql<{ n: number }>('select count(*)::int as n from system.mcp_usage where success'))[0]?.n,
    )
    .toBeGreaterThanOrEqual(4);
});

test('its tool for files writes them into a table', async () => {
  const app = await startApp();
  const { call } = await startMcp(app);
  await call('run-raw-sql', { query: 'create table notes (id int primary key, title text)' });
  const folder = await mkdtemp(join(tmpdir(), 'insforge-mcp-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'rows.json');
  await writeFile(file, '[{"id": 1, "title": "a"}, {"id": 2, "title": "b"}]');
  const stored = await call('bulk-upsert', { table: 'notes', filePath: file, upsertKey: 'id' });
  expect(stored).toMatchObject({ isError: false, text: expect.stringContaining('2') });
  expect(await app.sql('select id, title from notes order by id')).toEqual([
    { id: 1, title: 'a' },
    { id: 2, title: 'b' },
  ]);
});

test('its tools hand the words of an error to the agent', async () => {
  const { call } = await startMcp(await startApp());
  const missing = await call('get-table-schema', { tableName: 'nothing' });
  expect(missing).toMatchObject({ isError: true, text: expect.stringContaining('There is no table nothing') });
  const broken = await call('run-raw-sql', { query: 'select 1;\nselec 2' });
  expect(broken).toMatchObject({ isError: true, text: expect.stringContaining('line 2, column 1') });
  const forbidden = await call('run-raw-sql', { query: 'drop table auth.users' });
  expect(forbidden).toMatchObject({ isError: true, text: expect.stringContaining('belongs to the platform') });
});

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InjectOptions } from 'fastify';
import { SignJWT } from 'jose';
import { Client, type QueryResultRow } from 'pg';
import { pino } from 'pino';
import { inject, onTestFinished } from 'vitest';
import { createSchemaCache, type RecordsOptions, records, type SchemaCache } from '#features/records/index.ts';
import { createHttpServer } from '#platform/http/server.ts';
import { openPlatform } from '#platform/platform.ts';
import { SECRETS, testConfig } from '../config.ts';

export type Who = 'nobody' | 'anon' | 'admin' | 'alice' | 'bob';

export const USERS = {
  alice: '11111111-1111-4111-8111-111111111111',
  bob: '22222222-2222-4222-8222-222222222222',
} as const;

export interface Reply {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  /** Parsed where it is JSON, else the text. */
  body: any;
  text: string;
  bytes: Buffer;
}

export type Headers = Record<string, string>;

/** A server with the records API on a database of its own. */
export interface Api {
  as(who: Who): Caller;
  sql<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Runs DDL and waits until the API knows. */
  ddl(text: string): Promise<void>;
  schema: SchemaCache;
  listen(): Promise<string>;
}

export interface Caller {
  get(path: string, headers?: Headers): Promise<Reply>;
  head(path: string, headers?: Headers): Promise<Reply>;
  options(path: string, headers?: Headers): Promise<Reply>;
  post(path: string, body?: unknown, headers?: Headers): Promise<Reply>;
  put(path: string, body?: unknown, headers?: Headers): Promise<Reply>;
  patch(path: string, body?: unknown, headers?: Headers): Promise<Reply>;
  delete(path: string, headers?: Headers, body?: unknown): Promise<Reply>;
}

/**
 * Starts the API on a clone of the migrated template, with `fixture` run by its owner. A path without a
 * leading slash is one of tables (`todos?id=eq.1`); `rpc/…` is one of functions.
 */
export async function startApi(fixture = '', options: Partial<RecordsOptions> = {}): Promise<Api> {
  const postgres = inject('postgres');
  const database = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ ...postgres, database: 'postgres' });
  await admin.connect();
  await admin.query(`create database ${database} template template`);
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-records-'));
  const log = pino({ level: process.env.TEST_LOG ?? 'silent' });
  const config = testConfig(postgres, database, dataDir);
  const platform = await openPlatform(config, log);
  const owner = new Client({ ...postgres, database });
  await owner.connect();
  if (fixture !== '') await owner.query(fixture);
  const app = await createHttpServer(log, config.trustedProxies, config.storage.idleTimeoutMs);
  app.addHook('onClose', () => platform.close());
  const schema = createSchemaCache({ db: platform.db, log });
  await schema.reload();
  await app.register(records, {
    db: platform.db,
    schema,
    requireUser: platform.guards.requireUser,
    requireAdmin: platform.guards.requireAdmin,
    ...options,
  } as RecordsOptions);
  await app.ready();
  onTestFinished(async () => {
    await app.close();
    await owner.end();
    await admin.query(`drop database ${database} with (force)`);
    await admin.end();
    await rm(dataDir, { recursive: true, force: true });
  });

  const send = async (
    who: Who,
    method: NonNullable<InjectOptions['method']>,
    path: string,
    body?: unknown,
    headers: Headers = {},
  ) => {
    const payload = body === undefined ? {} : { payload: body as InjectOptions['payload'] & object };
    const reply = await app.inject({
      method,
      url: urlOf(path),
      headers: { ...(await credential(who)), ...headers },
      ...payload,
    });
    const isJson = /^[^;]*json/.test(String(reply.headers['content-type'] ?? '')) && reply.body !== '';
    return {
      status: reply.statusCode,
      headers: reply.headers,
      body: isJson ? JSON.parse(reply.body) : reply.body,
      bytes: reply.rawPayload,
      text: reply.body,
    };
  };
  return {
    schema,
    as: (who) => ({
      get: (path, headers) => send(who, 'GET', path, undefined, headers),
      head: (path, headers) => send(who, 'HEAD', path, undefined, headers),
      options: (path, headers) => send(who, 'OPTIONS', path, undefined, headers),
      post: (path, body, headers) => send(who, 'POST', path, body, headers),
      put: (path, body, headers) => send(who, 'PUT', path, body, headers),
      patch: (path, body, headers) => send(who, 'PATCH', path, body, headers),
      delete: (path, headers, body) => send(who, 'DELETE', path, body, headers),
    }),
    sql: async (text, values) => (await owner.query(text, values)).rows,
    async ddl(text) {
      await owner.query(text);
      await schema.reload();
    },
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
  };
}

function urlOf(path: string): string {
  if (path.startsWith('/')) return path;
  return path.startsWith('rpc/') ? `/api/database/${path}` : `/api/database/records/${path}`;
}

const jwtKey = new TextEncoder().encode(SECRETS.JWT_SECRET);

export async function tokenOf(who: 'alice' | 'bob'): Promise<string> {
  return new SignJWT({ sub: USERS[who], email: `${who}@example.com`, role: 'authenticated' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('5m')
    .sign(jwtKey);
}

async function credential(who: Who): Promise<Headers> {
  if (who === 'nobody') return {};
  if (who === 'anon') return { authorization: `Bearer ${SECRETS.ACCESS_ANON_KEY}` };
  if (who === 'admin') return { 'x-api-key': SECRETS.ACCESS_API_KEY };
  return { authorization: `Bearer ${await tokenOf(who)}` };
}

/** Lets everybody do everything with the tables of a fixture, for tests that are not about permissions. */
export const OPEN = `
  grant usage on schema public to anon, authenticated, project_admin;
  grant all on all tables in schema public to anon, authenticated, project_admin;
  grant all on all sequences in schema public to anon, authenticated, project_admin;
  grant execute on all functions in schema public to anon, authenticated, project_admin;
  do $$ declare t record; begin
    for t in select oid::regclass as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') loop
      execute format('alter table %s disable row level security', t.name);
    end loop;
  end $$;
`;

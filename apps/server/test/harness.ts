import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { SignJWT } from 'jose';
import { Client, type QueryResultRow } from 'pg';
import { type Logger, pino } from 'pino';
import { inject, onTestFinished } from 'vitest';
import { buildApp } from '../src/app.ts';
import { SECRETS, testConfig } from './config.ts';

/** A user who exists only as a token; `who('alice')` always gives the same id within one app. */
export interface TestUser {
  sub: string;
  email: string;
}

/** Who sends a request: nobody, the anon key, the API key, or a user. */
export type Who = 'nobody' | 'anon' | 'admin' | TestUser;

export interface Reply {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  /** Parsed where it is JSON, else the text. */
  body: any;
  text: string;
}

type Send = (path: string, body?: unknown, headers?: Record<string, string>) => Promise<Reply>;

export interface TestClient {
  get: (path: string, headers?: Record<string, string>) => Promise<Reply>;
  head: (path: string, headers?: Record<string, string>) => Promise<Reply>;
  options: (path: string, headers?: Record<string, string>) => Promise<Reply>;
  post: Send;
  put: Send;
  patch: Send;
  delete: Send;
}

export interface TestApp {
  app: FastifyInstance;
  database: string;
  as(who: Who): TestClient;
  /** A user of this app, by nickname. The row in auth.users is made too, so foreign keys to it hold. */
  user(nickname: string): Promise<TestUser>;
  /** A signed access token of a user. */
  token(user: TestUser): Promise<string>;
  /** Runs SQL as the owner of the database, behind the server's back. */
  sql<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Starts to listen on a free port and returns the base URL, for real clients. */
  listen(): Promise<string>;
}

export { SECRETS };

const jwtKey = new TextEncoder().encode(SECRETS.JWT_SECRET);

interface Options {
  /** Shares the database of an app that is running, as replicas do. */
  beside?: TestApp;
  log?: Logger;
}

/**
 * Builds the whole server on a database of its own, a clone of the migrated template. Everything is gone
 * when the test has finished.
 */
export async function startApp(
  environment: Record<string, string> = {},
  { beside, log = pino({ level: process.env.TEST_LOG ?? 'silent' }) }: Options = {},
): Promise<TestApp> {
  const postgres = inject('postgres');
  const database = beside?.database ?? `test_${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ ...postgres, database: 'postgres' });
  await admin.connect();
  if (!beside) await admin.query(`create database ${database} template template`);
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-app-'));
  // First, so that nothing stays of a server that refuses to start.
  onTestFinished(async () => {
    if (!beside) await admin.query(`drop database ${database} with (force)`);
    await admin.end();
    await rm(dataDir, { recursive: true, force: true });
  });
  const app = await buildApp(testConfig(postgres, database, dataDir, environment), log);
  const owner = new Client({ ...postgres, database });
  await owner.connect();
  onTestFinished(async () => {
    await app.close();
    await owner.end();
  });

  const users = new Map<string, TestUser>();
  const token = (user: TestUser) =>
    new SignJWT({ sub: user.sub, email: user.email, role: 'authenticated' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('5m')
      .sign(jwtKey);

  const credential = async (who: Who): Promise<Record<string, string>> => {
    if (who === 'nobody') return {};
    if (who === 'anon') return { authorization: `Bearer ${SECRETS.ACCESS_ANON_KEY}` };
    if (who === 'admin') return { 'x-api-key': SECRETS.ACCESS_API_KEY };
    return { authorization: `Bearer ${await token(who)}` };
  };

  return {
    app,
    database,
    token,
    as: (who) => clientOf(app, () => credential(who)),
    async user(nickname) {
      const known = users.get(nickname);
      if (known) return known;
      const user = { sub: randomUUID(), email: `${nickname}@example.com` };
      await owner.query('insert into auth.users (id, email) values ($1, $2)', [user.sub, user.email]);
      users.set(nickname, user);
      return user;
    },
    sql: async (text, values) => (await owner.query(text, values)).rows,
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
  };
}

function clientOf(app: FastifyInstance, credential: () => Promise<Record<string, string>>): TestClient {
  const send = async (method: NonNullable<InjectOptions['method']>, url: string, body?: unknown, headers = {}) => {
    const payload = body === undefined ? {} : { payload: body as InjectOptions['payload'] & object };
    const reply = await app.inject({ method, url, headers: { ...(await credential()), ...headers }, ...payload });
    const isJson = /[/+]json\b/.test(String(reply.headers['content-type'] ?? '')) && reply.body !== '';
    return {
      status: reply.statusCode,
      headers: reply.headers,
      body: isJson ? JSON.parse(reply.body) : reply.body,
      text: reply.body,
    };
  };
  return {
    get: (url, headers) => send('GET', url, undefined, headers),
    head: (url, headers) => send('HEAD', url, undefined, headers),
    options: (url, headers) => send('OPTIONS', url, undefined, headers),
    post: (url, body, headers) => send('POST', url, body, headers),
    put: (url, body, headers) => send('PUT', url, body, headers),
    patch: (url, body, headers) => send('PATCH', url, body, headers),
    delete: (url, body, headers) => send('DELETE', url, body, headers),
  };
}

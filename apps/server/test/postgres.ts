import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { pino } from 'pino';
import type { TestProject } from 'vitest/node';
import { buildApp } from '../src/app.ts';
import { startPostgres } from '../src/platform/postgres/cluster.ts';
import { testConfig } from './config.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A cluster with the database `template`, migrated and ready to be cloned. */
    postgres: { host: string; user: string; password: string };
  }
}

/** Starts one PostgreSQL for the whole run; each test gets a clone of its migrated template database. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const memory = '/dev/shm';
  const folder = await mkdtemp(join(existsSync(memory) ? memory : tmpdir(), 'insforge-test-'));
  await chmod(folder, 0o711);
  const log = pino({ level: 'silent' });
  const password = 'test-cluster';
  const cluster = await startPostgres({ dataDir: folder, password, database: 'template', log });
  const postgres = { host: String(cluster.connection.host), user: 'postgres', password };
  const template = await buildApp(testConfig(postgres, 'template', join(folder, 'template')), log);
  await template.close();
  const client = new Client({ ...cluster.connection, database: 'postgres' });
  await client.connect();
  await client.query('alter database template is_template true');
  await client.end();
  project.provide('postgres', postgres);
  return async () => {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  };
}

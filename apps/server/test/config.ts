import { type Config, loadConfig } from '../src/config.ts';

/** Fixed secrets, so that a clone of the template database is ready to use. */
export const SECRETS = {
  JWT_SECRET: 'test-only-jwt-secret-0123456789abcdef',
  ENCRYPTION_KEY: 'test-only-encryption-key',
  ROOT_ADMIN_PASSWORD: 'test-only-admin-password',
  ACCESS_API_KEY: `ik_${'a1'.repeat(32)}`,
  ACCESS_ANON_KEY: `anon_${'b2'.repeat(32)}`,
};

/** The configuration of a server on a database of the test cluster. */
export function testConfig(
  { host, user, password }: { host: string; user: string; password: string },
  database: string,
  dataDir: string,
  more: Record<string, string> = {},
): Config {
  const url = `postgresql://${user}:${password}@localhost/${database}?host=${encodeURIComponent(host)}`;
  return loadConfig({ ...SECRETS, DATABASE_URL: url, DATA_DIR: dataDir, PORT: '0', ...more });
}

import { existsSync } from 'node:fs';
import type { TestContext } from 'vitest';

/** Where `.ci/pgvector` puts the programs of a PostgreSQL that has pgvector. */
export const PGVECTOR_BIN = '/var/cache/insforge-test/debian-13/usr/lib/postgresql/17/bin';

const ABSENT = 'skipped: there is no PostgreSQL with pgvector. Run .ci/pgvector as root, on Debian or Ubuntu.';

export function requirePgvector(skip: TestContext['skip']): void {
  if (existsSync(PGVECTOR_BIN)) return;
  // The usual reporter counts skipped tests without their reason.
  console.warn(ABSENT);
  skip(ABSENT);
}

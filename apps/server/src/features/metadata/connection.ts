import type { DatabaseConnection } from '@insforge/contract/metadata.ts';
import type { Platform } from '#platform/platform.ts';

/** Stands for the password, which is asked for separately: URLs end up in histories and screenshots. */
const MASK = '********';

const POOLER =
  'This server pools its own connections. For many programs of your own put PgBouncer in front of it (pool_mode = transaction)';

/** How programs of one's own reach the database that this server uses. */
export function describeConnection(database: Platform['database']): DatabaseConnection {
  const { host, port, user, name, sslmode, isBundled } = database;
  const isSocket = host.startsWith('/');
  const query = new URLSearchParams(isSocket ? { host } : { sslmode });
  const url = (credentials: string) =>
    `postgresql://${credentials}@${isSocket ? 'localhost' : host}:${port}/${encode(name)}?${query}`;
  return {
    connectionURL: url(`${encode(user)}:${MASK}`),
    parameters: { host, port, database: name, user, password: MASK, sslmode },
    psql: `psql '${url(encode(user))}'`,
    pooler: isBundled
      ? `${POOLER}, with host = ${host}. This PostgreSQL listens on a socket only, for whoever may enter that folder: to reach it from other machines let PgBouncer listen, or use a PostgreSQL of your own with DATABASE_URL.`
      : `${POOLER}, with the host and the port above.`,
  };
}

/** For a URL between single quotes in a shell. */
const encode = (text: string) => encodeURIComponent(text).replaceAll("'", '%27');

import type { UserTx } from '#platform/db/db.ts';
import { quoteIdentifier, sql } from '#platform/db/sql.ts';
import type { DumpObject } from './objects.ts';

/** What ends the rows of a COPY. */
const END = '\\.\n\n';

/** The rows of a table as `COPY … FROM stdin` with its data. */
export async function* copyRows(tx: UserTx, table: DumpObject, rowLimit?: number): AsyncGenerator<string | Buffer> {
  const columns = await tx.query<{ name: string }>(sql`
    select a.attname as name from pg_attribute a join pg_class c on c.oid = a.attrelid
    where a.attrelid = ${table.oid} and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and c.relkind = 'r'
    order by a.attnum`);
  if (columns.length === 0) return;
  const list = columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const limit = rowLimit === undefined ? '' : ` LIMIT ${rowLimit}`;
  yield `COPY ${table.identity} (${list}) FROM stdin;\n`;
  yield* tx.copyTo(`COPY (SELECT ${list} FROM ONLY ${table.identity}${limit}) TO STDOUT`);
  yield END;
}

const USERS_AT_A_TIME = 200;

/**
 * The users, to whom rows refer. As INSERT, because some of them may be there already. Passwords stay what
 * they are: hashes.
 */
export async function* insertUsers(tx: UserTx): AsyncGenerator<string> {
  for (const table of ['users', 'user_providers']) {
    const columns = await tx.query<{ name: string }>(sql`
      select attname as name from pg_attribute
      where attrelid = ${`auth.${table}`}::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`);
    const names = columns.map(({ name }) => quoteIdentifier(name));
    let last = '';
    for (;;) {
      const rows = await tx.query<{ id: string; text: string }>(sql`
        select id::text as id, '(' || concat_ws(', ', ${sql.raw(names.map((name) => `quote_nullable(${name})`).join(', '))}) || ')' as text
        from ${sql.id('auth', table)} where id::text > ${last} order by id::text limit ${USERS_AT_A_TIME}`);
      if (rows.length === 0) break;
      last = rows.at(-1)?.id ?? '';
      yield `INSERT INTO auth.${table} (${names.join(', ')}) VALUES\n${rows.map(({ text }) => text).join(',\n')}\nON CONFLICT DO NOTHING;\n\n`;
    }
  }
}

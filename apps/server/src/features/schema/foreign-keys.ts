import { createHash } from 'node:crypto';
import { type ForeignKey, MAX_IDENTIFIER_BYTES, type NewColumn } from '@insforge/contract/schema.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** A foreign key as a table constraint: `constraint … foreign key (…) references …`. */
export function foreignKeyConstraint(key: ForeignKey): Sql {
  const [schema, table] = referencedTable(key);
  const own = key.referenceColumns.map(({ sourceColumn }) => sql.id(sourceColumn));
  const other = key.referenceColumns.map(({ referenceColumn }) => sql.id(referenceColumn));
  // The actions come from a closed list of words.
  return sql`constraint ${sql.id(key.constraintName ?? constraintName(key))} foreign key (${sql.join(own)}) references ${sql.id(schema, table)} (${sql.join(other)}) on delete ${sql.raw(key.onDelete)} on update ${sql.raw(key.onUpdate)}`;
}

/** Keys that come with a column, as keys of the table. */
export function columnForeignKeys(columns: readonly NewColumn[]): ForeignKey[] {
  return columns.flatMap(({ columnName, foreignKey }) => {
    if (!foreignKey) return [];
    const { referenceColumn, ...rest } = foreignKey;
    return [{ ...rest, referenceColumns: [{ sourceColumn: columnName, referenceColumn }] }];
  });
}

function referencedTable({ referenceTable }: ForeignKey): [schema: string, table: string] {
  const dot = referenceTable.indexOf('.');
  return dot < 0 ? ['public', referenceTable] : [referenceTable.slice(0, dot), referenceTable.slice(dot + 1)];
}

/** `fk_author_id_auth_users_id`; what would be cut off becomes a hash, so that two names stay two. */
function constraintName({ referenceTable, referenceColumns }: ForeignKey): string {
  const own = referenceColumns.map(({ sourceColumn }) => sourceColumn);
  const other = referenceColumns.map(({ referenceColumn }) => referenceColumn);
  const name = ['fk', ...own, referenceTable.replaceAll('.', '_'), ...other].join('_');
  if (Buffer.byteLength(name) <= MAX_IDENTIFIER_BYTES) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `${truncate(name, MAX_IDENTIFIER_BYTES - hash.length - 1)}_${hash}`;
}

/** The longest beginning that has at most so many bytes and ends between two characters. */
export function truncate(text: string, maxBytes: number): string {
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    kept += character;
  }
  return kept;
}

/** Asks PostgreSQL what a role may see of a schema. */
import type { Claims, Db } from '#platform/db/db.ts';
import type { RelationRights, Rights } from './openapi.ts';

const RELATIONS = `
  select c.oid::text, has_table_privilege(c.oid, 'select') or has_any_column_privilege(c.oid, 'select'),
    has_table_privilege(c.oid, 'insert') or has_any_column_privilege(c.oid, 'insert'),
    has_table_privilege(c.oid, 'update') or has_any_column_privilege(c.oid, 'update'),
    has_table_privilege(c.oid, 'delete'),
    (select json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and (has_column_privilege(c.oid, a.attnum, 'select') or has_column_privilege(c.oid, a.attnum, 'insert')
          or has_column_privilege(c.oid, a.attnum, 'update')))
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and has_schema_privilege(n.oid, 'usage') and c.relkind in ('r', 'v', 'm', 'f', 'p')
    and (has_table_privilege(c.oid, 'select, insert, update, delete') or has_any_column_privilege(c.oid, 'select, insert, update'))`;

const ROUTINES = `
  select p.oid::text from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where n.nspname = $1 and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')`;

/** The rights of a caller on the relations and functions of one schema. */
export async function readRights(db: Db, claims: Claims, schemaName: string): Promise<Rights> {
  const door = db.as(claims);
  const [relations, routines] = await Promise.all([
    door.text({ text: RELATIONS, values: [schemaName] }),
    door.text({ text: ROUTINES, values: [schemaName] }),
  ]);
  return {
    relations: new Map(
      relations.map(([oid, select, insert, update, remove, columns]): [number, RelationRights] => {
        const names: string[] = JSON.parse(columns ?? '[]');
        return [
          Number(oid),
          {
            select: select === 't',
            insert: insert === 't',
            update: update === 't',
            delete: remove === 't',
            columns: new Set(names),
          },
        ];
      }),
    ),
    routines: new Set(routines.map(([oid]) => Number(oid))),
  };
}

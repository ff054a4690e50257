import type { AccessCell, AccessMatrix, CheckAs } from '@insforge/contract/schema.ts';
import type { Claims, Db, UserTx } from '#platform/db/db.ts';
import type { RawResult } from '#platform/db/raw-query.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { rehearse } from './changes.ts';
import { findRefusal } from './sql/guards.ts';
import { parseSql } from './sql/parse.ts';
import { runScriptAs, toRefusalError } from './sql/run.ts';

const COMMANDS = ['select', 'insert', 'update', 'delete'] as const;
type Command = (typeof COMMANDS)[number];
const ROLES = { anon: 'anon', authenticated: 'authenticated', owner: 'authenticated', admin: 'project_admin' } as const;
type Who = keyof typeof ROLES;

interface Policy {
  name: string;
  /** `*` stands for all commands. */
  commands: Command | '*';
  roles: string[];
  permissive: boolean;
  using: string | null;
  check: string | null;
}

interface TableAccess {
  rls: boolean;
  forced: boolean;
  grants: Record<string, Record<Command, boolean>>;
  bypass: string[];
  policies: Policy[];
}

/**
 * Who can do what with a table, from its grants and policies.
 * @param name in public, or with its schema in front
 */
export async function readAccess(tx: UserTx, name: string): Promise<AccessMatrix> {
  const access = await readTableAccess(tx, name);
  const row = (who: Who) => {
    const [select, insert, update, remove] = COMMANDS.map((command) => cellOf(access, who, command)) as [
      AccessCell,
      AccessCell,
      AccessCell,
      AccessCell,
    ];
    return { select, insert, update, delete: remove };
  };
  return {
    table: name,
    rlsEnabled: access.rls,
    anon: row('anon'),
    authenticated: row('authenticated'),
    owner: row('owner'),
    admin: row('admin'),
  };
}

/** What a policy says about who is asking: the functions of `auth` that tell the user. */
const ASKS_WHO = /\bauth\.(uid|jwt|email)\(\)/;

function cellOf({ rls, grants, bypass, policies }: TableAccess, who: Who, command: Command): AccessCell {
  const role = ROLES[who];
  if (!grants[role]?.[command]) return { access: 'none', reason: `${role} has no grant to ${command}` };
  if (!rls || bypass.includes(role)) return { access: 'all' };
  const applying = policies.filter(
    ({ commands, roles }) =>
      (commands === '*' || commands === command) && (roles.includes(role) || roles.includes('public')),
  );
  const permissive = applying.filter(
    (policy) => policy.permissive && (who === 'owner' || !ASKS_WHO.test(conditionOf(policy, command))),
  );
  if (permissive.length === 0) {
    return { access: 'none', reason: `row level security is on, and no policy lets ${nameOf(who)} ${command}` };
  }
  const restrictive = applying.filter((policy) => !policy.permissive);
  const isOpen = permissive.some((policy) => conditionOf(policy, command) === 'true') && restrictive.length === 0;
  if (isOpen) return { access: 'all', policies: permissive.map(({ name }) => name) };
  const some = permissive.map((policy) => conditionOf(policy, command)).join(' OR ');
  const condition = [
    permissive.length > 1 && restrictive.length > 0 ? `(${some})` : some,
    ...restrictive.map((policy) => conditionOf(policy, command)),
  ].join(' AND ');
  return {
    access: permissive.every((policy) => ASKS_WHO.test(conditionOf(policy, command))) ? 'own' : 'some',
    condition,
    policies: [...permissive, ...restrictive].map(({ name }) => name),
  };
}

/** A policy without a check of its own is checked by its using. */
function conditionOf({ using, check }: Policy, command: Command): string {
  return (command === 'insert' ? (check ?? using) : using) ?? 'true';
}

const nameOf = (who: Who) =>
  ({ anon: 'anon', authenticated: 'other users', owner: 'the user', admin: 'project_admin' })[who];

async function readTableAccess(tx: UserTx, name: string): Promise<TableAccess> {
  const dot = name.indexOf('.');
  const [schema, table] = dot < 0 ? ['public', name] : [name.slice(0, dot), name.slice(dot + 1)];
  const access = await tx.one<TableAccess>(sql`
    select c.relrowsecurity as rls,
      (select jsonb_object_agg(role.rolname, (select jsonb_object_agg(command, case command
          when 'delete' then has_table_privilege(role.oid, c.oid, 'delete')
          else has_any_column_privilege(role.oid, c.oid, command) end and has_schema_privilege(role.oid, n.oid, 'usage'))
        from unnest(${[...COMMANDS]}::text[]) as command))
        from pg_roles role where role.rolname in ('anon', 'authenticated', 'project_admin')) as grants,
      array(select rolname::text from pg_roles role
        where rolbypassrls or not c.relforcerowsecurity and role.oid = c.relowner) as bypass,
      (select coalesce(jsonb_agg(jsonb_build_object('name', p.polname, 'permissive', p.polpermissive,
          'commands', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else '*' end,
          'roles', array(select case role when 0 then 'public' else pg_get_userbyid(role)::text end from unnest(p.polroles) as role),
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname), '[]')
        from pg_policy p where p.polrelid = c.oid) as policies
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relname = ${table} and c.relkind in ('r', 'p', 'v', 'm', 'f')`);
  if (!access) throw new AppError('DATABASE_NOT_FOUND', `There is no table ${name}`);
  return access;
}

/** Runs SQL as somebody else and undoes it: what would they see, what could they do. */
export async function checkAs(
  db: Db,
  { query, params, as, maxRows }: CheckAs,
  signal: AbortSignal,
): Promise<{ result: RawResult; claims: Claims }> {
  const statements = await parseSql(query);
  const refusal = findRefusal(statements);
  if (refusal) throw toRefusalError(refusal, query, { code: 'FORBIDDEN' });
  const claims = await claimsOf(db, as);
  const script = { sql: query, statements, params, limits: { maxRows, maxBytes: MAX_BYTES } };
  const result = await db
    .as(claims)
    .tx((tx) => rehearse(tx, () => runScriptAs(tx, script)), { search_path: 'public' }, signal);
  return { result, claims };
}

const MAX_BYTES = 1024 * 1024;

async function claimsOf(db: Db, as: CheckAs['as']): Promise<Claims> {
  if (as === 'anon') return { role: 'anon' };
  if ('userId' in as) {
    return { role: 'authenticated', sub: as.userId, ...(as.email === undefined ? {} : { email: as.email }) };
  }
  const user = await db.system.one<{ id: string }>(
    sql`select id from auth.users where lower(email) = lower(${as.email})`,
  );
  if (!user) throw new AppError('AUTH_USER_NOT_FOUND', `There is no user ${as.email}`);
  return { role: 'authenticated', sub: user.id, email: as.email };
}

import { MANAGED_SCHEMAS } from '@insforge/contract/schema.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { ParsedStatement } from './parse.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Tables of the platform on which the developer decides, with policies, what users may do. */
const POLICY_TABLES: ReadonlySet<string> = new Set([
  'storage.objects',
  'realtime.channels',
  'realtime.messages',
  'payments.stripe_checkout_sessions',
  'payments.stripe_customer_portal_sessions',
  'payments.razorpay_orders',
  'payments.razorpay_subscriptions',
]);

const RLS_SWITCHES = new Set(['AT_EnableRowSecurity', 'AT_DisableRowSecurity']);

/**
 * True for the few statements that an admin may write though project_admin lacks the power for them:
 * extensions, and policies on the tables above. They run as the owner, so each condition here is part of
 * the border: what is not recognised runs as project_admin and is PostgreSQL's to refuse.
 */
export function isOwnerStatement({ kind, node, text }: ParsedStatement): boolean {
  // No reading of the text, not even one with other lexical settings, can then find a second statement in it.
  if (text.includes(';')) return false;
  return isExtensionStatement(kind, node) || isPolicyStatement(kind, node);
}

function isExtensionStatement(kind: string, node: Fields): boolean {
  if (kind === 'CreateExtensionStmt') return !schemaOptions(node).some(isManaged);
  if (kind === 'AlterExtensionStmt') return true;
  if (kind === 'AlterObjectSchemaStmt') return node.objectType === 'OBJECT_EXTENSION' && !isManaged(node.newschema);
  // CASCADE would take along whatever depends on it, the platform's own objects included.
  return kind === 'DropStmt' && node.removeType === 'OBJECT_EXTENSION' && node.behavior !== 'DROP_CASCADE';
}

function isPolicyStatement(kind: string, node: Fields): boolean {
  if (kind === 'CreatePolicyStmt' || kind === 'AlterPolicyStmt') return acceptsPolicies(node.table);
  if (kind === 'RenameStmt') return node.renameType === 'OBJECT_POLICY' && acceptsPolicies(node.relation);
  if (kind === 'DropStmt') {
    const [policy, ...more] = node.objects as { List?: { items: { String?: { sval: string } }[] } }[];
    const table = policy?.List?.items.slice(0, -1).map((item) => item.String?.sval);
    return node.removeType === 'OBJECT_POLICY' && more.length === 0 && POLICY_TABLES.has(table?.join('.') ?? '');
  }
  if (kind !== 'AlterTableStmt' || node.objtype !== 'OBJECT_TABLE' || !acceptsPolicies(node.relation)) return false;
  const commands = node.cmds as { AlterTableCmd?: { subtype: string } }[];
  return commands.every(({ AlterTableCmd }) => RLS_SWITCHES.has(AlterTableCmd?.subtype ?? ''));
}

function acceptsPolicies(table: unknown): boolean {
  const { schemaname, relname, catalogname } = (table ?? {}) as Record<string, string | undefined>;
  return catalogname === undefined && POLICY_TABLES.has(`${schemaname}.${relname}`);
}

function schemaOptions(node: Fields): unknown[] {
  const options = (node.options ?? []) as { DefElem?: { defname: string; arg?: { String?: { sval: string } } } }[];
  return options
    .filter(({ DefElem }) => DefElem?.defname === 'schema')
    .map(({ DefElem }) => DefElem?.arg?.String?.sval);
}

const MANAGED: ReadonlySet<string> = new Set(MANAGED_SCHEMAS);
const isManaged = (schema: unknown) => typeof schema !== 'string' || MANAGED.has(schema) || schema.startsWith('pg_');

/**
 * Runs one statement with the rights of the owner, inside the admin's transaction: both commit or neither.
 * The server deposits the text on its own login; the admin's login can redeem it in this session, and cannot
 * write any itself.
 */
export async function runAsOwner(db: Db, tx: UserTx, statement: string): Promise<void> {
  const session = await tx.one<{ pid: number }>(sql`select pg_catalog.pg_backend_pid() as pid`);
  // What a failed transaction has left over has expired long since.
  await db.system.query(sql`
    delete from system.owner_statements where id in (
      select id from system.owner_statements where created_at < now() - interval '1 hour' for update skip locked)`);
  const ticket = await db.system.one<{ id: string }>(sql`
    insert into system.owner_statements (backend_pid, statement) values (${session?.pid}, ${statement}) returning id`);
  await tx.query(sql`select system.run_owner_statement(${ticket?.id})`);
}

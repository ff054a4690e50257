import { MANAGED_SCHEMAS } from '@insforge/contract/schema.ts';
import { isOwnerStatement } from './owner-statements.ts';
import { nodesOf, type ParsedStatement, type StatementKind } from './parse.ts';
import { targetSchemas } from './targets.ts';

/** Why a statement is not run, and what to do instead. */
export interface Refusal {
  statement: ParsedStatement;
  reason: string;
  nextActions: string;
  /** True for BEGIN and its kind, which some surfaces answer with another status. */
  isTransactionControl?: boolean;
}

type Verdict = Omit<Refusal, 'statement'> | undefined;
type Rule = (node: Readonly<Record<string, unknown>>) => Verdict;

const refuse =
  (reason: string, nextActions: string): Rule =>
  () => ({ reason, nextActions });

const transactionControl: Rule = () => ({
  reason: 'statements cannot manage their own transaction: all of them run in one, which is committed at the end',
  nextActions: 'Remove BEGIN, COMMIT, ROLLBACK and SAVEPOINT. Use dryRun to have everything undone.',
  isTransactionControl: true,
});
const roleManagement = refuse(
  'roles belong to the platform',
  'Grant to anon, authenticated or project_admin, and tell users apart with policies and auth.uid().',
);
const databaseDdl = refuse(
  'databases, tablespaces and server settings belong to the platform',
  'Use schemas to keep things apart.',
);

const PINNED_SETTINGS = new Set(['role', 'session_authorization', 'search_path', 'statement_timeout']);

const setting: Rule = ({ kind, name }) => {
  if (kind === 'VAR_RESET_ALL') return settingRefusal('RESET ALL');
  if (typeof name === 'string' && PINNED_SETTINGS.has(name)) return settingRefusal(`SET ${name}`);
  if (name === 'TRANSACTION' || name === 'SESSION CHARACTERISTICS') return transactionControl({});
  return undefined;
};

const settingRefusal = (what: string): Verdict => ({
  reason: `${what} would change who the statements run as, or for how long`,
  nextActions: 'Name objects with their schema (shop.orders); in a function use the clause SET search_path.',
});

const copy: Rule = ({ filename, is_program }) =>
  filename === undefined && !is_program
    ? {
        reason: 'COPY FROM STDIN and COPY TO STDOUT need a connection of their own',
        nextActions: 'Send rows with POST /api/database/records/{table} or POST /api/database/advance/import.',
      }
    : undefined;

/** What an admin's SQL may not contain, by kind of statement. The rest is PostgreSQL's to decide. */
const RULES: Partial<Record<StatementKind, Rule>> = {
  TransactionStmt: transactionControl,
  VariableSetStmt: setting,
  CopyStmt: copy,
  CreateRoleStmt: roleManagement,
  AlterRoleStmt: roleManagement,
  AlterRoleSetStmt: roleManagement,
  DropRoleStmt: roleManagement,
  GrantRoleStmt: roleManagement,
  DropOwnedStmt: roleManagement,
  ReassignOwnedStmt: roleManagement,
  CreatedbStmt: databaseDdl,
  DropdbStmt: databaseDdl,
  AlterDatabaseStmt: databaseDdl,
  AlterDatabaseSetStmt: databaseDdl,
  AlterDatabaseRefreshCollStmt: databaseDdl,
  AlterSystemStmt: databaseDdl,
  CreateTableSpaceStmt: databaseDdl,
  DropTableSpaceStmt: databaseDdl,
  AlterTableSpaceOptionsStmt: databaseDdl,
  AlterTableMoveAllStmt: databaseDdl,
  CheckPointStmt: databaseDdl,
  LoadStmt: databaseDdl,
};

/** Kinds of object, as RenameStmt, AlterOwnerStmt, GrantStmt and CommentStmt name them. */
const OBJECT_RULES: Readonly<Record<string, Rule>> = {
  OBJECT_ROLE: roleManagement,
  OBJECT_DATABASE: databaseDdl,
  OBJECT_TABLESPACE: databaseDdl,
};

/** The surfaces that run SQL with the full rights of the owner refuse only what would break their transaction. */
const UNRESTRICTED_RULES: Partial<Record<StatementKind, Rule>> = {
  TransactionStmt: transactionControl,
  CopyStmt: copy,
};

/** The first statement that an admin's SQL may not contain. */
export function findRefusal(statements: readonly ParsedStatement[]): Refusal | undefined {
  for (const statement of statements) {
    const verdict = judge(statement);
    if (verdict) return { statement, ...verdict };
  }
  return undefined;
}

/** The first statement that could not run on the owner's surface. */
export function findUnrestrictedRefusal(statements: readonly ParsedStatement[]): Refusal | undefined {
  for (const statement of statements) {
    const verdict = UNRESTRICTED_RULES[statement.kind]?.(statement.node);
    if (verdict) return { statement, ...verdict };
  }
  return undefined;
}

function judge(statement: ParsedStatement): Verdict {
  const { kind, node } = statement;
  if (isOwnerStatement(statement)) return judgeInside(node);
  const objectKind = node.renameType ?? node.objectType ?? node.objtype ?? node.removeType;
  return (
    RULES[kind]?.(node) ?? OBJECT_RULES[String(objectKind)]?.(node) ?? judgeInside(node) ?? judgeTargets(kind, node)
  );
}

/** What must not occur at any depth. */
function judgeInside(node: Readonly<Record<string, unknown>>): Verdict {
  for (const inner of nodesOf(node)) {
    if (Array.isArray(inner.funcname) && nameOf(inner.funcname.at(-1)) === 'set_config') {
      return settingRefusal('set_config()');
    }
    if (inner.VariableSetStmt) {
      const { name } = inner.VariableSetStmt as { name?: string };
      if (name === 'role' || name === 'session_authorization') return settingRefusal(`SET ${name}`);
    }
  }
  return undefined;
}

const nameOf = (node: unknown): unknown => (node as { String?: { sval?: string } } | undefined)?.String?.sval;

const MANAGED: ReadonlySet<string> = new Set(MANAGED_SCHEMAS);

function judgeTargets(kind: StatementKind, node: Readonly<Record<string, unknown>>): Verdict {
  const managed = targetSchemas(kind, node).find((schema) => MANAGED.has(schema));
  if (managed === undefined) return undefined;
  return {
    reason: `the schema ${managed} belongs to the platform`,
    nextActions: `Change what is in ${managed} through its API. Triggers on auth.users, foreign keys to auth.users (id), and policies on the tables that accept them are allowed.`,
  };
}

import type { RiskLevel } from '@insforge/contract/migrations.ts';
import type { ParsedStatement } from '#features/schema/index.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A kind of statement that loses data, access, or time; `when` narrows it down. */
interface Risk {
  kind: string;
  level: Exclude<RiskLevel, 'low'>;
  when?: (node: Fields) => boolean;
  factor: string;
}

const hasNoWhere = ({ whereClause }: Fields) => whereClause === undefined;
const drops =
  (...types: string[]) =>
  ({ removeType }: Fields) =>
    types.includes(String(removeType));
const alters =
  (...subtypes: string[]) =>
  ({ cmds }: Fields) =>
    (cmds as { AlterTableCmd?: { subtype: string } }[]).some(({ AlterTableCmd }) =>
      subtypes.includes(AlterTableCmd?.subtype ?? ''),
    );

const RISKS: readonly Risk[] = [
  {
    kind: 'DropStmt',
    level: 'high',
    when: drops('OBJECT_TABLE', 'OBJECT_SCHEMA'),
    factor: 'drops a table with its rows',
  },
  { kind: 'DropStmt', level: 'medium', when: drops('OBJECT_POLICY'), factor: 'drops a policy: who sees what changes' },
  {
    kind: 'DropStmt',
    level: 'medium',
    when: drops('OBJECT_FUNCTION', 'OBJECT_VIEW', 'OBJECT_MATVIEW', 'OBJECT_TYPE', 'OBJECT_INDEX', 'OBJECT_TRIGGER'),
    factor: 'drops an object that something may still use',
  },
  { kind: 'TruncateStmt', level: 'high', factor: 'empties a table' },
  { kind: 'DeleteStmt', level: 'high', when: hasNoWhere, factor: 'deletes every row: DELETE has no WHERE' },
  { kind: 'UpdateStmt', level: 'high', when: hasNoWhere, factor: 'changes every row: UPDATE has no WHERE' },
  { kind: 'AlterTableStmt', level: 'high', when: alters('AT_DropColumn'), factor: 'drops a column with its values' },
  {
    kind: 'AlterTableStmt',
    level: 'high',
    when: alters('AT_DisableRowSecurity'),
    factor: 'switches row level security off',
  },
  {
    kind: 'AlterTableStmt',
    level: 'medium',
    when: alters('AT_AlterColumnType'),
    factor: 'changes the type of a column: the table is locked while it is rewritten',
  },
  {
    kind: 'AlterTableStmt',
    level: 'medium',
    when: alters('AT_SetNotNull', 'AT_AddConstraint'),
    factor: 'adds a constraint: existing rows are checked under a lock',
  },
  { kind: 'RenameStmt', level: 'medium', factor: 'renames something that apps may use by its old name' },
  { kind: 'GrantStmt', level: 'medium', factor: 'changes who has which rights' },
  { kind: 'DoStmt', level: 'medium', factor: 'runs a block of code, which is not looked into' },
];

const ORDER: readonly RiskLevel[] = ['low', 'medium', 'high'];

/** What can go wrong with statements that work. */
export function assessRisks(statements: readonly ParsedStatement[]): { riskLevel: RiskLevel; riskFactors: string[] } {
  const found = statements.flatMap(({ kind, node }, index) =>
    RISKS.filter((risk) => risk.kind === kind && (risk.when?.(node) ?? true)).map(({ level, factor }) => ({
      level,
      factor: `Statement ${index + 1} ${factor}`,
    })),
  );
  const highest = Math.max(0, ...found.map(({ level }) => ORDER.indexOf(level)));
  return { riskLevel: ORDER[highest] ?? 'low', riskFactors: found.map(({ factor }) => factor) };
}

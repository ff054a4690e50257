import type { Relation } from '@insforge/contract/schema.ts';
import type { FullCatalog } from './catalog.ts';

/**
 * About 15,000 tokens: identifiers are cut into more tokens than prose. What does not fit is said, and how
 * to get it.
 */
const MAX_CHARACTERS = 45_000;

/** Types as people write them. */
const SHORT_TYPES: Readonly<Record<string, string>> = {
  'timestamp with time zone': 'timestamptz',
  'timestamp without time zone': 'timestamp',
  'character varying': 'varchar',
  'double precision': 'float8',
  integer: 'int',
  boolean: 'bool',
};

/** How much a line about a table says; tried from the first on until all tables fit. */
const LEVELS: readonly ((relation: Relation) => string)[] = [
  ({ columns }) =>
    columns.map(({ name, type, nullable }) => `${name} ${shortType(type)}${nullable ? '?' : ''}`).join(', '),
  ({ columns }) => columns.map(({ name }) => name).join(', '),
  ({ columns }) => `${columns.length} columns`,
];

/** The whole database on a page: one line for each thing. */
export function catalogAsMarkdown(catalog: FullCatalog): string {
  const { relations, functions, enums, extensions, databaseBytes } = catalog;
  const tables = relations.filter(({ kind }) => !kind.endsWith('view'));
  const views = relations.filter(({ kind }) => kind.endsWith('view'));
  const lists = [
    section(
      'Views',
      views.map((view) => `- ${nameOf(view)}: ${view.columns.map(({ name }) => name).join(', ')}`),
    ),
    section('Functions', functions.map(functionLine)),
    section(
      'Enums',
      enums.map((each) => `- ${nameOf(each)}: ${each.values.join(', ')}`),
    ),
    section(
      'Extensions',
      extensions.map(({ name, version }) => `- ${name} ${version}`),
    ),
  ].flat();
  const budget = MAX_CHARACTERS - Math.min(lists.join('\n').length, MAX_CHARACTERS / 3);
  return [
    `# Database: ${tables.length} tables, ${formatBytes(databaseBytes)}`,
    'table: rows, size, row level security (number of policies) | columns, ? may be null',
    ...fit(tables, budget),
    'Details of some: ?tables=a,shop.b. Of one schema: ?schema=shop.',
    ...cut(lists, MAX_CHARACTERS / 3, 'lines. Ask for one schema at a time: ?schema='),
  ].join('\n');
}

function fit(tables: readonly Relation[], budget: number): string[] {
  let lines: string[] = [];
  for (const describe of LEVELS) {
    lines = tables.map((table) => `- ${nameOf(table)}: ${factsOf(table)} | ${describe(table)}`);
    if (lines.join('\n').length <= budget) return lines;
  }
  return cut(lines, budget, 'tables: GET /api/database/tables lists their names');
}

function cut(lines: readonly string[], budget: number, what: string): string[] {
  const kept: string[] = [];
  let left = budget;
  for (const line of lines) {
    left -= line.length + 1;
    if (left < 0) break;
    kept.push(line);
  }
  return kept.length === lines.length ? kept : [...kept, `- … ${lines.length - kept.length} more ${what}`];
}

function factsOf({ rows, bytes, rlsEnabled, policies }: Relation): string {
  return `${rows} rows, ${formatBytes(bytes)}, ${rlsEnabled ? `RLS on (${policies.length})` : 'RLS OFF'}`;
}

function functionLine(each: FullCatalog['functions'][number]): string {
  const notes = [each.securityDefiner ? 'security definer' : '', each.public ? '' : 'not for anon'].filter(Boolean);
  return `- ${nameOf(each)}(${each.arguments}) → ${each.returns}${notes.length > 0 ? `, ${notes.join(', ')}` : ''}`;
}

/** Everything about some tables. */
export function relationsAsMarkdown(relations: readonly Relation[]): string {
  return relations.map(relationAsMarkdown).join('\n\n');
}

function relationAsMarkdown(relation: Relation): string {
  const { kind, comment, columns, constraints, referencedBy, indexes, policies, triggers, definition } = relation;
  const constraintNames = new Set(constraints.map(({ name }) => name));
  return [
    `# ${nameOf(relation)} (${kind}): ${factsOf(relation)}`,
    ...(comment ? [comment] : []),
    ...section('Columns', columns.map(columnLine)),
    ...section(
      'Constraints',
      constraints.map(({ name, definition }) => `- ${name}: ${definition}`),
    ),
    ...section(
      'Referenced by',
      referencedBy.map((each) => `- ${each}`),
    ),
    ...section(
      'Indexes',
      // The index of a constraint says nothing new.
      indexes
        .filter(({ name }) => !constraintNames.has(name))
        .map(({ definition, valid }) => `- ${definition}${valid ? '' : ' (INVALID)'}`),
    ),
    ...section('Policies', policies.map(policyLine)),
    ...section(
      'Triggers',
      triggers.map(({ definition }) => `- ${definition}`),
    ),
    ...(definition ? ['## Definition', definition] : []),
  ].join('\n');
}

function columnLine(column: Relation['columns'][number]): string {
  const parts = [
    shortType(column.type),
    column.nullable ? '' : 'not null',
    column.generated === null ? '' : `generated ${column.generated}`,
    column.default === null ? '' : `default ${column.default}`,
    column.comment === null ? '' : `-- ${column.comment}`,
  ];
  return `- ${column.name} ${parts.filter(Boolean).join(' ')}`;
}

function policyLine({ name, command, roles, permissive, using, check }: Relation['policies'][number]): string {
  const parts = [
    `${permissive ? '' : 'restrictive, '}${command} to ${roles.join(', ')}`,
    using === null ? '' : `using ${using}`,
    check === null ? '' : `with check ${check}`,
  ];
  return `- ${name}: ${parts.filter(Boolean).join(' ')}`;
}

const section = (title: string, lines: readonly string[]) => (lines.length > 0 ? [`## ${title}`, ...lines] : []);

const nameOf = ({ schema, name }: { schema: string; name: string }) =>
  schema === 'public' ? name : `${schema}.${name}`;

const shortType = (type: string) => type.replace(/^[a-z ]+/, (words) => SHORT_TYPES[words.trim()] ?? words);

/** `12 kB`, `3.4 MB`. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

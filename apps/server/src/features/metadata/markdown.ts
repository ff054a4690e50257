import type { TableOverview } from '#features/schema/index.ts';
import { displayName } from './database.ts';
import { type Sections, sectionsAsMarkdown } from './sections.ts';

/** Columns that nearly every table has say nothing about this one. */
const USUAL_COLUMNS = new Set(['id', 'created_at', 'updated_at']);
const MAX_COLUMNS = 12;
/** A quarter of what agents accept in one answer; four characters are about one token. */
const MAX_CHARACTERS = 24_000;

interface Overview {
  version: string;
  tables: readonly TableOverview[];
  sizeInGB: number;
  sections: Sections;
  values: Readonly<Record<string, unknown>>;
}

/** The whole project on a page: one line for each thing, and how to see more. */
export function toMarkdown({ version, tables, sizeInGB, sections, values }: Overview): string {
  const lines = tables.map(tableLine);
  const shown = fitting(lines, MAX_CHARACTERS);
  const left = lines.length - shown.length;
  return [
    '# Project',
    `> InsForge ${version}`,
    '',
    `## database`,
    `${tables.length} tables, ${formatSize(sizeInGB)}. Each line: table, rows, row level security and number of policies, columns (besides id, created_at, updated_at).`,
    ...shown,
    ...(left > 0 ? [`- … ${left} more tables: GET /api/database/tables lists their names.`] : []),
    ...(tables.length > 0 ? ['Details of one: GET /api/metadata/{table}.'] : ['No tables yet.']),
    '',
    ...sectionsAsMarkdown(sections, values),
  ].join('\n');
}

function tableLine(table: TableOverview): string {
  const rows = table.rows === 1 ? '1 row' : `${table.rows} rows`;
  const policies = table.policies === 1 ? '1 policy' : `${table.policies} policies`;
  const security = table.rlsEnabled ? `RLS on, ${policies}` : 'RLS OFF';
  const columns = table.columns.filter((name) => !USUAL_COLUMNS.has(name));
  const more = columns.length > MAX_COLUMNS ? `, … ${columns.length - MAX_COLUMNS} more` : '';
  return `- ${displayName(table)}: ${rows}, ${security}: ${columns.slice(0, MAX_COLUMNS).join(', ')}${more}`;
}

function fitting(lines: readonly string[], budget: number): string[] {
  const shown: string[] = [];
  let left = budget;
  for (const line of lines) {
    left -= line.length + 1;
    if (left < 0) break;
    shown.push(line);
  }
  return shown;
}

function formatSize(gigabytes: number): string {
  const megabytes = gigabytes * 1024;
  return megabytes < 1024 ? `${megabytes.toFixed(1)} MB` : `${gigabytes.toFixed(2)} GB`;
}

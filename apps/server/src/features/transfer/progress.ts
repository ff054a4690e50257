import type { ImportProgress } from '@insforge/contract/transfer.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

const MARK = 'insforge import';

/**
 * What an import calls its session, so that it is known on every server: the size of the file in front of the
 * table (or the name of a SQL file), as PostgreSQL cuts long names off.
 */
export function sessionName(what: string, totalBytes: number | undefined): string {
  return `${MARK} ${totalBytes ?? '?'} ${what}`;
}

interface SessionRow {
  name: string;
  is_reading: boolean;
  rows: number | null;
  bytes: number | null;
  began: Date;
}

/** The imports that are running; PostgreSQL itself counts what it has read. */
export async function readProgress(tx: Pick<SystemTx, 'query'>): Promise<ImportProgress> {
  const sessions = await tx.query<SessionRow>(sql`
    select a.application_name as name, a.xact_start as began, p.pid is not null as is_reading,
      p.tuples_processed::float8 as rows, p.bytes_processed::float8 as bytes
    from pg_stat_activity a left join pg_stat_progress_copy p on p.pid = a.pid
    where a.datname = current_database() and a.application_name like ${`${MARK} %`} and a.xact_start is not null
    order by a.xact_start`);
  const imports = sessions.map(({ name, is_reading, rows, bytes, began }) => {
    const [, size = '', table = ''] = /^insforge import (\S+) (.*)$/s.exec(name) ?? [];
    return {
      table,
      phase: is_reading ? ('reading' as const) : ('storing' as const),
      rows: rows ?? 0,
      bytes: bytes ?? 0,
      totalBytes: Number.isFinite(Number(size)) ? Number(size) : null,
      startedAt: began.toISOString(),
    };
  });
  return { imports };
}

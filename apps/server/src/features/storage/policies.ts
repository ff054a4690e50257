import { createHash } from 'node:crypto';
import type { PolicyPreset } from '@insforge/contract/storage.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { quoteIdentifier, quoteLiteral, sql } from '#platform/db/sql.ts';
import { AppError, isDatabaseError } from '#platform/errors.ts';
import { getBucket } from './buckets.ts';
import type { StorageTx } from './storage.ts';

const OWN_FILE = `uploaded_by = (select auth.jwt() ->> 'sub')`;
const OWN_FOLDER = `(storage.foldername(key))[1] = (select auth.jwt() ->> 'sub')`;

/** What a signed-in user may do in a bucket, and whether everybody may read its files by URL. */
interface Preset {
  read: string | undefined;
  write: string;
  isPublic: boolean;
}

export const PRESETS: Readonly<Record<PolicyPreset, Preset>> = {
  /** Each user sees and changes the files they uploaded. */
  'owner-only': { read: OWN_FILE, write: OWN_FILE, isPublic: false },
  /** Each user sees and changes what lies in the folder named by their id. */
  'owner-folder': { read: OWN_FOLDER, write: OWN_FOLDER, isPublic: false },
  /** Each user changes their own files and sees all. */
  'authenticated-read': { read: undefined, write: OWN_FILE, isPublic: false },
  /** Each user changes, and can list, their own files; everybody reads by URL. */
  'public-read': { read: OWN_FILE, write: OWN_FILE, isPublic: true },
};

const COMMANDS = ['select', 'insert', 'update', 'delete'] as const;
const MAX_NAME_BYTES = 40;

/** PostgreSQL cuts names after 63 bytes: a long bucket's name is cut here, and kept apart by a mark. */
function policyName(bucket: string, command: (typeof COMMANDS)[number]): string {
  const mark = createHash('sha256').update(bucket).digest('hex').slice(0, 8);
  const name = bucket.length <= MAX_NAME_BYTES ? bucket : `${bucket.slice(0, MAX_NAME_BYTES)}~${mark}`;
  return `${name}: ${command}`;
}

const commentOf = (preset: PolicyPreset, bucket: string) => `preset ${preset} of bucket ${bucket}`;

/** The SQL that gives a bucket the policies of a preset, or with null removes those it has. */
export function presetStatements(bucket: string, preset: PolicyPreset | null): string[] {
  const nameOf = (command: (typeof COMMANDS)[number]) => quoteIdentifier(policyName(bucket, command));
  const drops = COMMANDS.map((command) => `drop policy if exists ${nameOf(command)} on storage.objects`);
  if (preset === null) return drops;
  const { read, write, isPublic } = PRESETS[preset];
  const inBucket = `bucket = ${quoteLiteral(bucket)}`;
  const conditions = {
    select: `using (${[inBucket, read].filter(Boolean).join(' and ')})`,
    insert: `with check (${inBucket} and ${write})`,
    update: `using (${inBucket} and ${write}) with check (${inBucket} and ${write})`,
    delete: `using (${inBucket} and ${write})`,
  };
  const comment = quoteLiteral(commentOf(preset, bucket));
  return [
    ...drops,
    ...COMMANDS.flatMap((command) => [
      `create policy ${nameOf(command)} on storage.objects for ${command} to authenticated ${conditions[command]}`,
      `comment on policy ${nameOf(command)} on storage.objects is ${comment}`,
    ]),
    `update storage.buckets set public = ${isPublic}, updated_at = now() where name = ${quoteLiteral(bucket)}`,
  ];
}

/** Long enough for a query in flight to end; whoever waits longer would make everybody wait behind it. */
const LOCK_TIMEOUT = '5s';

/** Runs the statements of `presetStatements`. */
export async function applyPreset(tx: SystemTx, bucket: string, preset: PolicyPreset | null): Promise<string[]> {
  await getBucket(tx, bucket);
  const statements = presetStatements(bucket, preset);
  await run(tx, statements);
  return statements;
}

async function run(tx: SystemTx, statements: readonly string[]): Promise<void> {
  await tx.query(sql`select set_config('lock_timeout', ${LOCK_TIMEOUT}, true)`);
  for (const statement of statements) await tx.query(sql.raw(statement)).catch(explainLock);
}

const LOCK_NOT_AVAILABLE = '55P03';

function explainLock(error: unknown): never {
  if (!isDatabaseError(error) || error.code !== LOCK_NOT_AVAILABLE) throw error;
  throw new AppError('UPSTREAM_FAILURE', 'Policies cannot be changed while a long transaction reads or writes files', {
    cause: error,
    nextActions: 'Try again when it has ended, such as an export; nothing was changed.',
  });
}

/** Removes the policies of a bucket that goes, so that a later bucket of the same name begins closed. */
export async function dropPresets(tx: SystemTx, bucket: string): Promise<void> {
  if ((await findPreset(tx, bucket)) === null) return;
  await run(tx, presetStatements(bucket, null));
}

/** The preset that was applied last, as long as one of its policies is there. */
async function findPreset(tx: StorageTx, bucket: string): Promise<PolicyPreset | null> {
  const comments = Object.keys(PRESETS).map((preset) => commentOf(preset as PolicyPreset, bucket));
  const found = await tx.one<{ preset: PolicyPreset }>(sql`
    select split_part(d.description, ' ', 2) as preset from pg_policy p
    join pg_description d on d.classoid = 'pg_policy'::regclass and d.objoid = p.oid
    where p.polrelid = 'storage.objects'::regclass and d.description = any(${comments}) limit 1`);
  return found?.preset ?? null;
}

export interface BucketPolicy {
  name: string;
  command: string;
  roles: string[];
  using: string | null;
  check: string | null;
}

/** The policies that count for a bucket: those that name it, and those that name none. */
export async function listBucketPolicies(
  tx: StorageTx,
  bucket: string,
): Promise<{ preset: PolicyPreset | null; policies: BucketPolicy[] }> {
  await getBucket(tx, bucket);
  const policies = await tx.query<BucketPolicy>(sql`
    select policyname::text as name, lower(cmd) as command, roles::text[], qual as using, with_check as check
    from pg_policies where schemaname = 'storage' and tablename = 'objects' order by policyname`);
  const literal = quoteLiteral(bucket);
  const concerns = ({ using, check }: BucketPolicy) => {
    const text = `${using ?? ''} ${check ?? ''}`;
    return text.includes(literal) || !/\bbucket\b/.test(text);
  };
  return { preset: await findPreset(tx, bucket), policies: policies.filter(concerns) };
}

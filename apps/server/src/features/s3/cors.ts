import { getBucket, type Storage } from '#features/storage/index.ts';
import { sql } from '#platform/db/sql.ts';
import { type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import { readDocument } from './payload.ts';
import { childrenOf, parseXml, textOf, type XmlNode, type XmlValue } from './xml.ts';

/** One rule of a bucket, in the names of S3's XML. */
interface CorsRule {
  ID?: string;
  AllowedMethod: string[];
  AllowedOrigin: string[];
  AllowedHeader?: string[];
  ExposeHeader?: string[];
  MaxAgeSeconds?: number;
}

const MAX_RULES = 100;
const METHODS = new Set(['GET', 'PUT', 'HEAD', 'POST', 'DELETE']);

export async function getBucketCors({ storage, request }: S3Context): Promise<S3Reply> {
  const rules = rulesOf((await getBucket(storage.db.system, request.bucket)).corsRules);
  if (!rules) throw new S3Error('NoSuchCORSConfiguration', undefined, { BucketName: request.bucket });
  const nodes = rules.map((rule): XmlNode => {
    const texts = Object.entries(rule).flatMap(([name, value]): XmlNode[] =>
      (Array.isArray(value) ? value : [value]).map((text) => [name, String(text)]),
    );
    return ['CORSRule', texts];
  });
  return xmlReply('CORSConfiguration', nodes);
}

export async function putBucketCors({ storage, request, payload }: S3Context): Promise<S3Reply> {
  const document = await parseXml(await readDocument(payload), 'CORSConfiguration');
  const rules = childrenOf(document, 'CORSRule').map(readRule);
  if (rules.length === 0 || rules.length > MAX_RULES) throw new S3Error('MalformedXML');
  await saveRules(storage, request.bucket, rules);
  return {};
}

export async function deleteBucketCors({ storage, request }: S3Context): Promise<S3Reply> {
  await saveRules(storage, request.bucket, null);
  return { status: 204 };
}

async function saveRules({ db, buckets }: Storage, bucket: string, rules: CorsRule[] | null): Promise<void> {
  await db.system.tx(async (tx) => {
    await getBucket(tx, bucket);
    await tx.query(sql`
      update storage.buckets set cors_rules = ${rules && JSON.stringify(rules)}::jsonb, updated_at = now()
      where name = ${bucket}`);
  });
  buckets.forget();
}

function readRule(rule: XmlValue): CorsRule {
  const list = (name: string) =>
    childrenOf(rule, name).map((value) => {
      if (typeof value !== 'string') throw new S3Error('MalformedXML');
      return value.trim();
    });
  const [methods, origins, headers, exposed] = [
    list('AllowedMethod'),
    list('AllowedOrigin'),
    list('AllowedHeader'),
    list('ExposeHeader'),
  ];
  const id = textOf(rule, 'ID');
  const maxAge = textOf(rule, 'MaxAgeSeconds')?.trim();
  const unknown = methods.find((method) => !METHODS.has(method));
  if (unknown !== undefined)
    throw new S3Error('InvalidRequest', `Found unsupported HTTP method in CORS config: ${unknown}`);
  const hasTwoStars = [...origins, ...headers].some((pattern) => pattern.split('*').length > 2);
  if (hasTwoStars) throw new S3Error('InvalidRequest', 'AllowedOrigin and AllowedHeader can have one * at most');
  if (methods.length === 0 || origins.length === 0 || !/^\d{0,9}$/.test(maxAge ?? ''))
    throw new S3Error('MalformedXML');
  return {
    ...(id === undefined ? {} : { ID: id }),
    AllowedMethod: methods,
    AllowedOrigin: origins,
    ...(headers.length > 0 ? { AllowedHeader: headers } : {}),
    ...(exposed.length > 0 ? { ExposeHeader: exposed } : {}),
    ...(maxAge ? { MaxAgeSeconds: Number(maxAge) } : {}),
  };
}

function rulesOf(stored: unknown): CorsRule[] | undefined {
  return Array.isArray(stored) ? stored : undefined;
}

/** What a browser asks: for a page of which origin, with which method and which headers. */
export interface CorsQuestion {
  origin: string;
  method: string;
  headers: readonly string[];
}

/** Of a bucket without rules: what this server allows everywhere, and the headers that S3 clients must see. */
const OPEN: CorsRule = {
  AllowedMethod: [...METHODS],
  AllowedOrigin: ['*'],
  AllowedHeader: ['*'],
  ExposeHeader: [
    'ETag',
    'Content-Range',
    'x-amz-request-id',
    'x-amz-checksum-crc32',
    'x-amz-checksum-crc64nvme',
    'x-amz-checksum-sha256',
  ],
  MaxAgeSeconds: 86_400,
};

/**
 * The headers that let a page of another origin in; none where no rule of the bucket does. A missing bucket is
 * answered like one without rules, so that a page learns of it from the request itself.
 */
export async function corsHeaders(
  storage: Storage,
  bucket: string,
  question: CorsQuestion,
): Promise<Record<string, string>> {
  const row = await storage.db.system.one<{ rules: unknown }>(sql`
    select cors_rules as rules from storage.buckets where name = ${bucket}`);
  const rule = (rulesOf(row?.rules) ?? [OPEN]).find((candidate) => allows(candidate, question));
  if (!rule) return { vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method' };
  return {
    'access-control-allow-origin': rule.AllowedOrigin.includes('*') ? '*' : question.origin,
    'access-control-allow-methods': rule.AllowedMethod.join(', '),
    ...(question.headers.length > 0 ? { 'access-control-allow-headers': question.headers.join(', ') } : {}),
    ...(rule.ExposeHeader ? { 'access-control-expose-headers': rule.ExposeHeader.join(', ') } : {}),
    ...(rule.MaxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(rule.MaxAgeSeconds) }),
    vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
  };
}

function allows(rule: CorsRule, { origin, method, headers }: CorsQuestion): boolean {
  return (
    rule.AllowedMethod.includes(method) &&
    rule.AllowedOrigin.some((pattern) => isLike(pattern, origin)) &&
    headers.every((header) =>
      (rule.AllowedHeader ?? []).some((pattern) => isLike(pattern.toLowerCase(), header.toLowerCase())),
    )
  );
}

/** A pattern has one star at most, which stands for anything. */
function isLike(pattern: string, text: string): boolean {
  const [head = '', tail] = pattern.split('*');
  if (tail === undefined) return pattern === text;
  return text.length >= head.length + tail.length && text.startsWith(head) && text.endsWith(tail);
}

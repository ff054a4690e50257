import {
  type CORSRule,
  CreateBucketCommand,
  DeleteBucketCorsCommand,
  GetBucketCorsCommand,
  PutBucketCorsCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';

async function startWith(rules: CORSRule[]): Promise<TestS3> {
  const s3 = await startS3();
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  if (rules.length > 0)
    await s3.client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: rules } }));
  return s3;
}

const preflight = (s3: TestS3, origin: string, method: string, headers?: string) =>
  fetch(`${s3.endpoint}/${Bucket}/k`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': method,
      ...(headers ? { 'access-control-request-headers': headers } : {}),
    },
  });

const RULES: CORSRule[] = [
  { ID: 'read', AllowedMethods: ['GET', 'HEAD'], AllowedOrigins: ['*'], MaxAgeSeconds: 60 },
  {
    AllowedMethods: ['PUT'],
    AllowedOrigins: ['https://*.example.com', 'http://localhost:3000'],
    AllowedHeaders: ['content-type', 'x-amz-*'],
    ExposeHeaders: ['ETag'],
  },
];

test('rules are kept, told, removed, and audited', async () => {
  const s3 = await startWith(RULES);
  const get = () => s3.client.send(new GetBucketCorsCommand({ Bucket }));
  expect((await get()).CORSRules).toEqual(RULES);
  const [{ rules } = { rules: undefined }] = await s3.sql<{ rules: unknown }>(
    'select cors_rules as rules from storage.buckets',
  );
  expect(rules).toEqual([
    { ID: 'read', AllowedMethod: ['GET', 'HEAD'], AllowedOrigin: ['*'], MaxAgeSeconds: 60 },
    {
      AllowedMethod: ['PUT'],
      AllowedOrigin: ['https://*.example.com', 'http://localhost:3000'],
      AllowedHeader: ['content-type', 'x-amz-*'],
      ExposeHeader: ['ETag'],
    },
  ]);
  await s3.client.send(new DeleteBucketCorsCommand({ Bucket }));
  await expect(get()).rejects.toMatchObject({ name: 'NoSuchCORSConfiguration', $metadata: { httpStatusCode: 404 } });
  const audited = await s3.sql(
    `select actor, action, details from system.audit_logs where action like '%_CORS' order by created_at`,
  );
  const about = { actor: `s3:${s3.key.accessKeyId}`, details: { bucketName: Bucket } };
  expect(audited).toEqual([
    { action: 'UPDATE_BUCKET_CORS', ...about },
    { action: 'DELETE_BUCKET_CORS', ...about },
  ]);
});

test.each([
  { rule: { AllowedMethods: ['PATCH'], AllowedOrigins: ['*'] }, code: 'InvalidRequest' },
  { rule: { AllowedMethods: ['GET'], AllowedOrigins: ['https://*.*.com'] }, code: 'InvalidRequest' },
  { rule: { AllowedMethods: [], AllowedOrigins: ['*'] }, code: 'MalformedXML' },
  { rule: { AllowedMethods: ['GET'], AllowedOrigins: [] }, code: 'MalformedXML' },
])('a rule that cannot be kept is refused: $rule', async ({ rule, code }) => {
  const s3 = await startWith([]);
  const put = s3.client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [rule] } }));
  await expect(put).rejects.toMatchObject({ name: code, $metadata: { httpStatusCode: 400 } });
});

test.each([
  { origin: 'https://a.org', method: 'GET', headers: undefined, allowed: '*' },
  { origin: 'https://a.org', method: 'PUT', headers: undefined, allowed: null },
  {
    origin: 'https://app.example.com',
    method: 'PUT',
    headers: 'Content-Type, X-Amz-Date',
    allowed: 'https://app.example.com',
  },
  { origin: 'https://app.example.com', method: 'PUT', headers: 'authorization', allowed: null },
  { origin: 'https://example.com', method: 'PUT', headers: undefined, allowed: null },
  { origin: 'https://app.example.com.evil.org', method: 'PUT', headers: undefined, allowed: null },
  { origin: 'http://localhost:3000', method: 'PUT', headers: undefined, allowed: 'http://localhost:3000' },
  { origin: 'https://a.org', method: 'DELETE', headers: undefined, allowed: null },
])('a page of $origin may $method: $allowed', async ({ origin, method, headers, allowed }) => {
  const s3 = await startWith(RULES);
  const reply = await preflight(s3, origin, method, headers);
  expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([allowed ? 204 : 403, allowed]);
  const denied = await fetch(`${s3.endpoint}/${Bucket}/k`, { method, headers: { origin } });
  expect(denied.status).toBe(403);
  if (!headers) expect(denied.headers.get('access-control-allow-origin')).toBe(allowed);
});

test('a bucket without rules is open to pages as this server is, and lets them see ETags', async () => {
  const s3 = await startWith([]);
  const reply = await preflight(s3, 'https://a.org', 'PUT', 'content-type,x-amz-meta-a');
  expect(reply.status).toBe(204);
  expect(reply.headers.get('access-control-allow-headers')).toBe('content-type, x-amz-meta-a');
  expect(reply.headers.get('access-control-expose-headers')).toContain('ETag');
  expect(reply.headers.get('access-control-allow-credentials')).toBeNull();
  const plain = await fetch(`${s3.endpoint}/${Bucket}/k`);
  expect(plain.headers.get('access-control-allow-origin')).toBeNull();
});

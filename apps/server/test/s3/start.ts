import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { expect, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

export const REGION = 'us-east-2';

export interface AccessKey {
  id: string;
  accessKeyId: string;
  secretAccessKey: string;
}

export interface TestS3 extends TestApp {
  /** Where clients connect. */
  endpoint: string;
  key: AccessKey;
  /** The official client, signed in with the key. */
  client: S3Client;
  clientWith(config: S3ClientConfig): S3Client;
  /** The rows of a bucket, and of every upload that has not ended. */
  stored(): Promise<{ objects: string[]; uploads: number; parts: number; blobs: number }>;
}

let addresses = 0;

/** Makes an access key as an admin does. Writing keys is limited by address, so each one comes from another. */
export async function createKey(app: TestApp, description = 'test'): Promise<AccessKey> {
  addresses++;
  const headers = { 'x-forwarded-for': `10.0.${addresses >> 8}.${addresses & 255}` };
  const reply = await app.as('admin').post('/api/storage/s3/access-keys', { description }, headers);
  expect(reply.status, reply.text).toBe(201);
  return reply.body;
}

/** A server that listens, with an access key and the AWS SDK connected to it. */
export async function startS3(environment: Record<string, string> = {}): Promise<TestS3> {
  const app = await startApp(environment);
  const endpoint = `${await app.listen()}/storage/v1/s3`;
  const key = await createKey(app);
  const clientWith = (config: S3ClientConfig) => {
    const client = new S3Client({ endpoint, region: REGION, forcePathStyle: true, credentials: key, ...config });
    onTestFinished(() => client.destroy());
    return client;
  };
  return {
    ...app,
    endpoint,
    key,
    client: clientWith({}),
    clientWith,
    async stored() {
      const objects = await app.sql<{ name: string }>(
        `select bucket || '/' || key as name from storage.objects order by 1`,
      );
      const [counts] = await app.sql<{ uploads: number; parts: number; blobs: number }>(
        `select (select count(*)::int from storage.uploads) as uploads,
                (select count(*)::int from storage.upload_parts) as parts,
                (select count(*)::int from storage.live_blobs) +
                  (select count(*)::int from storage.objects where bytes is not null) as blobs`,
      );
      return { objects: objects.map(({ name }) => name), uploads: 0, parts: 0, blobs: 0, ...counts };
    },
  };
}

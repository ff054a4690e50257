import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestApp, TestClient } from '../harness.ts';

export const BUCKETS = '/api/storage/buckets';

/** The path of an object, encoded as the clients do. */
export function objectPath(bucket: string, key: string): string {
  return `${BUCKETS}/${bucket}/objects/${encodeURIComponent(key)}`;
}

/** A form with one file, and the headers that go with it. */
export function form(content: string | Uint8Array, type = 'text/plain', filename = 'file.txt') {
  const boundary = `----test${randomBytes(8).toString('hex')}`;
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${filename}"\r\ncontent-type: ${type}\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), Buffer.from(content), Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { body, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } };
}

/** Uploads as the clients do. */
export function upload(client: TestClient, bucket: string, key: string, content: string | Uint8Array, type?: string) {
  const { body, headers } = form(content, type);
  return client.put(objectPath(bucket, key), body, headers);
}

export interface BucketOptions {
  isPublic?: boolean;
  preset?: string;
  [setting: string]: unknown;
}

/** Makes a bucket as an admin. */
export async function makeBucket(server: TestApp, bucketName: string, { preset, ...settings }: BucketOptions = {}) {
  const admin = server.as('admin');
  const made = await admin.post(BUCKETS, { bucketName, isPublic: false, ...settings });
  if (made.status !== 201) throw new Error(`no bucket: ${made.text}`);
  if (preset === undefined) return;
  const applied = await admin.put(`${BUCKETS}/${bucketName}/policies`, { preset });
  if (applied.status !== 200) throw new Error(`no policies: ${applied.text}`);
}

/** From now on, whoever reads the bytes that are in a row is met with an error. No key may be hexadecimal. */
export const makeRowsUnreadable = ({ sql }: TestApp) =>
  sql(`
    alter table storage.objects drop column bytes cascade;
    alter table storage.objects add column bytes bytea generated always as (decode(key, 'hex')) virtual`);

/** The files that lie in the store of a server, whatever they belong to. */
export async function storedFiles(dataDir: string): Promise<string[]> {
  const entries = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && /^[0-9a-f]{32}$/.test(entry.name));
  return files.map(({ name }) => name).sort();
}

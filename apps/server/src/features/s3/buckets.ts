import {
  createBucket as createStorageBucket,
  deleteBucket as deleteStorageBucket,
  getBucket,
  listBuckets as listStorageBuckets,
} from '#features/storage/index.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { OWNER, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import { readDocument } from './payload.ts';
import { headerOf } from './request.ts';
import { parseXml, textOf, type XmlNode } from './xml.ts';

/** All buckets; the owner of one access key is the owner of all. */
export async function listBuckets({ storage, request }: S3Context): Promise<S3Reply> {
  const prefix = request.query.get('prefix') ?? '';
  const buckets = await listStorageBuckets(storage.db.system);
  const nodes = buckets
    .filter(({ name }) => name.startsWith(prefix))
    .map(
      ({ name, createdAt }): XmlNode => [
        'Bucket',
        [
          ['Name', name],
          ['CreationDate', createdAt.toISOString()],
        ],
      ],
    );
  return xmlReply('ListAllMyBucketsResult', [
    ['Owner', OWNER],
    ['Buckets', nodes],
  ]);
}

/** Makes a bucket, private unless the canned ACL asks for a public one. */
export async function createBucket({ storage, request }: S3Context): Promise<S3Reply> {
  const isPublic = headerOf(request, 'x-amz-acl') === 'public-read';
  try {
    await storage.db.system.tx((tx) => createStorageBucket(tx, request.bucket, { isPublic }));
  } catch (error) {
    const isTaken = error instanceof AppError && error.code === 'STORAGE_ALREADY_EXISTS';
    throw isTaken ? new S3Error('BucketAlreadyOwnedByYou', undefined, { BucketName: request.bucket }) : error;
  }
  storage.buckets.forget();
  return { headers: { location: `/${request.bucket}` } };
}

/** Deletes a bucket that is empty. */
export async function deleteBucket({ storage, request }: S3Context): Promise<S3Reply> {
  const { bucket } = request;
  await storage.db.system.tx(async (tx) => {
    // The lock keeps uploads out, whose rows refer to this one, until it is decided.
    await tx.query(sql`select from storage.buckets where name = ${bucket} for update`);
    const found = await tx.query(sql`select from storage.objects where bucket = ${bucket} limit 1`);
    if (found.length > 0) throw new S3Error('BucketNotEmpty', undefined, { BucketName: bucket });
    await deleteStorageBucket(tx, bucket);
  });
  storage.buckets.forget();
  storage.collectGarbage();
  return { status: 204 };
}

export async function headBucket({ storage, request, region }: S3Context): Promise<S3Reply> {
  await storage.buckets.get(request.bucket);
  return { headers: { 'x-amz-bucket-region': region } };
}

export async function getBucketLocation({ storage, request, region }: S3Context): Promise<S3Reply> {
  await storage.buckets.get(request.bucket);
  // Of the region that everything began in, S3 says nothing.
  return xmlReply('LocationConstraint', region === 'us-east-1' ? '' : region);
}

/** Stored and told, and no more: an object has one version, whatever this says. */
export async function getBucketVersioning({ storage, request }: S3Context): Promise<S3Reply> {
  const { versioningStatus } = await getBucket(storage.db.system, request.bucket);
  return xmlReply('VersioningConfiguration', [
    ['Status', versioningStatus === 'Disabled' ? undefined : versioningStatus],
  ]);
}

export async function putBucketVersioning({ storage, request, payload }: S3Context): Promise<S3Reply> {
  const status = textOf(await parseXml(await readDocument(payload), 'VersioningConfiguration'), 'Status');
  if (status !== 'Enabled' && status !== 'Suspended') throw new S3Error('MalformedXML');
  await storage.db.system.tx(async (tx) => {
    await getBucket(tx, request.bucket);
    await tx.query(sql`
      update storage.buckets set versioning_status = ${status}, updated_at = now() where name = ${request.bucket}`);
  });
  storage.buckets.forget();
  return {};
}

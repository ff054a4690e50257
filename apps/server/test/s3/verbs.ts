import { randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { Draft } from './sign.ts';
import type { TestS3 } from './start.ts';

/** One request of every operation, which can be sent in this order; U stands for the id of an upload of files/m.bin. */
export const VERBS: {
  name: string;
  method: string;
  target: string;
  query?: [string, string][];
  headers?: [string, string][];
  body?: string | Buffer;
}[] = [
  { name: 'ListBuckets', method: 'GET', target: '/' },
  { name: 'CreateBucket', method: 'PUT', target: '/new-bucket' },
  { name: 'HeadBucket', method: 'HEAD', target: '/files' },
  { name: 'ListObjects', method: 'GET', target: '/files' },
  { name: 'ListObjectsV2', method: 'GET', target: '/files', query: [['list-type', '2']] },
  { name: 'ListObjectVersions', method: 'GET', target: '/files', query: [['versions', '']] },
  { name: 'ListMultipartUploads', method: 'GET', target: '/files', query: [['uploads', '']] },
  { name: 'GetBucketLocation', method: 'GET', target: '/files', query: [['location', '']] },
  { name: 'GetBucketVersioning', method: 'GET', target: '/files', query: [['versioning', '']] },
  {
    name: 'PutBucketVersioning',
    method: 'PUT',
    target: '/files',
    query: [['versioning', '']],
    body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>',
  },
  {
    name: 'PutBucketCors',
    method: 'PUT',
    target: '/files',
    query: [['cors', '']],
    body: '<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>',
  },
  { name: 'GetBucketCors', method: 'GET', target: '/files', query: [['cors', '']] },
  { name: 'DeleteBucketCors', method: 'DELETE', target: '/files', query: [['cors', '']] },
  { name: 'GetObject', method: 'GET', target: '/files/a.txt' },
  { name: 'HeadObject', method: 'HEAD', target: '/files/a.txt' },
  { name: 'PutObject', method: 'PUT', target: '/files/new.bin', body: randomBytes(30_000) },
  { name: 'PutObject over another', method: 'PUT', target: '/files/a.txt', body: randomBytes(30_000) },
  { name: 'CopyObject', method: 'PUT', target: '/files/copy.txt', headers: [['x-amz-copy-source', '/files/a.txt']] },
  { name: 'GetObjectTagging', method: 'GET', target: '/files/a.txt', query: [['tagging', '']] },
  {
    name: 'PutObjectTagging',
    method: 'PUT',
    target: '/files/a.txt',
    query: [['tagging', '']],
    body: '<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>',
  },
  { name: 'DeleteObjectTagging', method: 'DELETE', target: '/files/a.txt', query: [['tagging', '']] },
  { name: 'CreateMultipartUpload', method: 'POST', target: '/files/m.bin', query: [['uploads', '']] },
  {
    name: 'UploadPart',
    method: 'PUT',
    target: '/files/m.bin',
    query: [
      ['partNumber', '2'],
      ['uploadId', 'U'],
    ],
    body: randomBytes(30_000),
  },
  {
    name: 'UploadPartCopy',
    method: 'PUT',
    target: '/files/m.bin',
    query: [
      ['partNumber', '2'],
      ['uploadId', 'U'],
    ],
    headers: [['x-amz-copy-source', '/files/a.txt']],
  },
  { name: 'ListParts', method: 'GET', target: '/files/m.bin', query: [['uploadId', 'U']] },
  {
    name: 'CompleteMultipartUpload',
    method: 'POST',
    target: '/files/m.bin',
    query: [['uploadId', 'U']],
    body: '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>5d41402abc4b2a76b9719d911017c592</ETag></Part></CompleteMultipartUpload>',
  },
  { name: 'AbortMultipartUpload', method: 'DELETE', target: '/files/m.bin', query: [['uploadId', 'U']] },
  { name: 'DeleteObject', method: 'DELETE', target: '/files/a.txt' },
  {
    name: 'DeleteObjects',
    method: 'POST',
    target: '/files',
    query: [['delete', '']],
    body: '<Delete><Object><Key>a.txt</Key></Object></Delete>',
  },
  { name: 'DeleteBucket', method: 'DELETE', target: '/empty' },
];

/** What the verbs work on: two buckets, an object with a tag, and an upload with one part. Gives the upload's id. */
export async function prepare({ client }: TestS3): Promise<string> {
  for (const Bucket of ['files', 'empty']) await client.send(new CreateBucketCommand({ Bucket }));
  await client.send(new PutObjectCommand({ Bucket: 'files', Key: 'a.txt', Body: 'hello', Tagging: 'a=1' }));
  const upload = { Bucket: 'files', Key: 'm.bin' };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload));
  await client.send(new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: 'hello' }));
  return UploadId ?? '';
}

/** A verb as a request to be signed. */
export function draftOf(endpoint: string, uploadId: string, name: string): Draft {
  const verb = VERBS.find((candidate) => candidate.name === name);
  if (!verb) throw new Error(name);
  const { method, target, query = [], headers = [], body = '' } = verb;
  const { host, pathname } = new URL(endpoint);
  return {
    method,
    path: pathname + target,
    query: query.map(([key, value]) => [key, value === 'U' ? uploadId : value]),
    headers: [['host', host], ...headers],
    body: Buffer.from(body),
  };
}

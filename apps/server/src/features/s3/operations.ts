import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
  putBucketVersioning,
} from './buckets.ts';
import { completeMultipartUpload } from './completion.ts';
import type { S3Context, S3Reply } from './context.ts';
import { deleteBucketCors, getBucketCors, putBucketCors } from './cors.ts';
import { S3Error } from './errors.ts';
import { listObjects, listObjectsV2, listObjectVersions } from './listing.ts';
import { abortMultipartUpload, createMultipartUpload, listMultipartUploads } from './multipart.ts';
import { copyObject, deleteObject, deleteObjects, getObject, headObject, putObject } from './objects.ts';
import { listParts, uploadPart, uploadPartCopy } from './parts.ts';
import { headerOf, hoisted, type S3Request } from './request.ts';
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './tagging.ts';

/** One operation of the protocol: what a request must look like, and what is done then. */
export interface Operation {
  name: string;
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  on: 'service' | 'bucket' | 'object';
  /** Query parameters that must be there; `a=b` must also have this value. */
  needs: readonly string[];
  /** A header that must be there. */
  header?: string;
  /** Query parameters that may be there. Any other one is refused: it asks for something that would not happen. */
  takes: readonly string[];
  /** Set for what changes a bucket: the name of the deed in the audit log. */
  audit?: string;
  /** True: its checksum headers are about the object, and say nothing of the body. */
  sumsObject?: boolean;
  run: (context: S3Context) => Promise<S3Reply>;
}

const COPY = 'x-amz-copy-source';
const OVERRIDES = [
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
];
const PAGE = ['prefix', 'delimiter', 'max-keys', 'encoding-type'];
const VERSION = ['versionId'];

type Row = [
  name: string,
  method: Operation['method'],
  on: Operation['on'],
  needs: readonly string[],
  takes: readonly string[],
  run: Operation['run'],
  more?: Pick<Operation, 'header' | 'audit' | 'sumsObject'>,
];

// biome-ignore format: a table is read in columns
const ROWS: readonly Row[] = [
  ['ListBuckets',             'GET',    'service', [],                         ['prefix', 'max-buckets'],                                        listBuckets],
  ['CreateBucket',            'PUT',    'bucket',  [],                         [],                                                               createBucket, { audit: 'CREATE_BUCKET' }],
  ['DeleteBucket',            'DELETE', 'bucket',  [],                         [],                                                               deleteBucket, { audit: 'DELETE_BUCKET' }],
  ['HeadBucket',              'HEAD',   'bucket',  [],                         [],                                                               headBucket],
  ['ListObjects',             'GET',    'bucket',  [],                         [...PAGE, 'marker'],                                              listObjects],
  ['ListObjectsV2',           'GET',    'bucket',  ['list-type=2'],            [...PAGE, 'continuation-token', 'start-after', 'fetch-owner'],    listObjectsV2],
  ['ListObjectVersions',      'GET',    'bucket',  ['versions'],               [...PAGE, 'key-marker', 'version-id-marker'],                     listObjectVersions],
  ['ListMultipartUploads',    'GET',    'bucket',  ['uploads'],                ['prefix', 'delimiter', 'max-uploads', 'encoding-type', 'key-marker', 'upload-id-marker'], listMultipartUploads],
  ['GetBucketLocation',       'GET',    'bucket',  ['location'],               [],                                                               getBucketLocation],
  ['GetBucketVersioning',     'GET',    'bucket',  ['versioning'],             [],                                                               getBucketVersioning],
  ['PutBucketVersioning',     'PUT',    'bucket',  ['versioning'],             [],                                                               putBucketVersioning, { audit: 'UPDATE_BUCKET_VERSIONING' }],
  ['GetBucketCors',           'GET',    'bucket',  ['cors'],                   [],                                                               getBucketCors],
  ['PutBucketCors',           'PUT',    'bucket',  ['cors'],                   [],                                                               putBucketCors, { audit: 'UPDATE_BUCKET_CORS' }],
  ['DeleteBucketCors',        'DELETE', 'bucket',  ['cors'],                   [],                                                               deleteBucketCors, { audit: 'DELETE_BUCKET_CORS' }],
  ['DeleteObjects',           'POST',   'bucket',  ['delete'],                 [],                                                               deleteObjects],
  ['GetObject',               'GET',    'object',  [],                         [...VERSION, ...OVERRIDES, 'partNumber'],                         getObject],
  ['HeadObject',              'HEAD',   'object',  [],                         [...VERSION, ...OVERRIDES, 'partNumber'],                         headObject],
  ['PutObject',               'PUT',    'object',  [],                         [],                                                               putObject],
  ['CopyObject',              'PUT',    'object',  [],                         [],                                                               copyObject, { header: COPY }],
  ['DeleteObject',            'DELETE', 'object',  [],                         VERSION,                                                          deleteObject],
  ['GetObjectTagging',        'GET',    'object',  ['tagging'],                VERSION,                                                          getObjectTagging],
  ['PutObjectTagging',        'PUT',    'object',  ['tagging'],                VERSION,                                                          putObjectTagging],
  ['DeleteObjectTagging',     'DELETE', 'object',  ['tagging'],                VERSION,                                                          deleteObjectTagging],
  ['CreateMultipartUpload',   'POST',   'object',  ['uploads'],                [],                                                               createMultipartUpload],
  ['UploadPart',              'PUT',    'object',  ['partNumber', 'uploadId'], [],                                                               uploadPart],
  ['UploadPartCopy',          'PUT',    'object',  ['partNumber', 'uploadId'], [],                                                               uploadPartCopy, { header: COPY }],
  ['ListParts',               'GET',    'object',  ['uploadId'],               ['max-parts', 'part-number-marker', 'encoding-type'],             listParts],
  ['CompleteMultipartUpload', 'POST',   'object',  ['uploadId'],               [],                                                               completeMultipartUpload, { sumsObject: true }],
  ['AbortMultipartUpload',    'DELETE', 'object',  ['uploadId'],               [],                                                               abortMultipartUpload],
];

export const OPERATIONS: readonly Operation[] = ROWS.map(([name, method, on, needs, takes, run, more]) => ({
  name,
  method,
  on,
  needs,
  takes,
  run,
  ...more,
}));

/** What the signature and the SDKs add; it says nothing about the operation. */
const isNeutral = (parameter: string) => parameter === 'x-id' || parameter.toLowerCase().startsWith('x-amz-');

/** Headers that ask for something that would not happen. */
const UNSUPPORTED =
  /^x-amz-(server-side-encryption|copy-source-server-side-encryption|object-lock|grant-|website-redirect-location|mfa$|bypass-governance|write-offset|if-match-)/;

const ACLS: Record<Operation['on'], ReadonlySet<string>> = {
  service: new Set(),
  bucket: new Set(['private', 'public-read']),
  object: new Set(['private', 'bucket-owner-full-control', 'bucket-owner-read']),
};

/**
 * Finds the operation that a request asks for: the row whose conditions hold and that has the most of them.
 * @throws S3Error NotImplemented where no row takes all that the request says
 */
export function findOperation(request: S3Request): Operation {
  const on = request.key !== '' ? 'object' : request.bucket !== '' ? 'bucket' : 'service';
  const operation = OPERATIONS.filter((row) => row.on === on && row.method === request.method && applies(row, request))
    .sort((a, b) => weight(b) - weight(a))
    .at(0);
  if (!operation)
    throw new S3Error('NotImplemented', `${request.method} on a ${on} is not implemented for these parameters`);
  const known = new Set([...operation.needs.map((need) => need.split('=', 1)[0]), ...operation.takes]);
  const unknown = [...request.query.keys()].find((parameter) => !known.has(parameter) && !isNeutral(parameter));
  if (unknown !== undefined) {
    throw new S3Error('NotImplemented', `The parameter ${unknown} is not implemented for ${request.method} on a ${on}`);
  }
  checkHeaders(request, on);
  return operation;
}

const weight = ({ needs, header }: Operation) => needs.length + (header ? 1 : 0);

function applies({ needs, header }: Operation, request: S3Request): boolean {
  const hasParameters = needs.every((need) => {
    const [name = '', value] = need.split('=', 2);
    return value === undefined ? request.query.has(name) : request.query.get(name) === value;
  });
  return hasParameters && (header === undefined || headerOf(request, header) !== undefined);
}

function checkHeaders(request: S3Request, on: Operation['on']): void {
  const names = [...request.headers.keys(), ...hoisted(request).keys()];
  const unsupported = names.find((name) => UNSUPPORTED.test(name));
  if (unsupported !== undefined) throw new S3Error('NotImplemented', `The header ${unsupported} is not implemented`);
  const acl = headerOf(request, 'x-amz-acl');
  if (acl !== undefined && !ACLS[on].has(acl)) {
    throw new S3Error(
      'AccessControlListNotSupported',
      `The canned ACL ${acl} is not supported. What a bucket lets everybody read is a property of the bucket.`,
    );
  }
  const version = request.query.get('versionId');
  if (version !== undefined && version !== 'null')
    throw new S3Error('NoSuchVersion', undefined, { VersionId: version });
}

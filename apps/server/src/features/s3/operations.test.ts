import { expect, test } from 'vitest';
import { findOperation, OPERATIONS } from './operations.ts';
import { readRequest } from './request.ts';

const find = (method: string, url: string, headers: Record<string, string> = {}) =>
  findOperation(readRequest(method, `/storage/v1/s3${url}`, Object.entries(headers).flat()));

test.each([
  ['GET', '', 'ListBuckets'],
  ['GET', '/', 'ListBuckets'],
  ['GET', '/?x-id=ListBuckets', 'ListBuckets'],
  ['PUT', '/b', 'CreateBucket'],
  ['PUT', '/b/', 'CreateBucket'],
  ['DELETE', '/b', 'DeleteBucket'],
  ['HEAD', '/b', 'HeadBucket'],
  ['GET', '/b?prefix=a&delimiter=/&max-keys=1&marker=x&encoding-type=url', 'ListObjects'],
  ['GET', '/b?list-type=2&prefix=a&start-after=b&fetch-owner=true', 'ListObjectsV2'],
  ['GET', '/b?versions', 'ListObjectVersions'],
  ['GET', '/b?uploads', 'ListMultipartUploads'],
  ['GET', '/b?location', 'GetBucketLocation'],
  ['GET', '/b?versioning=', 'GetBucketVersioning'],
  ['PUT', '/b?versioning', 'PutBucketVersioning'],
  ['GET', '/b?cors', 'GetBucketCors'],
  ['PUT', '/b?cors', 'PutBucketCors'],
  ['DELETE', '/b?cors', 'DeleteBucketCors'],
  ['POST', '/b?delete', 'DeleteObjects'],
  ['GET', '/b/k?response-content-type=text/plain&versionId=null', 'GetObject'],
  ['HEAD', '/b/k', 'HeadObject'],
  ['PUT', '/b/k?x-id=PutObject', 'PutObject'],
  ['DELETE', '/b/k', 'DeleteObject'],
  ['GET', '/b/k?tagging', 'GetObjectTagging'],
  ['PUT', '/b/k?tagging', 'PutObjectTagging'],
  ['DELETE', '/b/k?tagging', 'DeleteObjectTagging'],
  ['POST', '/b/k?uploads', 'CreateMultipartUpload'],
  ['PUT', '/b/k?partNumber=1&uploadId=u', 'UploadPart'],
  ['GET', '/b/k?uploadId=u&max-parts=2', 'ListParts'],
  ['POST', '/b/k?uploadId=u', 'CompleteMultipartUpload'],
  ['DELETE', '/b/k?uploadId=u', 'AbortMultipartUpload'],
])('%s %s is %s', (method, url, name) => {
  expect(find(method, url).name).toBe(name);
});

test('the header of a copy makes another operation of an upload', () => {
  const headers = { 'x-amz-copy-source': '/b/k' };
  expect(find('PUT', '/b/k', headers).name).toBe('CopyObject');
  expect(find('PUT', '/b/k?partNumber=1&uploadId=u', headers).name).toBe('UploadPartCopy');
});

// What would go wrong if an unknown parameter were ignored: an access list stored as an object, a bucket deleted
// instead of its policy.
test.each([
  ['PUT', '/b/k?acl'],
  ['PUT', '/b/k?retention'],
  ['PUT', '/b/k?uploadId=u'],
  ['PUT', '/b/k?partNumber=1'],
  ['DELETE', '/b?policy'],
  ['DELETE', '/b?lifecycle'],
  ['DELETE', '/b/k?uploadId=u&versionId=null'],
  ['PUT', '/b?acl'],
  ['PUT', '/b?encryption'],
  ['GET', '/b?list-type=3'],
  ['GET', '/b/k?acl'],
  ['GET', '/b/k?torrent'],
  ['POST', '/b/k?restore'],
  ['POST', '/b/k?select&select-type=2'],
  ['POST', '/b'],
  ['POST', '/b/k'],
  ['PATCH', '/b/k'],
  ['DELETE', '/'],
])('%s %s is not implemented, and nothing else instead', (method, url) => {
  expect(() => find(method, url)).toThrow(expect.objectContaining({ code: 'NotImplemented' }));
});

test.each([
  ['x-amz-server-side-encryption', 'AES256', 'NotImplemented'],
  ['x-amz-server-side-encryption-customer-key', 'x', 'NotImplemented'],
  ['x-amz-object-lock-mode', 'GOVERNANCE', 'NotImplemented'],
  ['x-amz-grant-read', 'id=1', 'NotImplemented'],
  ['x-amz-acl', 'public-read', 'AccessControlListNotSupported'],
])('the header %s asks for what would not happen: %s is refused', (name, value, code) => {
  expect(() => find('PUT', '/b/k', { [name]: value })).toThrow(expect.objectContaining({ code }));
  expect(() => find('PUT', `/b/k?X-Amz-Signature=s&${name}=${value}`)).toThrow(expect.objectContaining({ code }));
});

test('a version other than the only one is not there', () => {
  expect(() => find('GET', '/b/k?versionId=3sL4kqtJlcpXroDTDmJ')).toThrow(
    expect.objectContaining({ code: 'NoSuchVersion' }),
  );
});

test('every operation is named once', () => {
  expect(new Set(OPERATIONS.map(({ name }) => name)).size).toBe(OPERATIONS.length);
});

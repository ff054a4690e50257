import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { readRequest, type S3Request } from './request.ts';
import { checkSignature, readSignature } from './signature.ts';
import { canonicalRequest, signingKey, uriEncode, verifySignature } from './sigv4.ts';

// The examples of AWS's documentation: sig-v4-header-based-auth, sigv4-query-string-auth, sigv4-streaming and
// sigv4-streaming-trailers. They use virtual hosts, so the path is put in after the request was taken apart.
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
const CREDENTIAL = 'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request';
const EMPTY = createHash('sha256').digest('hex');
const NOW = Date.UTC(2013, 4, 24);

function request(method: string, path: string, query: string, headers: Record<string, string | undefined>): S3Request {
  return { ...readRequest(method, `/storage/v1/s3/?${query}`, Object.entries(headers).flat() as string[]), path };
}

function authorization(signedHeaders: string, signature: string): string {
  return `AWS4-HMAC-SHA256 Credential=${CREDENTIAL},SignedHeaders=${signedHeaders},Signature=${signature}`;
}

function verify(of: S3Request) {
  const signature = readSignature(of);
  checkSignature(signature, of, 'us-east-1', NOW);
  return verifySignature(signature, of, signingKey(SECRET, signature));
}

const host = 'examplebucket.s3.amazonaws.com';
const base = { host, 'x-amz-date': '20130524T000000Z', 'x-amz-content-sha256': EMPTY };

test.each([
  {
    what: 'GET Object',
    request: request('GET', '/test.txt', '', {
      ...base,
      range: 'bytes=0-9',
      authorization: authorization(
        'host;range;x-amz-content-sha256;x-amz-date',
        'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
      ),
    }),
  },
  {
    what: 'PUT Object',
    request: request('PUT', '/test%24file.text', '', {
      host,
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      authorization: authorization(
        'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      ),
    }),
  },
  {
    what: 'GET Bucket Lifecycle',
    request: request('GET', '/', 'lifecycle', {
      ...base,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
      ),
    }),
  },
  {
    what: 'GET Bucket (List Objects)',
    request: request('GET', '/', 'max-keys=2&prefix=J', {
      ...base,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
      ),
    }),
  },
  {
    what: 'a presigned URL',
    request: request(
      'GET',
      '/test.txt',
      `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(CREDENTIAL)}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`,
      { host },
    ),
  },
])('the example of AWS verifies: $what', ({ request }) => {
  expect(() => verify(request)).not.toThrow();
  expect(() => verify({ ...request, path: `${request.path}x` })).toThrow('signature does not match');
  expect(() => verify({ ...request, method: 'DELETE' })).toThrow('signature does not match');
});

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const CHUNKS = [sha256('a'.repeat(65_536)), sha256('a'.repeat(1024)), EMPTY];

test.each([
  {
    what: 'chunks',
    mode: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    more: {},
    seed: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
    signatures: [
      'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
      '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
      'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
    ],
    trailer: undefined,
  },
  {
    what: 'chunks with a trailer',
    mode: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
    more: { 'x-amz-trailer': 'x-amz-checksum-crc32c' },
    seed: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
    signatures: [
      'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
      '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
      '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
    ],
    trailer: 'd81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435',
  },
])('the example of AWS verifies: $what', ({ mode, more, seed, signatures, trailer }) => {
  const headers: Record<string, string | undefined> = {
    host: 's3.amazonaws.com',
    'x-amz-date': '20130524T000000Z',
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    'x-amz-content-sha256': mode,
    'content-encoding': 'aws-chunked',
    'x-amz-decoded-content-length': '66560',
    'content-length': '66824',
    ...more,
  };
  if (trailer) delete headers['content-length'];
  headers.authorization = authorization(Object.keys(headers).sort().join(';'), seed);
  const signer = verify(request('PUT', '/examplebucket/chunkObject.txt', '', headers));
  expect(() => signer.chunk(CHUNKS[1]!, signatures[1]!)).toThrow('signature of a chunk');
  for (const [index, signature] of signatures.entries()) signer.chunk(CHUNKS[index]!, signature);
  if (trailer) {
    expect(() => signer.trailer('x-amz-checksum-crc32c:AAAAAA==\n', trailer)).toThrow('signature of a trailer');
    signer.trailer('x-amz-checksum-crc32c:sOO8/Q==\n', trailer);
  }
});

const valid = authorization('host;x-amz-content-sha256;x-amz-date', 'a'.repeat(64));

test.each([
  { what: 'nothing signed', headers: { host }, code: 'AccessDenied' },
  { what: 'version 2', headers: { ...base, authorization: 'AWS AKIA:c2ln' }, code: 'InvalidRequest' },
  { what: 'a bearer token', headers: { ...base, authorization: 'Bearer ik_1' }, code: 'InvalidRequest' },
  {
    what: 'a field twice',
    headers: { ...base, authorization: `${valid},Signature=b` },
    code: 'AuthorizationHeaderMalformed',
  },
  {
    what: 'another service',
    headers: { ...base, authorization: valid.replace('/s3/', '/ec2/') },
    code: 'AuthorizationHeaderMalformed',
  },
  {
    what: 'another region',
    headers: { ...base, authorization: valid.replace('us-east-1', 'eu-west-1') },
    code: 'AuthorizationHeaderMalformed',
  },
  {
    what: 'another day in the scope',
    headers: { ...base, authorization: valid.replace('20130524', '20130523') },
    code: 'AuthorizationHeaderMalformed',
  },
  {
    what: 'unordered signed headers',
    headers: { ...base, authorization: valid.replace('host;x-amz-content-sha256', 'x-amz-content-sha256;host') },
    code: 'AuthorizationHeaderMalformed',
  },
  {
    what: 'a signed header twice',
    headers: { ...base, authorization: valid.replace('host;', 'host;host;') },
    code: 'AuthorizationHeaderMalformed',
  },
  { what: 'no host signed', headers: { ...base, authorization: valid.replace('host;', '') }, code: 'AccessDenied' },
  {
    what: 'an unsigned x-amz- header',
    headers: { ...base, 'x-amz-acl': 'private', authorization: valid },
    code: 'AccessDenied',
  },
  {
    what: 'a signed header that is not there',
    headers: { ...base, authorization: valid.replace('host;', 'host;range;') },
    code: 'SignatureDoesNotMatch',
  },
  {
    what: 'no payload hash',
    headers: { host, 'x-amz-date': base['x-amz-date'], authorization: valid },
    code: 'MissingSecurityHeader',
  },
  { what: 'no date', headers: { host, 'x-amz-content-sha256': EMPTY, authorization: valid }, code: 'AccessDenied' },
  {
    what: 'a session token',
    headers: { ...base, 'x-amz-security-token': 't', authorization: valid },
    code: 'InvalidToken',
  },
  {
    what: 'an upper-case signature',
    headers: { ...base, authorization: valid.replace(/a{64}/, 'A'.repeat(64)) },
    code: 'SignatureDoesNotMatch',
  },
  {
    what: 'a late request',
    headers: { ...base, 'x-amz-date': '20130524T001501Z', authorization: valid },
    code: 'RequestTimeTooSkewed',
  },
])('refused: $what', ({ headers, code }) => {
  expect(() => verify(request('GET', '/a', '', headers))).toThrow(expect.objectContaining({ code }));
});

test.each([
  { name: 'x-amz-date', twice: '20130524T000000Z' },
  { name: 'authorization', twice: valid },
  { name: 'host', twice: host },
  { name: 'x-amz-content-sha256', twice: EMPTY },
  { name: 'content-type', twice: 'text/html' },
])('refused: the header $name twice', ({ name, twice }) => {
  const raw = Object.entries({ 'content-type': 'text/plain', ...base, authorization: valid }).flat();
  expect(() => readRequest('PUT', '/storage/v1/s3/b/k', [...raw, name.toUpperCase(), twice])).toThrow(
    expect.objectContaining({ code: 'InvalidArgument' }),
  );
});

const presigned = (change: Record<string, string | undefined>) =>
  new URLSearchParams({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': CREDENTIAL,
    'X-Amz-Date': '20130524T000000Z',
    'X-Amz-Expires': '3600',
    'X-Amz-SignedHeaders': 'host',
    'X-Amz-Signature': 'a'.repeat(64),
    ...(change as Record<string, string>),
  }).toString();

test.each([
  {
    what: 'an unknown algorithm',
    change: { 'X-Amz-Algorithm': 'AWS4-ECDSA' },
    code: 'AuthorizationQueryParametersError',
  },
  { what: 'more than seven days', change: { 'X-Amz-Expires': '604801' }, code: 'AuthorizationQueryParametersError' },
  { what: 'no time at all', change: { 'X-Amz-Expires': '0' }, code: 'AuthorizationQueryParametersError' },
  {
    what: 'an impossible date',
    change: { 'X-Amz-Date': '20131324T000000Z' },
    code: 'AuthorizationQueryParametersError',
  },
  {
    what: 'another region',
    change: { 'X-Amz-Credential': CREDENTIAL.replace('us-east-1', 'x') },
    code: 'AuthorizationQueryParametersError',
  },
  { what: 'a wrong signature', change: {}, code: 'SignatureDoesNotMatch' },
])('a presigned URL is refused: $what', ({ change, code }) => {
  expect(() => verify(request('GET', '/a', presigned(change), { host }))).toThrow(expect.objectContaining({ code }));
});

test('a presigned URL counts from its date until it expires', () => {
  const url = request('GET', '/a', presigned({}), { host });
  const check = (now: number) => checkSignature(readSignature(url), url, 'us-east-1', now);
  expect(() => check(NOW - 14 * 60_000)).not.toThrow();
  expect(() => check(NOW - 16 * 60_000)).toThrow('not valid yet');
  expect(() => check(NOW + 3_600_000)).not.toThrow();
  expect(() => check(NOW + 3_600_001)).toThrow('expired');
});

test('the canonical request sorts and encodes the query, joins and trims headers, and leaves the path as it came', () => {
  const of = readRequest('GET', '/storage/v1/s3/b/a%2Fb/../c%20d?b=2&a=%7e*&a-b=x+y&uploads', [
    ...['Host', 'h', 'X-Amz-Meta-A', '  one   two ', 'x-amz-meta-a', 'three'],
  ]);
  expect(canonicalRequest(of, { signedHeaders: ['host', 'x-amz-meta-a'], payload: 'UNSIGNED-PAYLOAD' })).toBe(
    [
      'GET',
      '/storage/v1/s3/b/a%2Fb/../c%20d',
      'a=~%2A&a-b=x%20y&b=2&uploads=',
      'host:h',
      'x-amz-meta-a:one two,three',
      '',
      'host;x-amz-meta-a',
      'UNSIGNED-PAYLOAD',
    ].join('\n'),
  );
  expect(of).toMatchObject({ bucket: 'b', key: 'a/b/../c d' });
});

test('a path is decoded once, after it was parted', () => {
  expect(readRequest('GET', '/storage/v1/s3/b%2Fa/k%252Fx', [])).toMatchObject({ bucket: 'b/a', key: 'k%2Fx' });
  expect(() => readRequest('GET', '/storage/v1/s3/b/%ff', [])).toThrow(expect.objectContaining({ code: 'InvalidURI' }));
  expect(() => readRequest('GET', `/storage/v1/s3/b/${'%C3%A4'.repeat(513)}`, [])).toThrow(
    expect.objectContaining({ code: 'KeyTooLongError' }),
  );
  expect(() => readRequest('GET', '/storage/v1/s3/b?prefix=a&prefix=b', [])).toThrow(
    expect.objectContaining({ code: 'InvalidArgument' }),
  );
});

test('s3cmd signs the path of the endpoint as a part of the host', () => {
  const signed = {
    host: 'localhost:7130/storage/v1/s3',
    'x-amz-date': '20130524T000000Z',
    'x-amz-content-sha256': EMPTY,
  };
  const names = Object.keys(signed).sort();
  const form = { ...request('GET', '/b/k', '', signed) };
  const hash = sha256(canonicalRequest(form, { signedHeaders: names, payload: EMPTY }));
  const scope = { date: '20130524', region: 'us-east-1', service: 's3' };
  const text = ['AWS4-HMAC-SHA256', '20130524T000000Z', '20130524/us-east-1/s3/aws4_request', hash].join('\n');
  const signature = createHmac('sha256', signingKey(SECRET, scope)).update(text).digest('hex');
  const sent = (path: string) =>
    request('GET', path, '', {
      ...signed,
      host: 'localhost:7130',
      authorization: authorization(names.join(';'), signature),
    });
  expect(() => verify(sent('/storage/v1/s3/b/k'))).not.toThrow();
  expect(() => verify(sent('/storage/v1/s3/b/j'))).toThrow('signature does not match');
});

test('only unreserved characters stay as they are', () => {
  expect(uriEncode("az09-._~!'()*/ ä")).toBe('az09-._~%21%27%28%29%2A%2F%20%C3%A4');
});

import { once } from 'node:events';
import { connect } from 'node:net';
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { SECRETS } from '../harness.ts';
import { sign } from '../s3/sign.ts';
import { startS3, type TestS3 } from '../s3/start.ts';
import { scratchFolder } from '../start/process.ts';
import { BUCKETS, makeBucket, objectPath, storedFiles } from './files.ts';
import { Bucket, beginTus, Key } from './ways-to-write.ts';

const ADMIN = { 'x-api-key': SECRETS.ACCESS_API_KEY };
const FORM = { ...ADMIN, 'content-type': 'multipart/form-data; boundary=x' };
const FILE_HEAD = '--x\r\ncontent-disposition: form-data; name="file"; filename="f.txt"\r\n\r\n';
const FIELD = '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n';
/** More than is kept in memory. */
const MANY = 'x'.repeat(100_000);

interface Beginning {
  what: string;
  /** The head of the request, and as much of its body as is sent. */
  begin(server: TestS3): Promise<{ request: string; headers: Record<string, string>; body: string }>;
  answer: RegExp;
}

const IN_REST = /^HTTP\/1.1 408 .*"error":"STORAGE_INVALID_PARAMETER".*No byte .* for 0.5 seconds/s;
const IN_S3 = /^HTTP\/1.1 400 .*<Code>RequestTimeout<\/Code>/s;

const rest = (what: string, request: string, headers: Record<string, string>, body: string): Beginning => ({
  what,
  begin: async () => ({ request, headers, body }),
  answer: IN_REST,
});

async function signed({ endpoint, key }: TestS3, method: string, query: [string, string][] = []) {
  const path = `/storage/v1/s3/${Bucket}/${Key}`;
  const headers: [string, string][] = [['host', new URL(endpoint).host]];
  const draft = sign({ method, path, query, headers, body: Buffer.alloc(0) }, { ...key, mode: 'unsigned' });
  const search = new URLSearchParams(draft.query).toString();
  return { request: `${method} ${search ? `${path}?${search}` : path}`, headers: Object.fromEntries(draft.headers) };
}

const uploadIdOf = async ({ client }: TestS3) =>
  (await client.send(new CreateMultipartUploadCommand({ Bucket, Key }))).UploadId ?? '';

const BEGINNINGS: Beginning[] = [
  rest('a small body', `PUT ${objectPath(Bucket, Key)}`, ADMIN, 'x'),
  rest('a large body', `PUT ${objectPath(Bucket, Key)}`, ADMIN, MANY),
  rest('a form before its file', `PUT ${objectPath(Bucket, Key)}`, FORM, FIELD),
  rest('a form without a byte', `POST ${BUCKETS}/${Bucket}/objects`, FORM, ''),
  rest('a small file in a form', `POST ${BUCKETS}/${Bucket}/objects`, FORM, `${FILE_HEAD}x`),
  rest('a large file in a form', `PUT ${objectPath(Bucket, Key)}`, FORM, FILE_HEAD + MANY),
  {
    what: 'an object over S3',
    begin: async (server) => ({ ...(await signed(server, 'PUT')), body: MANY }),
    answer: IN_S3,
  },
  {
    what: 'a part over S3',
    async begin(server) {
      const uploadId = await uploadIdOf(server);
      return {
        ...(await signed(server, 'PUT', [
          ['partNumber', '1'],
          ['uploadId', uploadId],
        ])),
        body: MANY,
      };
    },
    answer: IN_S3,
  },
  {
    what: 'the completion of an upload over S3',
    async begin(server) {
      const uploadId = await uploadIdOf(server);
      return { ...(await signed(server, 'POST', [['uploadId', uploadId]])), body: '<CompleteMultipartUpload>' };
    },
    answer: IN_S3,
  },
];

test.each(BEGINNINGS)('who stalls within $what is cut off, and nothing is left', async ({ begin, answer }) => {
  const dataDir = await scratchFolder();
  const server = await startS3({ DATA_DIR: dataDir, UPLOAD_IDLE_TIMEOUT_MS: '500' });
  await makeBucket(server, Bucket);
  const { request, headers, body } = await begin(server);
  const said = await cutOff(server, request, headers, body);
  expect(said).toMatch(answer);
  expect(await server.stored()).toMatchObject({ objects: [], parts: 0, blobs: 0 });
  expect(await storedFiles(dataDir)).toEqual([]);
});

/** Sends so much of a request and no more. Resolves to all that is answered until the connection ends. */
async function cutOff(server: TestS3, request: string, headers: Record<string, string>, body: string): Promise<string> {
  const { hostname, port } = new URL(server.endpoint);
  const socket = connect(Number(port), hostname);
  const all = { host: 'x', 'content-length': String(body.length + 1), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${request} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  let said = '';
  socket.on('data', (chunk) => (said += chunk));
  await once(socket, 'close');
  return said;
}

test('who stalls within an upload of the tus protocol is cut off, and what arrived is kept', async () => {
  const server = await startS3({ UPLOAD_IDLE_TIMEOUT_MS: '500' });
  await makeBucket(server, Bucket);
  const { path, head } = await beginTus(server, Key, 200_000);
  const headers = {
    ...ADMIN,
    'tus-resumable': '1.0.0',
    'upload-offset': '0',
    'content-type': 'application/offset+octet-stream',
  };
  expect(await cutOff(server, `PATCH ${path}`, headers, MANY)).toMatch(IN_REST);
  expect(await head()).toEqual({ status: 200, offset: MANY.length });
});
